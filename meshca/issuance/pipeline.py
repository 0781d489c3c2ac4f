"""From a proven identity and a CSR to a recorded certificate: the one way in.

Every service adapter comes through :meth:`Issuance.issue`. The order of its steps is part of the
design, cheapest and most telling first (DESIGN §2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import perf_counter
from typing import Final

from cryptography import x509

from meshca.clock import Clock
from meshca.csr import Rules, judge
from meshca.errors import SignerFault, Superseded, Unavailable
from meshca.identity import Identity
from meshca.issuance.authorities import Authorities, Authority
from meshca.issuance.draft import Draft, seal
from meshca.issuance.ledger import Entry, Ledger
from meshca.issuance.lint import lint
from meshca.issuance.policy import Policy
from meshca.issuance.profile import Lifetimes, Profile, draft_leaf
from meshca.keys.algorithms import PublicKey, spki_of, spki_sha256
from meshca.tokens.validator import Proven

STAGES: Final = ("judge", "sign", "record")
"""What :class:`Issuance` reports the time of."""

MAX_SIGNINGS = 3
"""How often a request is signed again because the authority set moved on under it."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller asks beyond a certificate, and where the call came from."""

    lifetime: timedelta | None = None
    peer: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that is recorded and may be released."""

    entry: Entry
    authority: Authority

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate, parsed."""
        return x509.load_der_x509_certificate(self.entry.der)


@dataclass(frozen=True, slots=True)
class _Order:
    """What was decided before an authority is asked: for whom, which key and names, how long."""

    proven: Proven
    wish: Wish
    service: str
    names: tuple[x509.GeneralName, ...]
    public_key: PublicKey
    spki: bytes
    spki_sha256: bytes
    lifetime: timedelta

    def draft(self, authority: Authority, now: datetime) -> Draft:
        return draft_leaf(
            self.names,
            public_key=self.public_key,
            spki=self.spki,
            authority=authority,
            lifetime=self.lifetime,
            now=now,
        )

    def entry(self, draft: Draft, der: bytes, authority: Authority, now: datetime) -> Entry:
        identity, pod = self.proven.identity, self.proven.identity.pod
        return Entry(
            serial=draft.serial,
            identity=str(identity),
            cluster=identity.cluster,
            namespace=identity.namespace,
            service_account=identity.account,
            pod=pod.name if pod else "",
            pod_uid=pod.uid if pod else "",
            node=pod.node if pod else "",
            peer=self.wish.peer,
            service=self.service,
            proof=self.proven.kind,
            credential=self.proven.credential,
            request_id=self.wish.request_id,
            spki_sha256=self.spki_sha256,
            not_before=draft.not_before,
            not_after=draft.not_after,
            issued=now,
            der=der,
            issuer_id=authority.issuer_id,
            epoch=authority.epoch,
            bundle_sequence=authority.bundle_sequence,
        )


class Issuance:
    """Issues leaves under the present authority."""

    def __init__(
        self,
        *,
        authorities: Authorities,
        policy: Policy,
        rules: Rules,
        lifetimes: Lifetimes,
        ledger: Ledger,
        clock: Clock,
        executor: Executor | None = None,
        took: Callable[[str, float], None] = lambda stage, seconds: None,
    ) -> None:
        """``executor`` is where remote keys sign, bounded by its owner; ``took`` hears each stage's seconds."""
        self._authorities = authorities
        self._policy = policy
        self._rules = rules
        self._lifetimes = lifetimes
        self._ledger = ledger
        self._clock = clock
        self._executor = executor
        self._took = took
        self._faulty: set[str] = set()

    async def issue(self, proven: Proven, request: bytes, profile: Profile, wish: Wish) -> Issued:
        """A certificate for a proven identity, recorded before it is returned.

        Raises Denied and BadRequest for what is refused, Unavailable when the store, the clock or
        the issuer do not allow it now, SignerFault when the key answered wrongly.
        """
        started = perf_counter()
        bounds = self._policy.allow(proven.identity)
        expected, names = profile.expect(proven.identity)
        csr = judge(request, profile.form, expected=expected, rules=self._rules)
        lifetime = self._lifetimes.within(bounds.minimum, bounds.maximum).granted(wish.lifetime)
        self._took("judge", perf_counter() - started)
        return await self._release(
            _Order(proven, wish, profile.service, names, csr.public_key, csr.spki, csr.spki_sha256, lifetime)
        )

    async def issue_serving(
        self, identity: Identity, public_key: PublicKey, names: tuple[x509.GeneralName, ...]
    ) -> Issued:
        """A serving certificate for a listener and a key of our own; signed and recorded like any other."""
        lifetime = self._lifetimes.granted(None)
        proven = Proven(identity, kind="self", expires=self._clock() + lifetime)
        spki = spki_of(public_key)
        return await self._release(
            _Order(proven, Wish(), "serving", names, public_key, spki, spki_sha256(public_key), lifetime)
        )

    async def _release(self, order: _Order) -> Issued:
        """Draft, sign, verify, lint, record; once more under the next authority when the set moved on meanwhile."""
        for _ in range(MAX_SIGNINGS):
            authority = self._authorities.current()
            now = self._clock()
            started = perf_counter()
            draft = order.draft(authority, now)
            der = await self._sign(draft, authority)
            lint(der, names=order.names, spki=order.spki, authority=authority, now=now)
            signed = perf_counter()
            self._took("sign", signed - started)
            entry = order.entry(draft, der, authority, now)
            try:
                await self._ledger.record(entry)
            except Superseded:
                await self._authorities.refresh()
                continue
            self._took("record", perf_counter() - signed)
            return Issued(entry, authority)
        raise Unavailable(f"the authority set moved on {MAX_SIGNINGS} times while this was signed; ask again")

    async def _sign(self, draft: Draft, authority: Authority) -> bytes:
        """The DER certificate. After a fault the issuer signs no more until the process is restarted by somebody."""
        if authority.issuer_id in self._faulty:
            raise SignerFault(f"issuer {authority.issuer_id} answered wrongly before; look at its key, then restart")
        signer = authority.signer
        tbs = draft.tbs(authority.algorithm)
        try:
            if signer.remote:
                signature = await asyncio.get_running_loop().run_in_executor(self._executor, signer.sign, tbs)
            else:
                signature = signer.sign(tbs)
            return seal(tbs, signature, key=signer.public_key, algorithm=authority.algorithm)
        except SignerFault:
            self._faulty.add(authority.issuer_id)
            raise
