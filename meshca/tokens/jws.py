"""Signed tokens in compact form (RFC 7515 §3.1), as strictly as Kubernetes writes them.

A token has one way to be written: base64url without padding and without stray bits, a header of
``alg``, ``kid`` and perhaps ``typ``, JSON objects in which no member stands twice. Headers that say
where to find a key (``jku``, ``jwk``, ``x5u``), ``crit`` and ``b64`` are refused like all others that
Kubernetes never writes. The algorithm is the key's own; the header may only agree with it, so
``none`` and a MAC keyed with a public key have no way in (``ca-practice.md`` §6 case 53). The claims
are read from exactly the bytes that the signature covers (case 65).
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from binascii import Error as BadBase64
from binascii import a2b_base64
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from meshca.errors import NotProven, shown

Claims = dict[str, Any]
"""The payload of a token: a JSON object."""

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

ALGORITHMS: Final = ("RS256", "ES256", "ES384", "ES512")
"""What kube-apiserver and its external signers sign with (kubernetes/kubernetes:pkg/serviceaccount/jwt.go,
…/externaljwt/plugin/plugin.go). RS384, RS512 and PS256 verify there too, but nothing writes them."""

MAX_HEADER: Final = 2048
"""Characters of an encoded header: an external signer's ``kid`` may have 1024 bytes, the rest is little."""

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TO_BASE64: Final = bytes(
    {ord("-"): ord("+"), ord("_"): ord("/")}.get(byte, byte if byte in _ALPHABET else 0) for byte in range(256)
)
"""From base64url to what ``a2b_base64`` reads; every other byte becomes one that it refuses."""
_PADDING: Final = (b"", b"", b"==", b"=")
_LAST: Final = (_ALPHABET.translate(_TO_BASE64), b"", b"AQgw", b"AEIMQUYcgkosw048")
"""Which characters may end a segment, by its length modulo 4: those whose unused bits are zero."""


class Compact(NamedTuple):
    """The three segments of a token, still encoded, and the bytes that its signature covers."""

    header: bytes
    payload: bytes
    signature: bytes
    signed: bytes


def split(token: str) -> Compact:
    """Cut a token at its two dots.

    Raises NotProven (check ``shape``) unless it is three non-empty runs of base64url characters.
    """
    try:
        raw = token.encode("ascii")
    except UnicodeEncodeError:
        raise _misshapen("it holds characters other than ASCII") from None
    # One pass in C: whatever is left when the alphabet is taken away must be the two dots.
    if raw.translate(None, _ALPHABET) != b"..":
        raise _misshapen("it is not three base64url segments joined by two dots (RFC 7515 §3.1)")
    header, payload, signature = raw.split(b".")
    if not (header and payload and signature):
        raise _misshapen("one of its three segments is empty, so it is not a signed token")
    return Compact(header, payload, signature, raw[: -1 - len(signature)])


def decode(segment: bytes, *, check: str) -> bytes:
    """The bytes of a base64url segment. Raises NotProven when it is not their one encoding (RFC 7515 §2)."""
    rest = len(segment) % 4
    standard = segment.translate(_TO_BASE64)
    if standard[-1:] in _LAST[rest]:
        try:
            return a2b_base64(standard + _PADDING[rest], strict_mode=True)
        except BadBase64:
            pass
    raise NotProven(f"the token's {check} is not base64url as RFC 7515 §2 writes it", check=check)


def encode(content: bytes) -> str:
    """The base64url segment of these bytes."""
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def parse(content: bytes, *, check: str) -> Claims:
    """The JSON object in these bytes: UTF-8, no member twice, no NaN, no bottomless nesting (case 54).

    Raises NotProven.
    """
    try:
        text = content.decode()
        value, end = _JSON.raw_decode(text)
        if end != len(text):
            raise ValueError("something follows the value")
    except (ValueError, RecursionError):
        raise NotProven(f"the token's {check} is not JSON that can be read in one way only", check=check) from None
    if not isinstance(value, dict):
        raise NotProven(f"the token's {check} is a JSON {type(value).__name__}, not an object", check=check)
    return value


class Header(NamedTuple):
    """What a token says of its own signature."""

    algorithm: str
    kid: str


