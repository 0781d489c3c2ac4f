"""Keys for the attacks, good and bad, each made once in a session.

Bad RSA keys are made by arithmetic from primes of the wrong kind, with their private half, so that
the requests made with them are signed rightly and only the key is at fault.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import gmpy2  # type: ignore[import-untyped]  # it has no stubs
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.attacks import der

ECDSA_SHA1 = der.sequence(der.oid("1.2.840.10045.4.1"))
ECDSA_SHA256 = der.sequence(der.oid("1.2.840.10045.4.3.2"))
ECDSA_SHA384 = der.sequence(der.oid("1.2.840.10045.4.3.3"))
RSA_MD5 = der.sequence(der.oid("1.2.840.113549.1.1.4"), der.NULL)
RSA_SHA1 = der.sequence(der.oid("1.2.840.113549.1.1.5"), der.NULL)
RSA_SHA256 = der.sequence(der.oid("1.2.840.113549.1.1.11"), der.NULL)
RSA_SHA512 = der.sequence(der.oid("1.2.840.113549.1.1.13"), der.NULL)
ED25519 = der.sequence(der.oid("1.3.101.112"))

_DIGEST_INFO = {
    "md5": der.sequence(der.oid("1.2.840.113549.2.5"), der.NULL),
    "sha1": der.sequence(der.oid("1.3.14.3.2.26"), der.NULL),
    "sha256": der.sequence(der.oid("2.16.840.1.101.3.4.2.1"), der.NULL),
    "sha512": der.sequence(der.oid("2.16.840.1.101.3.4.2.3"), der.NULL),
}

_ROCA_PRIMES = 126
"""How many of the first primes make the modulus in Infineon's primes of 1024 bits (CVE-2017-15361)."""


@dataclass(frozen=True)
class Key:
    """A public key as it stands in a request, and how its owner signs."""

    spki: bytes
    algorithm: bytes
    """The DER AlgorithmIdentifier that the request states."""
    sign: Callable[[bytes], bytes]


Maker = Callable[[], Key]


def _ec_key(curve: ec.EllipticCurve, algorithm: bytes, hash_: hashes.HashAlgorithm) -> Key:
    private = ec.generate_private_key(curve)
    spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Key(spki, algorithm, lambda signed: private.sign(signed, ec.ECDSA(hash_)))


@cache
def p256(name: str = "web") -> Key:
    """Another name, another key."""
    return _ec_key(ec.SECP256R1(), ECDSA_SHA256, hashes.SHA256())


@cache
def p384() -> Key:
    return _ec_key(ec.SECP384R1(), ECDSA_SHA384, hashes.SHA384())


@cache
def p256_with(algorithm: bytes) -> Key:
    """P-256 that signs with SHA-1 or SHA-384."""
    return _ec_key(ec.SECP256R1(), algorithm, {ECDSA_SHA1: hashes.SHA1(), ECDSA_SHA384: hashes.SHA384()}[algorithm])


@cache
def p384_with_sha256() -> Key:
    return _ec_key(ec.SECP384R1(), ECDSA_SHA256, hashes.SHA256())


@cache
def on_curve(curve: type[ec.EllipticCurve]) -> Key:
    return _ec_key(curve(), ECDSA_SHA256, hashes.SHA256())


@cache
def p256_with_explicit_parameters() -> Key:
    """P-256 by its numbers instead of its name (X9.62); verifies wherever the parameters are believed."""
    p = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    x = 0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296
    y = 0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    parameters = der.sequence(
        der.integer(1),
        der.sequence(der.oid("1.2.840.10045.1.1"), der.integer(p)),
        der.sequence(der.octets((p - 3).to_bytes(32)), der.octets(b.to_bytes(32))),
        der.octets(b"\x04" + x.to_bytes(32) + y.to_bytes(32)),
        der.integer(order),
        der.integer(1),
    )
    key = p256("explicit")
    spki = der.sequence(der.sequence(der.oid("1.2.840.10045.2.1"), parameters), der.bits(key.spki[-65:]))
    return Key(spki, key.algorithm, key.sign)


