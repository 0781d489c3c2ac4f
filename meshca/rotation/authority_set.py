"""The authority set: roots and issuers with their states, and the rules by which it changes.

The rules, each a function here from one set to the next:

1.  There is exactly one active issuer from the first set on.
2.  At most one issuer is on its way (staged, signed or loaded): a second wish joins the first.
3.  An issuer goes *staged* (its key exists) → *signed* (its chain was judged) → *loaded* (workers may
    load it) → *active* → *retiring* (it signs no more, its leaves live) → *retired*.
4.  Activating an issuer retires the active one in the same change: there is never a moment with
    none or two.
5.  An issuer that is not yet active may be abandoned; its row stays, so that an attempt whose
    answer was lost can be found (``ca-practice.md`` §7.3).
6.  Every change adds one to the epoch; a change of the published roots adds one to the bundle's
    sequence, which never shrinks.

Nothing here does IO. A change is written by :class:`AuthorityStore` as a compare-and-swap on the
epoch, so that of two controllers that act on the same set one is told that it came late.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from cryptography import x509

from meshca.errors import Conflict


class RootState(enum.StrEnum):
    """Where a root is in its life. Only ``active`` arises until roots rotate (docs/status.md)."""

    ACTIVE = "active"


class IssuerState(enum.StrEnum):
    """Where an issuer is in its life."""

    STAGED = "staged"
    SIGNED = "signed"
    LOADED = "loaded"
    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"
    ABANDONED = "abandoned"


ON_ITS_WAY = frozenset({IssuerState.STAGED, IssuerState.SIGNED, IssuerState.LOADED})
"""The states before *active*: at most one issuer is in one of them."""

KEY_NEEDED = frozenset({IssuerState.LOADED, IssuerState.ACTIVE})
"""The states in which workers hold the issuer's key."""


@dataclass(frozen=True, slots=True)
class Root:
    """A root that peers are configured to trust."""

    id: str
    """The first 16 hexadecimal digits of the SHA-256 of its certificate."""
    certificate: x509.Certificate
    spki_sha256: bytes
    state: RootState


@dataclass(frozen=True, slots=True, repr=False)
class Issuer:
    """An issuer: its key, its chain once it is signed, and why it exists."""

    id: str
    """The first 16 hexadecimal digits of the SHA-256 of its SubjectPublicKeyInfo."""
    state: IssuerState
    root_id: str
    spki_sha256: bytes
    key_kind: str
    """``sealed``; later the kinds of keys in Vault and HSMs."""
    sealed_key: bytes
    chain: tuple[x509.Certificate, ...]
    """Empty while staged; then the issuer's certificate first, then towards the root, without it."""
    because: str
    created: datetime

    def __repr__(self) -> str:
        return f"<Issuer {self.id} {self.state}>"


@dataclass(frozen=True, slots=True)
class AuthoritySet:
    """All roots and issuers at one epoch."""

    trust_domain: str
    epoch: int
    bundle_sequence: int
    roots: tuple[Root, ...]
    issuers: tuple[Issuer, ...]

    @property
    def active(self) -> Issuer:
        return next(issuer for issuer in self.issuers if issuer.state is IssuerState.ACTIVE)

    @property
    def on_its_way(self) -> Issuer | None:
        """The issuer of the rotation that is under way, if there is one."""
        return next((issuer for issuer in self.issuers if issuer.state in ON_ITS_WAY), None)

    @property
    def bundle(self) -> tuple[x509.Certificate, ...]:
        """The roots that are published, the newest first."""
        return tuple(root.certificate for root in self.roots)

    def issuer(self, issuer_id: str) -> Issuer:
        """Raises Conflict when there is none of this identifier."""
        for issuer in self.issuers:
            if issuer.id == issuer_id:
                return issuer
        raise Conflict(f"there is no issuer {issuer_id}")


class AuthorityStore(Protocol):
    """Keeps the authority set; the only way in which it changes."""

    def read(self) -> AuthoritySet | None:
        """The present set, or None when none was ever created. Raises Unavailable."""

    def create(self, first: AuthoritySet) -> AuthoritySet:
        """Store the first set unless there is one; returns the set that is there afterwards,
        so that the loser of a race goes on with the winner's. Raises Unavailable."""

    def replace(self, before: AuthoritySet, after: AuthoritySet) -> None:
        """Write ``after`` if the stored epoch is still ``before``'s. Keys and chains of an issuer are
        written together or not at all. Raises Superseded when it is not, Unavailable."""


def stage(before: AuthoritySet, issuer: Issuer) -> AuthoritySet:
    """Rule 2 and 3: a new key on its way. Raises Conflict when another one is."""
    if before.on_its_way is not None:
        raise Conflict(f"issuer {before.on_its_way.id} is already {before.on_its_way.state}")
    return replace(before, epoch=before.epoch + 1, issuers=(*before.issuers, issuer))


def signed(before: AuthoritySet, issuer_id: str, chain: tuple[x509.Certificate, ...]) -> AuthoritySet:
    """Rule 3: its chain came back and was judged."""
    return _moved(before, issuer_id, IssuerState.STAGED, IssuerState.SIGNED, chain=chain)


def loaded(before: AuthoritySet, issuer_id: str) -> AuthoritySet:
    """Rule 3: workers may load its key from this epoch on."""
    return _moved(before, issuer_id, IssuerState.SIGNED, IssuerState.LOADED)


def activated(before: AuthoritySet, issuer_id: str) -> AuthoritySet:
    """Rule 4: it signs from this epoch on, and what signed before does not."""
    after = _moved(before, before.active.id, IssuerState.ACTIVE, IssuerState.RETIRING)
    after = _moved(after, issuer_id, IssuerState.LOADED, IssuerState.ACTIVE)
    return replace(after, epoch=before.epoch + 1)


def retired(before: AuthoritySet, issuer_id: str) -> AuthoritySet:
    """Rule 3: its last leaf has ended. Its sealed key is forgotten."""
    return _moved(before, issuer_id, IssuerState.RETIRING, IssuerState.RETIRED, sealed_key=b"")


def abandoned(before: AuthoritySet, issuer_id: str) -> AuthoritySet:
    """Rule 5: it will never be active. Its sealed key is forgotten."""
    issuer = before.issuer(issuer_id)
    if issuer.state not in ON_ITS_WAY:
        raise Conflict(f"issuer {issuer_id} is {issuer.state}; only one on its way can be abandoned")
    return _moved(before, issuer_id, issuer.state, IssuerState.ABANDONED, sealed_key=b"")


def _moved(
    before: AuthoritySet,
    issuer_id: str,
    source: IssuerState,
    target: IssuerState,
    *,
    chain: tuple[x509.Certificate, ...] | None = None,
    sealed_key: bytes | None = None,
) -> AuthoritySet:
    issuer = before.issuer(issuer_id)
    if issuer.state is not source:
        raise Conflict(f"issuer {issuer_id} is {issuer.state}, not {source}; it cannot become {target}")
    moved = replace(
        issuer,
        state=target,
        chain=issuer.chain if chain is None else chain,
        sealed_key=issuer.sealed_key if sealed_key is None else sealed_key,
    )
    issuers = tuple(moved if each.id == issuer_id else each for each in before.issuers)
    return replace(before, epoch=before.epoch + 1, issuers=issuers)
