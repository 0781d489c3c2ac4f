"""Which public keys are good enough to be certified.

P-256, P-384 and RSA of 2048, 3072 or 4096 bits with exponent 65537: what the meshes' proxies make.
The algorithm identifiers are compared as bytes, so explicit curve parameters, RSA-PSS keys and all
that nobody thought of are refused without being looked into, and a key has one encoding only, so
that its hash names it (``ca-practice.md`` §6 cases 2–15).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from meshca.csr.parse import Request
from meshca.errors import BadRequest

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

RSA_SIZES: Final = (2048, 3072, 4096)
RSA_EXPONENT: Final = 65537

_EC_PUBLIC_KEY: Final = bytes.fromhex("06072a8648ce3d0201")
"""The object identifier with which every EC key's algorithm begins (RFC 5480 §2.1.1)."""

_UNCOMPRESSED: Final = b"\x04"
"""The first byte of an uncompressed point (SEC 1 §2.3.3)."""

_WANTED: Final = "use P-256, P-384, or RSA with 2048, 3072 or 4096 bits"


@dataclass(frozen=True, slots=True)
class KeyType:
    """A type of key, and the one signature algorithm with which it signs a request."""

    name: str
    identifier: bytes
    """The DER AlgorithmIdentifier of the key (RFC 5480 §2.1.1, RFC 3279 §2.3.1)."""
    signature: bytes
    """The DER AlgorithmIdentifier of its signatures (RFC 5758 §3.2, RFC 4055 §5)."""
    hash: hashes.HashAlgorithm
    curve: ec.EllipticCurve | None = None


KEY_TYPES: Final = (
    KeyType(
        "P-256",
        bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107"),
        bytes.fromhex("300a06082a8648ce3d040302"),
        hashes.SHA256(),
        ec.SECP256R1(),
    ),
    KeyType(
        "P-384",
        bytes.fromhex("301006072a8648ce3d020106052b81040022"),
        bytes.fromhex("300a06082a8648ce3d040303"),
        hashes.SHA384(),
        ec.SECP384R1(),
    ),
    KeyType(
        "RSA",
        bytes.fromhex("300d06092a864886f70d0101010500"),
        bytes.fromhex("300d06092a864886f70d01010b0500"),
        hashes.SHA256(),
    ),
)

_BY_IDENTIFIER: Final = {key_type.identifier: key_type for key_type in KEY_TYPES}


@asn1.sequence
class _RsaPublicKey:
    modulus: int
    exponent: int


def key_type_of(request: Request) -> KeyType:
    """Raises BadRequest with check ``key-type``, or ``curve`` for elliptic curves."""
    key_type = _BY_IDENTIFIER.get(request.key_algorithm)
    if key_type is not None:
        return key_type
    content = bytes(asn1.decode_der(asn1.TLV, request.key_algorithm).data)
    if content.startswith(_EC_PUBLIC_KEY):
        raise BadRequest(
            f"the CSR's key is on a curve that is not allowed, or spells its parameters out: {_WANTED}",
            check="curve",
        )
    raise BadRequest(f"the CSR's key is of a type that is not allowed: {_WANTED}", check="key-type")


def load_key(request: Request, key_type: KeyType) -> PublicKey:
    """The key itself, sound in form and size.

    Raises BadRequest with check ``key-encoding`` (a point off the curve, at infinity or compressed;
    an RSAPublicKey that is not DER), ``key-size`` or ``exponent``, the last two before any
    arithmetic: a modulus of 16 000 bits must cost nothing (case 5).
    """
    if key_type.curve is not None:
        return _load_point(request.key, key_type, key_type.curve)
    try:
        numbers = asn1.decode_der(_RsaPublicKey, request.key)
    except ValueError:
        raise BadRequest("the CSR's key is not an RSAPublicKey in DER (RFC 8017)", check="key-encoding") from None
    bits = numbers.modulus.bit_length() if numbers.modulus > 0 else 0
    if bits not in RSA_SIZES:
        raise BadRequest(f"the CSR's RSA key has {bits} bits: {_WANTED}", check="key-size")
    if numbers.exponent != RSA_EXPONENT:
        raise BadRequest(
            f"the CSR's RSA key has another exponent than {RSA_EXPONENT}: make a new key", check="exponent"
        )
    return rsa.RSAPublicNumbers(numbers.exponent, numbers.modulus).public_key()


def _load_point(point: bytes, key_type: KeyType, curve: ec.EllipticCurve) -> PublicKey:
    # A compressed point is legal (RFC 5480 §2.2), but the same key would then have two hashes, and
    # a blocked one would pass under the other. None of our clients writes it.
    if not point.startswith(_UNCOMPRESSED):
        raise BadRequest(f"the CSR's key is not an uncompressed point on {key_type.name}", check="key-encoding")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
    except ValueError:
        raise BadRequest(f"the CSR's key is not a point on {key_type.name}", check="key-encoding") from None


def refuse_foreign_signature(request: Request, key_type: KeyType) -> None:
    """Raises BadRequest with check ``signature-algorithm`` when such keys do not sign so (cases 2, 3)."""
    if request.signature_algorithm != key_type.signature:
        scheme = "PKCS #1 v1.5" if key_type.curve is None else "ECDSA"
        raise BadRequest(
            f"the CSR's signature algorithm does not fit its key: sign {key_type.name} with {scheme} and "
            f"{key_type.hash.name.upper()}",
            check="signature-algorithm",
        )


def refuse_weak(key: PublicKey) -> None:
    """Raises BadRequest with check ``weak-key`` for RSA keys that can be factored (cases 7–9).

    Four of badkeys' checks, 120 µs for 2048 bits: small factors (51), Fermat (47), ROCA (20) and
    moduli with a pattern of zeros (0.2). Its list of primes seen in broken devices costs 280 µs
    more for each key and has no member that a proxy would make; such keys belong on the block-list.
    """
    if not isinstance(key, rsa.RSAPublicKey):
        return
    # On first use: 10 ms and 2 MB, which a mesh with elliptic curves never needs.
    from badkeys.rsakeys import fermat, roca, rsapoly, smallfactors

    modulus = key.public_numbers().n
    for check, fault in (
        (smallfactors, "has a small factor"),
        (roca, "was made by a chip with the ROCA flaw (CVE-2017-15361)"),
        (fermat, "has two primes too close to each other (CVE-2022-26320)"),
        (rsapoly, "has a pattern of zeros that gives its factors away"),
    ):
        if check(modulus):
            raise BadRequest(f"the CSR's RSA key {fault}: make a new key elsewhere", check="weak-key")


def refuse_unproven(request: Request, key: PublicKey, key_type: KeyType) -> None:
    """Raises BadRequest with check ``possession`` unless the CSR was signed by its own key (case 1)."""
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(request.signature, request.signed, ec.ECDSA(key_type.hash))
        else:
            key.verify(request.signature, request.signed, padding.PKCS1v15(), key_type.hash)
    except InvalidSignature:
        raise BadRequest(
            "the CSR's signature was not made by its own key, so possession is not proven", check="possession"
        ) from None
