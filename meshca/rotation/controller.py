"""Takes the steps of a rotation that its gates allow, one at a time.

Each step is decided from the stored set alone and written as a compare-and-swap, so that it can be
killed at any line and resumed by anybody: what was not written did not happen, and what was
written is where the next step begins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from meshca.clock import Clock
from meshca.errors import Conflict, MeshcaError, Superseded, Unavailable
from meshca.keys.sealed import KeyEncryptionKey
from meshca.names import TrustDomain
from meshca.roots.source import RootSource
from meshca.rotation.authority_set import (
    AuthoritySet,
    AuthorityStore,
    Issuer,
    IssuerState,
    activated,
    loaded,
    retired,
    signed,
    stage,
)
from meshca.rotation.gates import Evidence, Gate, GateState, chain_verifies, no_live_leaves, replicas_loaded
from meshca.rotation.issuers import certify, open_key, staged_issuer


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerPlan:
    """How issuers of this deployment are made and replaced."""

    trust_domain: TrustDomain
    key_type: str
    lifetime: timedelta
    rotate_at: float
    """The share of an issuer's life after which it is replaced without being asked."""
    skew: timedelta

    def due(self, issuer: Issuer, now: datetime) -> bool:
        """Whether it is time to replace this issuer."""
        certificate = issuer.chain[0]
        life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        return now >= certificate.not_valid_before_utc + life * self.rotate_at


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the rotation is: the set, and the gates of its next step."""

    present: AuthoritySet
    gates: tuple[Gate, ...]
    trouble: str = ""
    """Why the last step could not be taken, such as a root that is away; empty when it could."""


class Controller:
    """Runs issuer rotations. One instance acts; the compare-and-swap makes a second one harmless."""

    def __init__(
        self,
        *,
        store: AuthorityStore,
        source: Callable[[], RootSource],
        kek: KeyEncryptionKey,
        evidence: Evidence,
        plan: IssuerPlan,
        clock: Clock,
    ) -> None:
        """``source`` opens the root when something is to be signed: its key may be offline in between."""
        self._store = store
        self._source = source
        self._kek = kek
        self._evidence = evidence
        self._plan = plan
        self._clock = clock
        self._trouble = ""

    def wish(self, because: str) -> tuple[Progress, bool]:
        """Ask for a new issuer. Returns the progress, and whether a rotation under way was joined.

        Raises Unavailable.
        """
        while True:
            present = self._present()
            if present.on_its_way is not None:
                return self.progress(), True
            try:
                self._store.replace(present, self._staged(present, because))
            except Superseded:
                continue  # somebody else changed the set; perhaps they staged one
            return self.progress(), False

    def progress(self) -> Progress:
        """The present set and the gates of the step that a rotation would take next; changes nothing."""
        present = self._present()
        return Progress(present, self._gates(present), self._trouble)

    def step(self) -> AuthoritySet:
        """Take the next step whose gates hold, if there is one, and return the set as it is then.

        Raises Unavailable and Misconfigured when the root or the store does not do its part; the
        step is then taken by a later call.
        """
        present = self._present()
        try:
            after = self._next(present)
        except MeshcaError as error:
            self._trouble = str(error)
            raise
        self._trouble = ""
        if after is None:
            return present
        try:
            self._store.replace(present, after)
        except (Superseded, Conflict):
            return self._present()
        return after

    def _next(self, present: AuthoritySet) -> AuthoritySet | None:
        now = self._clock()
        return self._retirement(present, now) or self._advance(present, now)

    def _retirement(self, present: AuthoritySet, now: datetime) -> AuthoritySet | None:
        for issuer in present.issuers:
            if issuer.state is IssuerState.RETIRING:
                gate = no_live_leaves(self._evidence.leaves(issuer.id), skew=self._plan.skew, now=now)
                if gate.state is GateState.HOLDS:
                    return retired(present, issuer.id)
        return None

    def _advance(self, present: AuthoritySet, now: datetime) -> AuthoritySet | None:
        issuer = present.on_its_way
        if issuer is None:
            if not self._plan.due(present.active, now):
                return None
            return self._staged(present, f"{present.active.id} has lived {self._plan.rotate_at:.0%} of its life")
        if issuer.state is IssuerState.STAGED:
            return signed(present, issuer.id, self._certified(issuer, now))
        if issuer.state is IssuerState.SIGNED:
            return loaded(present, issuer.id)
        if all(gate.state is GateState.HOLDS for gate in self._gates(present)):
            return activated(present, issuer.id)
        return None

    def _staged(self, present: AuthoritySet, because: str) -> AuthoritySet:
        issuer, _ = staged_issuer(
            key_type=self._plan.key_type,
            kek=self._kek,
            root_id=present.roots[0].id,
            because=because,
            now=self._clock(),
        )
        return stage(present, issuer)

    def _certified(self, issuer: Issuer, now: datetime) -> tuple[x509.Certificate, ...]:
        return certify(
            issuer,
            open_key(issuer, self._kek),
            self._source(),
            trust_domain=self._plan.trust_domain,
            lifetime=self._plan.lifetime,
            now=now,
        )

    def _gates(self, present: AuthoritySet) -> tuple[Gate, ...]:
        issuer = present.on_its_way
        if issuer is None or issuer.state is not IssuerState.LOADED:
            return ()
        now = self._clock()
        signer = open_key(issuer, self._kek)
        return (
            replicas_loaded(present, self._evidence.replicas(), now),
            chain_verifies(issuer, signer, self._plan.trust_domain, present, now),
        )

    def _present(self) -> AuthoritySet:
        present = self._store.read()
        if present is None:
            raise Unavailable("the store holds no authority set: run `meshca init`")
        return present
