"""The port of everything that can sign for us."""

from __future__ import annotations

from typing import Protocol

from meshca.keys.algorithms import PublicKey


class Signer(Protocol):
    """A private key that we may use and need not see: in this process, in Vault or in an HSM."""

    @property
    def public_key(self) -> PublicKey:
        """The public half, known without asking the key."""

    @property
    def remote(self) -> bool:
        """Whether :meth:`sign` may wait for a network or a device; then it runs off the event loop."""

    def sign(self, tbs: bytes) -> bytes:
        """Sign the DER of a TBSCertificate, TBSCertList or CertificationRequestInfo.

        Returns what goes into the BIT STRING: a DER ECDSA-Sig-Value (RFC 5480 §2.2) or a PKCS#1
        v1.5 signature, made with the algorithm that :func:`meshca.keys.algorithms.algorithm_of`
        names for the public key. The caller verifies it before anyone else sees it.

        Raises Unavailable when the key cannot be reached now, SignerFault when it answered
        something that is not a signature.
        """
