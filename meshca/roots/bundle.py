"""The trust bundle as others read it: a SPIFFE bundle document, or PEM."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from meshca.errors import Misconfigured

REFRESH = timedelta(minutes=5)
"""How often a reader should look again (Trust Domain and Bundle §4.1.2)."""


def bundle_pem(roots: Sequence[x509.Certificate]) -> str:
    """All roots, one PEM block after another."""
    return "".join(root.public_bytes(Encoding.PEM).decode() for root in roots)


def bundle_document(roots: Sequence[x509.Certificate], *, sequence: int) -> dict[str, Any]:
    """The JWK Set of SPIFFE's Trust Domain and Bundle §4.

    Each root is a key with ``use`` x509-svid, without ``kid``, and with exactly one certificate in
    ``x5c`` (X509-23…25). The sequence only grows (TDB-4).
    """
    return {
        "keys": [_key(root) for root in roots],
        "spiffe_sequence": sequence,
        "spiffe_refresh_hint": int(REFRESH.total_seconds()),
    }


def _key(root: x509.Certificate) -> dict[str, Any]:
    certificate = base64.b64encode(root.public_bytes(Encoding.DER)).decode()
    return {"use": "x509-svid", **_parameters(root), "x5c": [certificate]}


def _parameters(root: x509.Certificate) -> dict[str, str]:
    """RFC 7518 §6.2 and §6.3. Raises Misconfigured for keys that no JWK can hold."""
    key = root.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        size = (key.curve.key_size + 7) // 8
        numbers = key.public_numbers()
        curve = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}[key.curve.name]
        return {"kty": "EC", "crv": curve, "x": _octets(numbers.x, size), "y": _octets(numbers.y, size)}
    if isinstance(key, rsa.RSAPublicKey):
        rsa_numbers = key.public_numbers()
        size = (rsa_numbers.n.bit_length() + 7) // 8
        return {"kty": "RSA", "n": _octets(rsa_numbers.n, size), "e": _octets(rsa_numbers.e, 3)}
    if isinstance(key, ed25519.Ed25519PublicKey):  # RFC 8037 §2
        octets = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(octets).rstrip(b"=").decode()}
    raise Misconfigured(f"a root with a key of type {type(key).__name__} cannot be written as a JWK")


def _octets(number: int, size: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(size)).rstrip(b"=").decode()
