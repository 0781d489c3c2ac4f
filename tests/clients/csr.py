"""PKCS#10 requests, written byte by byte as the real clients write theirs.

By hand, since no library on this side makes them: ``cryptography`` and ``openssl req`` both mind a CN
over 64 characters and an empty O, while Go's ``crypto/x509`` and ztunnel's libraries do not.
Structure: RFC 2986 §4, with the SAN in the extensionRequest attribute (RFC 2985 §5.4.2).
"""

from __future__ import annotations

import base64
import textwrap

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_SEQUENCE, _SET, _PRINTABLE, _OCTETS, _BITS, _OID = 0x30, 0x31, 0x13, 0x04, 0x03, 0x06
_ATTRIBUTES, _DNS_NAME, _URI = 0xA0, 0x82, 0x86
_VERSION_1 = bytes.fromhex("020100")
_TRUE = bytes.fromhex("0101ff")
_NULL = bytes.fromhex("0500")
_COMMON_NAME = bytes.fromhex("550403")
_ORGANIZATION = bytes.fromhex("55040a")
_SUBJECT_ALT_NAME = bytes.fromhex("551d11")
_EXTENSION_REQUEST = bytes.fromhex("2a864886f70d01090e")
_ECDSA_SHA256 = bytes.fromhex("2a8648ce3d040302")
_ECDSA_SHA384 = bytes.fromhex("2a8648ce3d040303")
_RSA_SHA256 = bytes.fromhex("2a864886f70d01010b")


def linkerd_csr(key: Key, local_name: str) -> bytes:
    """DER, as Linkerd's wrapper has Go make it: the name as CN and as the one DNS SAN (``linkerd.md`` §1.2)."""
    return _request(key, _subject(_COMMON_NAME, local_name), _san(_DNS_NAME, local_name, critical=False))


def pilot_agent_csr(key: Key, spiffe_id: str) -> str:
    """PEM, as pilot-agent has Go make it: ``O=""`` and a critical URI SAN (``istio.md`` §0.5)."""
    return _pem(_request(key, _subject(_ORGANIZATION, ""), _san(_URI, spiffe_id, critical=True)))


def ztunnel_csr(key: Key, spiffe_id: str) -> str:
    """PEM, as ztunnel makes it: an empty subject and a critical URI SAN (``istio.md`` §0.5)."""
    return _pem(_request(key, _tlv(_SEQUENCE), _san(_URI, spiffe_id, critical=True)))


def _request(key: Key, subject: bytes, extension: bytes) -> bytes:
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    wanted = _tlv(_SEQUENCE, _tlv(_OID, _EXTENSION_REQUEST), _tlv(_SET, _tlv(_SEQUENCE, extension)))
    signed = _tlv(_SEQUENCE, _VERSION_1, subject, spki, _tlv(_ATTRIBUTES, wanted))
    algorithm, signature = _sign(key, signed)
    return _tlv(_SEQUENCE, signed, algorithm, _tlv(_BITS, b"\0", signature))


def _sign(key: Key, signed: bytes) -> tuple[bytes, bytes]:
    """AlgorithmIdentifier and signature, with the hash that Go picks for the key."""
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        return _tlv(_SEQUENCE, _tlv(_OID, _RSA_SHA256), _NULL), signature
    if key.curve.key_size == 256:
        return _tlv(_SEQUENCE, _tlv(_OID, _ECDSA_SHA256)), key.sign(signed, ec.ECDSA(hashes.SHA256()))
    return _tlv(_SEQUENCE, _tlv(_OID, _ECDSA_SHA384)), key.sign(signed, ec.ECDSA(hashes.SHA384()))


def _subject(attribute: bytes, value: str) -> bytes:
    pair = _tlv(_SEQUENCE, _tlv(_OID, attribute), _tlv(_PRINTABLE, value.encode("ascii")))
    return _tlv(_SEQUENCE, _tlv(_SET, pair))


def _san(kind: int, name: str, *, critical: bool) -> bytes:
    names = _tlv(_SEQUENCE, _tlv(kind, name.encode("ascii")))
    return _tlv(_SEQUENCE, _tlv(_OID, _SUBJECT_ALT_NAME), _TRUE if critical else b"", _tlv(_OCTETS, names))


def _tlv(tag: int, *parts: bytes) -> bytes:
    """One DER element (X.690 §8.1, lengths in the definite form of §10.1)."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _pem(der: bytes) -> str:
    body = "\n".join(textwrap.wrap(base64.b64encode(der).decode("ascii"), 64))
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n"
