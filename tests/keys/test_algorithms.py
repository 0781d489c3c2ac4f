"""A key has one signature algorithm, and names it as others do."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from meshca.errors import Misconfigured
from meshca.keys.algorithms import (
    KEY_TYPES,
    PrivateKey,
    algorithm_of,
    generate,
    key_identifier,
    spki_of,
    spki_sha256,
)
from meshca.keys.local import LocalSigner, usable


@asn1.sequence
class _Signed:
    signed: asn1.TLV
    algorithm: asn1.TLV
    signature: asn1.BitString


@pytest.fixture(scope="module", params=KEY_TYPES)
def private_key(request: pytest.FixtureRequest) -> PrivateKey:
    return generate(request.param)


def built_by_cryptography(key: PrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=datetime(2026, 1, 1, tzinfo=UTC),
        not_valid_after=datetime(2026, 1, 2, tzinfo=UTC),
    )
    return builder.sign(key, algorithm_of(key.public_key()).hash)


def test_the_identifier_is_the_one_that_cryptography_writes(private_key: PrivateKey) -> None:
    algorithm = algorithm_of(private_key.public_key())
    certificate = built_by_cryptography(private_key)

    written = asn1.decode_der(_Signed, certificate.public_bytes(Encoding.DER)).algorithm

    assert algorithm.identifier == asn1.encode_der(written)
    assert algorithm.oid == certificate.signature_algorithm_oid


def test_what_cryptography_signed_verifies(private_key: PrivateKey) -> None:
    certificate = built_by_cryptography(private_key)
    key = private_key.public_key()

    assert algorithm_of(key).verifies(key, certificate.signature, certificate.tbs_certificate_bytes)
    assert not algorithm_of(key).verifies(key, certificate.signature, certificate.tbs_certificate_bytes + b"\0")
    assert not algorithm_of(key).verifies(key, b"", certificate.tbs_certificate_bytes)
    assert not algorithm_of(key).verifies(key, certificate.signature[:-1], certificate.tbs_certificate_bytes)


def test_a_signature_of_another_key_does_not_verify(private_key: PrivateKey) -> None:
    other = generate("ecdsa-p256")
    signature = LocalSigner(other).sign(b"tbs")
    key = private_key.public_key()

    assert not algorithm_of(key).verifies(key, signature, b"tbs")


def test_what_we_sign_verifies_with_openssl(private_key: PrivateKey, tmp_path: Path) -> None:
    signer = LocalSigner(private_key)
    (tmp_path / "signature").write_bytes(signer.sign(b"to be signed"))
    public = signer.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(public)

    digest = algorithm_of(signer.public_key).hash.name

    said = subprocess.run(
        ["openssl", "dgst", f"-{digest}", "-verify", "public.pem", "-signature", "signature"],
        cwd=tmp_path,
        input=b"to be signed",
        capture_output=True,
        check=True,
    ).stdout

    assert said == b"Verified OK\n"


def test_the_hash_of_a_public_key_is_openssls(private_key: PrivateKey, tmp_path: Path) -> None:
    key = private_key.public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    spki = subprocess.run(
        ["openssl", "pkey", "-pubin", "-outform", "DER"], input=pem, capture_output=True, check=True
    ).stdout
    digest = subprocess.run(
        ["openssl", "dgst", "-sha256", "-binary"], input=spki, capture_output=True, check=True
    ).stdout

    assert spki_of(key) == spki
    assert spki_sha256(key) == digest
    assert key_identifier(key) == digest[:20]


@pytest.mark.parametrize(
    ("key_type", "size"),
    [("ecdsa-p256", 256), ("ecdsa-p384", 384), ("rsa-2048", 2048), ("rsa-3072", 3072), ("rsa-4096", 4096)],
)
def test_a_key_is_made_as_it_is_called(key_type: str, size: int) -> None:
    key = generate(key_type)

    assert key.key_size == size
    assert isinstance(key, rsa.RSAPrivateKey if key_type.startswith("rsa") else ec.EllipticCurvePrivateKey)
    if isinstance(key, rsa.RSAPrivateKey):
        assert key.public_key().public_numbers().e == 65537


@pytest.mark.parametrize("key_type", ["", "rsa", "rsa-1024", "rsa-8192", "ecdsa-p521", "ed25519", "ECDSA-P256"])
def test_keys_of_other_types_are_not_made(key_type: str) -> None:
    with pytest.raises(Misconfigured, match="is not one of ecdsa-p256, ecdsa-p384, rsa-2048"):
        generate(key_type)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ec.generate_private_key(ec.SECP521R1()),
        lambda: ec.generate_private_key(ec.SECP256K1()),
        ed25519.Ed25519PrivateKey.generate,
        lambda: dsa.generate_private_key(1024),
    ],
    ids=["p521", "secp256k1", "ed25519", "dsa"],
)
def test_keys_of_other_types_are_not_used(make: Callable[[], Any]) -> None:
    key = make()

    with pytest.raises(Misconfigured, match="use P-256, P-384 or RSA"):
        algorithm_of(key.public_key())
    with pytest.raises(Misconfigured, match="use P-256, P-384 or RSA"):
        usable(key)
