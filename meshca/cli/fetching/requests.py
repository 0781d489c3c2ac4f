"""Keys and certificate signing requests, in the shapes of the real clients."""

from __future__ import annotations

import enum
import warnings

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class KeyType(enum.StrEnum):
    """Keys that proxies use."""

    RSA_2048 = "rsa-2048"
    EC_P256 = "ec-p256"
    EC_P384 = "ec-p384"


def make_key(key_type: KeyType) -> PrivateKey:
    """A new key."""
    match key_type:
        case KeyType.RSA_2048:
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)
        case KeyType.EC_P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyType.EC_P384:
            return ec.generate_private_key(ec.SECP384R1())


def linkerd_csr(key: PrivateKey, name: str) -> bytes:
    """DER: the name as CN, though it may be longer than X.520's 64, and as the one DNS SAN (``linkerd.md`` §1.2)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about the long CN, which is Linkerd's own habit
        common_name = x509.NameAttribute(NameOID.COMMON_NAME, name, _validate=False)
    builder = x509.CertificateSigningRequestBuilder(x509.Name([common_name])).add_extension(
        x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False
    )
    return builder.sign(key, _hash_for(key)).public_bytes(Encoding.DER)


def istio_csr(key: PrivateKey, spiffe_id: str) -> bytes:
    """PEM: the organisation "" as subject and one critical URI SAN (``istio.md`` §0.5)."""
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "", _validate=False)
    builder = x509.CertificateSigningRequestBuilder(x509.Name([organization])).add_extension(
        x509.SubjectAlternativeName([x509.UniformResourceIdentifier(spiffe_id)]), critical=True
    )
    return builder.sign(key, _hash_for(key)).public_bytes(Encoding.PEM)


def _hash_for(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384:
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP384R1):
        return hashes.SHA384()
    return hashes.SHA256()
