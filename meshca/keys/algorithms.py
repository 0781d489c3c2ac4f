"""How a key of each type signs.

A key has exactly one signature algorithm, so that a CSR or a certificate whose algorithm does not
fit its key is recognised by comparison (``ca-practice.md`` §6 case 3): P-256 with SHA-256, P-384
with SHA-384, RSA with PKCS#1 v1.5 and SHA-256. linkerd2-proxy takes no RSA-PSS (``linkerd.md``
§1.4) and a JWT's Ed25519 has no place in an X.509 mesh, so neither is here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import SignatureAlgorithmOID

from meshca.errors import Misconfigured

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

KEY_TYPES = ("ecdsa-p256", "ecdsa-p384", "rsa-2048", "rsa-3072", "rsa-4096")
"""The types of key that we make for issuers and roots, as configuration names them."""


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A signature algorithm, as it stands in a certificate and as ``cryptography`` takes it."""

    oid: x509.ObjectIdentifier
    hash: hashes.SHA256 | hashes.SHA384
    identifier: bytes
    """DER AlgorithmIdentifier: without parameters for ECDSA (RFC 5758 §3.2), with NULL for RSA (RFC 4055 §5)."""
    arguments: tuple[Any, ...]
    """What follows signature and data in a public key's ``verify``, and data in a private key's ``sign``."""

    def verifies(self, key: PublicKey, signature: bytes, tbs: bytes) -> bool:
        """Whether the signature over these bytes is that of a key of this algorithm."""
        try:
            key.verify(signature, tbs, *self.arguments)
        except InvalidSignature:
            return False
        return True


_ECDSA_P256 = Algorithm(
    SignatureAlgorithmOID.ECDSA_WITH_SHA256,
    hashes.SHA256(),
    bytes.fromhex("300a06082a8648ce3d040302"),
    (ec.ECDSA(hashes.SHA256()),),
)
_ECDSA_P384 = Algorithm(
    SignatureAlgorithmOID.ECDSA_WITH_SHA384,
    hashes.SHA384(),
    bytes.fromhex("300a06082a8648ce3d040303"),
    (ec.ECDSA(hashes.SHA384()),),
)
_RSA = Algorithm(
    SignatureAlgorithmOID.RSA_WITH_SHA256,
    hashes.SHA256(),
    bytes.fromhex("300d06092a864886f70d01010b0500"),
    (padding.PKCS1v15(), hashes.SHA256()),
)


def algorithm_of(key: PublicKey) -> Algorithm:
    """The one algorithm with which a key of this type signs. Raises Misconfigured for other types."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        if isinstance(key.curve, ec.SECP256R1):
            return _ECDSA_P256
        if isinstance(key.curve, ec.SECP384R1):
            return _ECDSA_P384
        raise Misconfigured(f"a key on curve {key.curve.name} cannot be used: use P-256, P-384 or RSA")
    if isinstance(key, rsa.RSAPublicKey):
        return _RSA
    raise Misconfigured(f"a key of type {type(key).__name__} cannot be used: use P-256, P-384 or RSA")


def generate(key_type: str) -> PrivateKey:
    """A new private key of one of KEY_TYPES. Raises Misconfigured for any other."""
    match key_type:
        case "ecdsa-p256":
            return ec.generate_private_key(ec.SECP256R1())
        case "ecdsa-p384":
            return ec.generate_private_key(ec.SECP384R1())
        case "rsa-2048" | "rsa-3072" | "rsa-4096":
            return rsa.generate_private_key(public_exponent=65537, key_size=int(key_type[4:]))
    raise Misconfigured(f"key type '{key_type}' is not one of {', '.join(KEY_TYPES)}")


def spki_of(key: PublicKey) -> bytes:
    """The DER SubjectPublicKeyInfo (RFC 5280 §4.1.2.7)."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def spki_sha256(key: PublicKey) -> bytes:
    """What the ledger, the block-list and ``known keys`` go by: SHA-256 of the DER SubjectPublicKeyInfo."""
    return hashlib.sha256(spki_of(key)).digest()


def key_identifier(key: PublicKey) -> bytes:
    """The key identifier that our certificates carry: the leftmost 160 bits of the SHA-256 of the DER
    SubjectPublicKeyInfo (RFC 7093 §2 method 4)."""
    return spki_sha256(key)[:20]
