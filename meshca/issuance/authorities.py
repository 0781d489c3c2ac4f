"""The authority set as one request sees it: an immutable snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from meshca.keys.algorithms import Algorithm, algorithm_of
from meshca.keys.signer import Signer


@dataclass(frozen=True)
class Authority:
    """Everything that one issuance needs of the authority set, all of the same epoch."""

    epoch: int
    issuer_id: str
    chain: tuple[x509.Certificate, ...]
    """The issuer's certificate first, then towards the root, which is not among them."""
    roots: tuple[x509.Certificate, ...]
    """The trust bundle: every root that is published."""
    bundle_sequence: int
    signer: Signer

    @property
    def issuer(self) -> x509.Certificate:
        return self.chain[0]

    @cached_property
    def algorithm(self) -> Algorithm:
        """How the issuer's key signs."""
        return algorithm_of(self.signer.public_key)

    @cached_property
    def issuer_name(self) -> bytes:
        """DER, as leaves carry it."""
        return self.issuer.subject.public_bytes()

    @cached_property
    def key_identifier(self) -> bytes:
        """The issuer's subject key identifier. A chain without one was refused when it was judged."""
        return self.issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.key_identifier

    @cached_property
    def not_before(self) -> datetime:
        """The latest beginning in the chain: no leaf begins earlier."""
        return max(certificate.not_valid_before_utc for certificate in (*self.chain, *self._anchor))

    @cached_property
    def not_after(self) -> datetime:
        """The earliest end in the chain: no leaf ends later (``ca-practice.md`` §6 case 46)."""
        return min(certificate.not_valid_after_utc for certificate in (*self.chain, *self._anchor))

    @cached_property
    def _anchor(self) -> tuple[x509.Certificate, ...]:
        """The roots under whose name the chain ends; several when a root was renewed with its name."""
        top = self.chain[-1].issuer
        anchors = tuple(root for root in self.roots if root.subject == top)
        # The longest-lived one decides: a chain is as good as its best anchor.
        return (max(anchors, key=lambda root: root.not_valid_after_utc),) if anchors else ()

    @cached_property
    def chain_der(self) -> tuple[bytes, ...]:
        return tuple(certificate.public_bytes(Encoding.DER) for certificate in self.chain)

    @cached_property
    def chain_pem(self) -> tuple[str, ...]:
        return tuple(certificate.public_bytes(Encoding.PEM).decode() for certificate in self.chain)

    @cached_property
    def roots_pem(self) -> str:
        """All roots in one text, the newest first."""
        return "".join(root.public_bytes(Encoding.PEM).decode() for root in self.roots)


class Authorities(Protocol):
    """Where the present authority comes from."""

    def current(self) -> Authority:
        """The newest snapshot. Raises Unavailable when there is none, or when it is older than the
        bound on freshness: a process that cannot read the store must not go on signing."""

    async def refresh(self) -> None:
        """Read the store now, since the epoch was seen to have moved on. Raises Unavailable."""
