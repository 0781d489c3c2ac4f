"""A cluster's public keys, as its API server publishes them (RFC 7517, ``/openid/v1/jwks``).

Strict where a mistake would be ours, forgiving where the document is merely newer than we are: an
entry of a kind that we do not know (a post-quantum key, an encryption key) is left out, while a
document with a private key or with two keys of one name is refused whole, since somebody has to
look at it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from meshca.errors import Misconfigured, NotProven, shown
from meshca.tokens import jws
from meshca.tokens.jws import PublicKey, VerificationKey

MAX_JWKS: Final = 64 * 1024
"""Bytes of a whole document: a key takes about half a kilobyte."""

MAX_KEYS: Final = 64
"""Entries of a document."""

_MIN_RSA, _MAX_RSA = 2048, 8192
_MAX_EXPONENT = 2**31
"""Above these a signature costs too much to verify (``ca-practice.md`` §6 case 68); Go, in which API servers
are written, takes no larger exponent either."""

_CURVES: Final[dict[str, ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
}
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
"""Members of private and symmetric keys (RFC 7518 §6.2.2, §6.3.2, §6.4)."""

_REMEMBERED: Final = 64


class KeySet:
    """The keys of one cluster at one time, by name."""

    def __init__(self, keys: Iterable[VerificationKey]) -> None:
        """Raises Misconfigured when there is none, or when two different keys have one name."""
        self._by_kid: dict[str, VerificationKey] = {}
        # Tokens of one key have one header, byte for byte. Only headers of verified tokens come in here.
        self._by_header: dict[bytes, VerificationKey] = {}
        for key in keys:
            held = self._by_kid.setdefault(key.kid, key)
            if held.public_key != key.public_key:
                raise Misconfigured(f"two different keys are named {shown(key.kid)}; a token could mean either")
        if not self._by_kid:
            raise Misconfigured(
                "the key set has no key that service accounts' tokens are signed with "
                f"({', '.join(jws.ALGORITHMS)}; RSA of {_MIN_RSA} bits or more)"
            )

    def __len__(self) -> int:
        return len(self._by_kid)

    def __repr__(self) -> str:
        return f"<KeySet {sorted(self._by_kid)}>"

    def find(self, kid: str) -> VerificationKey | None:
        return self._by_kid.get(kid)

    def recall(self, header: bytes) -> VerificationKey | None:
        """The key that verified an earlier token with exactly this encoded header."""
        return self._by_header.get(header)

    def remember(self, header: bytes, key: VerificationKey) -> None:
        """Say that a token with this encoded header was verified by this key of the set."""
        if len(self._by_header) < _REMEMBERED:
            self._by_header[header] = key


def parse(document: bytes) -> KeySet:
    """Read a JSON Web Key Set. Raises Misconfigured, whose message says what is wrong with it."""
    if len(document) > MAX_JWKS:
        raise Misconfigured(f"the key set has more than {MAX_JWKS} bytes; is this the right document?")
    try:
        entries = jws.parse(document.strip(b" \t\r\n"), check="key set").get("keys")
    except NotProven:
        raise Misconfigured("the key set is not a JSON object that can be read in one way only (RFC 7517 §5)") from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise Misconfigured("the key set has no list of objects named 'keys' (RFC 7517 §5)")
    if len(entries) > MAX_KEYS:
        raise Misconfigured(f"the key set has {len(entries)} keys, over {MAX_KEYS}")
    return KeySet(_usable(entries))


def published(keys: Iterable[VerificationKey]) -> bytes:
    """The JSON Web Key Set with these keys, in the shape in which an API server publishes them."""
    entries = [{"use": "sig", "kid": key.kid, "alg": key.algorithm, **_coordinates(key.public_key)} for key in keys]
    return json.dumps({"keys": entries}).encode()


def _usable(entries: list[dict[str, Any]]) -> list[VerificationKey]:
    """The entries that we can use. Raises Misconfigured when one is a private key."""
    keys = []
    for entry in entries:
        if secret := _PRIVATE & entry.keys():
            raise Misconfigured(
                f"the key set publishes a private key (member {min(secret)!r}): everybody who could read it "
                "can forge tokens. Replace that key in the cluster, then publish public keys alone"
            )
        try:
            keys.append(_verification_key(entry))
        except (NotProven, ValueError, UnsupportedAlgorithm):
            continue
    return keys


def _verification_key(entry: dict[str, Any]) -> VerificationKey:
    """Raises ValueError and others for an entry that is for something else, or newer than we are."""
    kid, operations = entry.get("kid"), entry.get("key_ops", ["verify"])
    if not isinstance(kid, str) or not kid or entry.get("use", "sig") != "sig":
        raise ValueError("without a name, or for encryption")
    if not isinstance(operations, list) or "verify" not in operations:
        raise ValueError("not for verifying")
    key = VerificationKey(kid, _public_key(entry))
    if entry.get("alg", key.algorithm) != key.algorithm:
        raise ValueError("for an algorithm that Kubernetes does not sign with")
    return key


def _public_key(entry: dict[str, Any]) -> PublicKey:
    match entry.get("kty"):
        case "RSA":
            modulus, exponent = int.from_bytes(_octets(entry, "n")), int.from_bytes(_octets(entry, "e"))
            if not _MIN_RSA <= modulus.bit_length() <= _MAX_RSA or exponent >= _MAX_EXPONENT:
                raise ValueError("too short or too costly")
            return rsa.RSAPublicNumbers(exponent, modulus).public_key()
        case "EC":
            curve = _CURVES.get(str(entry.get("crv")))
            if curve is None:
                raise ValueError("on a curve that Kubernetes does not sign with")
            x, y = _octets(entry, "x"), _octets(entry, "y")
            # At full length, leading zeros included (RFC 7518 §6.2.1.2).
            if {len(x), len(y)} != {(curve.key_size + 7) // 8}:
                raise ValueError("a coordinate is shortened")
            return ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curve).public_key()
    raise ValueError("of another type")


def _octets(entry: dict[str, Any], name: str) -> bytes:
    value = entry.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"without {name}")
    return jws.decode(value.encode(), check=name)


def _coordinates(key: PublicKey) -> dict[str, str]:
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return {"kty": "RSA", "n": _minimal(numbers.n), "e": _minimal(numbers.e)}
    point = key.public_numbers()
    length = (key.curve.key_size + 7) // 8
    name = next(name for name, curve in _CURVES.items() if curve.name == key.curve.name)
    return {
        "kty": "EC",
        "crv": name,
        "x": jws.encode(point.x.to_bytes(length)),
        "y": jws.encode(point.y.to_bytes(length)),
    }


def _minimal(number: int) -> str:
    return jws.encode(number.to_bytes((number.bit_length() + 7) // 8))