def read_header(segment: bytes) -> Header:
    """Read an encoded header. Raises NotProven (checks ``header``, ``algorithm``)."""
    if len(segment) > MAX_HEADER:
        raise NotProven(f"the token's header has {len(segment)} characters, over {MAX_HEADER}", check="header")
    members = parse(decode(segment, check="header"), check="header")
    for name in members:
        if name not in _MEMBERS:
            raise NotProven(
                f"the token's header has {shown(name)}; a service account's token has alg, kid and typ alone",
                check="header",
            )
    if members.get("typ", "JWT") != "JWT":
        raise NotProven(f"the token is a {shown(members['typ'])}, not a JWT", check="header")
    algorithm, kid = members.get("alg"), members.get("kid")
    if algorithm not in ALGORITHMS:
        raise NotProven(
            f"the token says it is signed with {shown(algorithm)}; accepted are {', '.join(ALGORITHMS)}",
            check="algorithm",
        )
    if not isinstance(kid, str) or not kid:
        raise NotProven("the token's header names no key (kid)", check="header")
    return Header(algorithm, kid)


class VerificationKey:
    """A cluster's public key, its name, and the one algorithm it is for."""

    __slots__ = ("_ecdsa", "_half", "_key", "algorithm", "kid")

    def __init__(self, kid: str, key: PublicKey) -> None:
        """Raises ValueError for a curve that Kubernetes does not sign with."""
        self.kid = kid
        self.algorithm = algorithm_for(key)
        self._key = key
        if isinstance(key, ec.EllipticCurvePublicKey):
            self._half = (key.curve.key_size + 7) // 8
            self._ecdsa = ec.ECDSA(_HASHES[self.algorithm])

    def __repr__(self) -> str:
        return f"<VerificationKey {shown(self.kid)} {self.algorithm}>"

    @property
    def public_key(self) -> PublicKey:
        return self._key

    def verifies(self, signature: bytes, signed: bytes) -> bool:
        """Whether this key made the signature (RFC 7518 §3.3 RSA, §3.4 ECDSA: r and s at full length)."""
        try:
            if isinstance(self._key, rsa.RSAPublicKey):
                self._key.verify(signature, signed, _PKCS1, _HASHES["RS256"])
                return True
            if len(signature) != 2 * self._half:
                return False
            r, s = int.from_bytes(signature[: self._half]), int.from_bytes(signature[self._half :])
            self._key.verify(encode_dss_signature(r, s), signed, self._ecdsa)
        except InvalidSignature:
            return False
        return True


def algorithm_for(key: PublicKey) -> str:
    """The algorithm with which Kubernetes signs by a key of this type. Raises ValueError for other curves."""
    if isinstance(key, rsa.RSAPublicKey):
        return "RS256"
    if key.curve.name not in _CURVES:
        raise ValueError(f"no service account is signed for on curve {key.curve.name}")
    return _CURVES[key.curve.name]


def key_id(key: PublicKey) -> str:
    """The name that an API server gives a key: base64url of the SHA-256 of its SubjectPublicKeyInfo."""
    return encode(sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest())


def unverified_claims(token: str) -> Claims:
    """What a token says, with nothing checked: only for a token that somebody else has vouched for.

    Raises NotProven (checks ``shape``, ``claims``).
    """
    return parse(decode(split(token).payload, check="claims"), check="claims")


def sign_rs256(claims: Mapping[str, object], key: rsa.RSAPrivateKey, kid: str) -> str:
    """A token with these claims, as an API server writes it: for the development issuer and for tests."""
    header = encode(_compact_json({"alg": "RS256", "kid": kid}))
    signed = f"{header}.{encode(_compact_json(claims))}"
    return f"{signed}.{encode(key.sign(signed.encode(), _PKCS1, _HASHES['RS256']))}"


def _compact_json(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _misshapen(why: str) -> NotProven:
    return NotProven(f"this is not a service account's token: {why}", check="shape")


def _members_once(pairs: list[tuple[str, Any]]) -> Claims:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_JSON: Final = json.JSONDecoder(object_pairs_hook=_members_once, parse_constant=_no_constant)
_MEMBERS: Final = frozenset({"alg", "kid", "typ"})
_PKCS1: Final = padding.PKCS1v15()
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_HASHES: Final = {
    "RS256": hashes.SHA256(),
    "ES256": hashes.SHA256(),
    "ES384": hashes.SHA384(),
    "ES512": hashes.SHA512(),
}