def p256_at(point: bytes) -> Key:
    """A point that nobody has the key of, or one of ours in another encoding."""
    key = p256()
    algorithm = der.sequence(der.oid("1.2.840.10045.2.1"), der.oid("1.2.840.10045.3.1.7"))
    return Key(der.sequence(algorithm, der.bits(point)), key.algorithm, key.sign)


def p256_off_its_curve() -> Key:
    """The last bit of y flipped: of the two points with this x, neither has that y."""
    point = p256().spki[-65:]
    return p256_at(point[:-1] + bytes([point[-1] ^ 1]))


def p256_in_hybrid_form() -> Key:
    """Both coordinates and, once more, whether y is odd."""
    point = p256().spki[-64:]
    return p256_at(bytes([6 + point[-1] % 2]) + point)


def compressed(key: Key) -> Key:
    """The same P-256 key, its point in the form that our block-list does not know (SEC 1 §2.3.3)."""
    x, y = key.spki[-64:-32], key.spki[-32:]
    return Key(p256_at(bytes([2 + y[-1] % 2]) + x).spki, key.algorithm, key.sign)


@cache
def edwards() -> Key:
    private = ed25519.Ed25519PrivateKey.generate()
    spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Key(spki, ED25519, private.sign)


@cache
def rsa_of(bits: int, *, exponent: int = 65537) -> Key:
    """A sound RSA key of any size and exponent."""
    dice = random.Random(f"{bits} {exponent}")
    while True:
        p, q = _prime(dice, bits // 2), _prime(dice, bits - bits // 2)
        if (p * q).bit_length() == bits and gmpy2.gcd(exponent, (p - 1) * (q - 1)) == 1:
            return rsa_from(p, q, exponent=exponent)


@cache
def rsa_with_factor(p: int) -> Key:
    """A modulus of 2048 bits with one small prime factor."""
    dice = random.Random(p)
    while True:
        q = int(gmpy2.next_prime((1 << 2047) // p + dice.getrandbits(2000)))
        if (p * q).bit_length() == 2048 and gmpy2.gcd(65537, (p - 1) * (q - 1)) == 1:
            return rsa_from(p, q)


@cache
def rsa_with_close_primes(*, bits: int = 2048, exponent: int = 65537) -> Key:
    """Two primes next to each other: factored by Fermat's method in one round (CVE-2022-26320)."""
    dice = random.Random(f"fermat {bits} {exponent}")
    while True:
        p = _prime(dice, bits // 2)
        q = int(gmpy2.next_prime(p))
        if gmpy2.gcd(exponent, (p - 1) * (q - 1)) == 1:
            return rsa_from(p, q, exponent=exponent)


@cache
def rsa_of_roca() -> Key:
    """Both primes of the form k·M + 65537^a mod M."""
    dice = random.Random("roca")
    modulus, prime = 1, 1
    for _ in range(_ROCA_PRIMES):
        prime = int(gmpy2.next_prime(prime))
        modulus *= prime
    return rsa_from(_roca_prime(dice, modulus), _roca_prime(dice, modulus))


@cache
def rsa_with_zeros() -> Key:
    """Primes with 16 random bits in every 128, as a generator makes that fills its words half: their product is a
    polynomial with small coefficients, which is factored like one."""
    dice = random.Random("zeros")
    return rsa_from(_sparse_prime(dice), _sparse_prime(dice))


def rsa_of_giant_size() -> Key:
    """16 384 bits. Nobody has factors to sign with, and nobody gets that far."""
    modulus = random.Random("giant").getrandbits(16384) | 1 << 16383 | 1
    return Key(_rsa_spki(modulus, 65537), RSA_SHA256, lambda signed: bytes(2048))


def rsa_from(p: int, q: int, *, exponent: int = 65537) -> Key:
    modulus = p * q
    private = int(gmpy2.invert(exponent, (p - 1) * (q - 1)))
    return Key(
        _rsa_spki(modulus, exponent), RSA_SHA256, lambda signed: _pkcs1(signed, modulus, private, digest="sha256")
    )


def rsa_without_private_half(exponent: int) -> Key:
    """The modulus of a sound key with an exponent that has no inverse, or with a giant one."""
    return Key(_rsa_spki(_modulus(rsa_of(2048)), exponent), RSA_SHA256, lambda signed: bytes(256))


def rsa_with_negative_modulus() -> Key:
    """An INTEGER whose highest bit is set, where a byte of zero should stand before it."""
    return Key(_rsa_spki(-_modulus(rsa_of(2048)), 65537), RSA_SHA256, rsa_of(2048).sign)


def rsa_with_trailing_byte() -> Key:
    """A sound RSAPublicKey and a byte behind it, in the same BIT STRING."""
    key = rsa_of(2048)
    public = der.sequence(der.integer(_modulus(key)), der.integer(65537)) + b"\0"
    algorithm = der.sequence(der.oid("1.2.840.113549.1.1.1"), der.NULL)
    return Key(der.sequence(algorithm, der.bits(public)), key.algorithm, key.sign)


def p256_with_unused_bits() -> Key:
    """A point whose last bit is said to mean nothing."""
    key = p256()
    point = key.spki[-65:-1] + bytes([key.spki[-1] & 0xFE])
    algorithm = der.sequence(der.oid("1.2.840.10045.2.1"), der.oid("1.2.840.10045.3.1.7"))
    return Key(der.sequence(algorithm, der.bits(point, unused=1)), key.algorithm, key.sign)


def rsa_pss() -> Key:
    """A sound key that may be used with RSA-PSS only (RFC 4055 §1.2)."""
    key = rsa_of(2048)
    public = der.sequence(der.integer(_modulus(key)), der.integer(65537))
    algorithm = der.sequence(der.oid("1.2.840.113549.1.1.10"))
    return Key(der.sequence(algorithm, der.bits(public)), key.algorithm, key.sign)


@cache
def rsa_with(algorithm: bytes) -> Key:
    """RSA-2048 that signs with MD5, SHA-1 or SHA-512."""
    dice = random.Random("hash")
    p, q = _prime(dice, 1024), _prime(dice, 1024)
    private = int(gmpy2.invert(65537, (p - 1) * (q - 1)))
    digest = {RSA_MD5: "md5", RSA_SHA1: "sha1", RSA_SHA512: "sha512"}[algorithm]
    return Key(_rsa_spki(p * q, 65537), algorithm, lambda signed: _pkcs1(signed, p * q, private, digest=digest))


def _modulus(key: Key) -> int:
    """Of a key of 2048 bits with exponent 65537."""
    return int.from_bytes(key.spki[-261:-5])


def _rsa_spki(modulus: int, exponent: int) -> bytes:
    key = der.sequence(der.integer(modulus), der.integer(exponent))
    return der.sequence(der.sequence(der.oid("1.2.840.113549.1.1.1"), der.NULL), der.bits(key))


def _pkcs1(signed: bytes, modulus: int, private: int, *, digest: str) -> bytes:
    """A PKCS #1 v1.5 signature (RFC 8017 §8.2.1), for keys that no library would sign with."""
    size = (modulus.bit_length() + 7) // 8
    info = der.sequence(_DIGEST_INFO[digest], der.octets(hashlib.new(digest, signed).digest()))
    padded = b"\x00\x01" + b"\xff" * (size - len(info) - 3) + b"\x00" + info
    return int(gmpy2.powmod(int.from_bytes(padded), private, modulus)).to_bytes(size)


def _prime(dice: random.Random, bits: int) -> int:
    """With its two highest bits set, so that the product of two has twice its size."""
    return int(gmpy2.next_prime(dice.getrandbits(bits) | 3 << (bits - 2)))


def _roca_prime(dice: random.Random, modulus: int) -> int:
    while True:
        k = dice.getrandbits(1024 - modulus.bit_length()) | 3 << (1022 - modulus.bit_length())
        candidate = k * modulus + int(gmpy2.powmod(65537, dice.getrandbits(60), modulus))
        if candidate.bit_length() == 1024 and gmpy2.is_prime(candidate):
            return candidate


def _sparse_prime(dice: random.Random) -> int:
    while True:
        candidate = 3 << 1022 | sum(dice.getrandbits(16) << place for place in range(0, 1024, 128)) | 1
        if gmpy2.is_prime(candidate):
            return candidate
