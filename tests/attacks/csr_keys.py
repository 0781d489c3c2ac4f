"""Cases 1–15: no proof of possession, signatures that do not fit, and keys that nobody should have."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from cryptography.hazmat.primitives.asymmetric import ec

from tests.attacks import der, keys
from tests.attacks.attack import Attack
from tests.attacks.keys import Key
from tests.attacks.requests import DOORS, Body
from tests.attacks.rows import at_doors, row, with_key

_RSA_PSS = "1.2.840.113549.1.1.10"


def rows() -> Iterator[Attack]:
    yield from _possession()
    yield from _signature_algorithms()
    yield from _rsa()
    yield from _lists()
    yield from _curves_and_points()


def _possession() -> Iterator[Attack]:
    source = "linkerd2 pkg/identity/service.go never checks it; GHSA-rwxr-qr3p-5xq2"
    check = "possession"
    yield from at_doors(1, "spoilt-signature", check, lambda door: Body(door=door, key=keys.p256(), spoil=True), source)
    yield from at_doors(
        1,
        "signed-by-another-key",
        check,
        lambda door: Body(door=door, key=keys.p256("victim"), signer=keys.p256()),
        source,
    )
    yield from at_doors(
        1,
        "rsa-signed-by-another-key",
        check,
        lambda door: Body(door=door, key=keys.rsa_of(2048), signer=keys.rsa_of(4096)),
        source,
    )


def _signature_algorithms() -> Iterator[Attack]:
    source = "boulder csr.go: one algorithm for each type of key"
    check = "signature-algorithm"
    rsa = partial(keys.rsa_of, 2048)
    yield from with_key(2, "sha1-p256", check, partial(keys.p256_with, keys.ECDSA_SHA1), source)
    yield from with_key(2, "sha1-rsa", check, partial(keys.rsa_with, keys.RSA_SHA1), source)
    yield from with_key(2, "md5-rsa", check, partial(keys.rsa_with, keys.RSA_MD5), source)
    yield from with_key(3, "p256-with-sha384", check, partial(keys.p256_with, keys.ECDSA_SHA384), source)
    yield from with_key(3, "p384-with-sha256", check, keys.p384_with_sha256, source)
    yield from with_key(3, "rsa-with-sha512", check, partial(keys.rsa_with, keys.RSA_SHA512), source)
    for name, key, algorithm in (
        ("p256-stated-as-rsa", keys.p256, keys.RSA_SHA256),
        ("rsa-stated-as-ecdsa", rsa, keys.ECDSA_SHA256),
        ("rsa-stated-as-pss", rsa, der.sequence(der.oid(_RSA_PSS), der.sequence())),
        ("ecdsa-with-null", keys.p256, der.sequence(der.oid("1.2.840.10045.4.3.2"), der.NULL)),
        ("rsa-without-null", rsa, der.sequence(der.oid("1.2.840.113549.1.1.11"))),
    ):
        yield from with_key(3, name, check, partial(_stating, key, algorithm), source)


def _stating(key: keys.Maker, algorithm: bytes) -> Key:
    """Signs as it always does, and states another algorithm."""
    return Key(key().spki, algorithm, key().sign)


def _rsa() -> Iterator[Attack]:
    source = "boulder goodkey"
    for case, bits in ((4, 1024), (4, 2047), (5, 2176)):
        yield from with_key(case, f"rsa-{bits}", "key-size", partial(keys.rsa_of, bits), source)
    yield from with_key(5, "rsa-16384", "key-size", keys.rsa_of_giant_size, "SPIRE x509pop: cheap checks first")
    yield from with_key(5, "negative-modulus", "key-size", keys.rsa_with_negative_modulus, source)
    for exponent in (3, 65539):
        yield from with_key(
            6, f"exponent-{exponent}", "exponent", partial(keys.rsa_of, 2048, exponent=exponent), source
        )
    for name, exponent in (("0", 0), ("1", 1), ("2", 2), ("minus-65537", -65537), ("giant", 1 << 20000 | 1)):
        yield from with_key(6, f"exponent-{name}", "exponent", partial(keys.rsa_without_private_half, exponent), source)
    for name, factor in (("even-modulus", 2), ("factor-3", 3), ("factor-65537", 65537)):
        yield from with_key(7, name, "weak-key", partial(keys.rsa_with_factor, factor), source)
    yield from with_key(8, "close-primes", "weak-key", keys.rsa_with_close_primes, "CVE-2022-26320")
    yield from with_key(8, "pattern-of-zeros", "weak-key", keys.rsa_with_zeros, "badkeys rsapoly")
    yield from with_key(9, "roca", "weak-key", keys.rsa_of_roca, "CVE-2017-15361")


def _lists() -> Iterator[Attack]:
    yield from with_key(10, "listed-rsa", "blocked-key", partial(keys.rsa_of, 3072), "CVE-2008-0166")
    source = "boulder blockedKeys"
    yield from with_key(11, "listed-p256", "blocked-key", partial(keys.p256, "compromised"), source)
    yield from with_key(11, "our-own-issuer", "blocked-key", partial(keys.p256, "issuer"), source)
    yield from with_key(
        11,
        "listed-p256-compressed",
        "key-encoding",
        lambda: keys.compressed(keys.p256("compromised")),
        "RFC 5480 §2.2: the same key in a form that has another hash",
    )
    for door in DOORS:
        yield row(
            12,
            f"shared-key-{door.name}",
            "shared-key",
            Body(door=door, key=keys.p256("shared")).encoded,
            form=door.form,
            source="policy csr.shared_keys",
            judged=False,
        )


def _curves_and_points() -> Iterator[Attack]:
    source = "allow-list P-256, P-384"
    for curve in (ec.SECP256K1, ec.BrainpoolP256R1, ec.SECP521R1, ec.SECP224R1):
        yield from with_key(13, curve.name, "curve", partial(keys.on_curve, curve), source)
    yield from with_key(13, "explicit-p256", "curve", keys.p256_with_explicit_parameters, "CVE-2020-0601")
    yield from with_key(13, "ed25519", "key-type", keys.edwards, source)
    yield from with_key(13, "rsa-pss-key", "key-type", keys.rsa_pss, "linkerd2-proxy takes no RSA-PSS")
    source = "NIST SP 800-56A §5.6.2.3"
    for case, name, point in (
        (14, "zero", b"\x04" + bytes(64)),
        (14, "empty", b""),
        (14, "of-63-bytes", b"\x04" + bytes(63)),
        (15, "at-infinity", b"\x00"),
    ):
        yield from with_key(case, f"point-{name}", "key-encoding", partial(keys.p256_at, point), source)
    yield from with_key(14, "point-off-the-curve", "key-encoding", keys.p256_off_its_curve, source)
    yield from with_key(14, "hybrid-point", "key-encoding", keys.p256_in_hybrid_form, "X9.62 §4.3.6")
