"""A root whose key we may use, behind any signer: a file's, Vault Transit's or an HSM's."""

from __future__ import annotations

from cryptography import x509

from meshca.errors import Misconfigured
from meshca.issuance.draft import sign
from meshca.keys.algorithms import spki_sha256
from meshca.keys.signer import Signer
from meshca.roots.certificates import draft_issuer
from meshca.roots.source import IssuerRequest


class HeldRoot:
    """Signs our issuers with a key that it was given.

    ``chain`` begins with the certificate of that key and ends with the anchor that peers trust.
    The two are one certificate unless the company gave us an authority below its root.
    """

    def __init__(self, chain: tuple[x509.Certificate, ...], signer: Signer) -> None:
        if not chain:
            raise Misconfigured("the root has no certificate")
        if spki_sha256(chain[0].public_key()) != spki_sha256(signer.public_key):  # type: ignore[arg-type] # compared only
            raise Misconfigured(
                f"the root's key is not the key of its certificate '{chain[0].subject.rfc4514_string()}': "
                "the certificate of the key must come first in the file"
            )
        self._chain = chain
        self._signer = signer

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        return self._chain

    def roots(self) -> tuple[x509.Certificate, ...]:
        return (self._chain[-1],)

    def certify(self, request: IssuerRequest) -> tuple[x509.Certificate, ...]:
        der = sign(draft_issuer(request, self._chain), self._signer)
        return (x509.load_der_x509_certificate(der), *self._chain[:-1])
