"""The port of everything that can be our root."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from cryptography import x509

from meshca.keys.algorithms import PublicKey
from meshca.names import TrustDomain


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerRequest:
    """What we ask of a root: an issuer certificate for a key of ours."""

    issuer_id: str
    trust_domain: TrustDomain
    public_key: PublicKey
    csr: bytes
    """DER PKCS#10, signed by the issuer's key: what a root elsewhere wants to see."""
    not_before: datetime
    not_after: datetime


class RootSource(Protocol):
    """Where trust comes from: a file, Vault or an HSM."""

    def roots(self) -> tuple[x509.Certificate, ...]:
        """The anchors that peers should trust because of this source. Raises Unavailable."""

    def certify(self, request: IssuerRequest) -> tuple[x509.Certificate, ...]:
        """Have our issuer certified: its certificate first, then towards the root, without it.

        The answer is untrusted until :func:`meshca.roots.judge.judge` has read it. Raises
        Unavailable when the root cannot be reached now, Misconfigured when an operator must act.
        """
