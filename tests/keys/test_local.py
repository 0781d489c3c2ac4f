"""Private keys in files of every form that operators have, and the words for those that cannot be used."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from meshca.errors import Misconfigured
from meshca.keys.algorithms import PrivateKey, generate, spki_of
from meshca.keys.local import LocalSigner

PASSPHRASE = b"correct horse"


def openssl(*arguments: str, stdin: bytes) -> bytes:
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True).stdout


@pytest.fixture(scope="module", params=["ecdsa-p256", "ecdsa-p384", "rsa-2048"])
def private_key(request: pytest.FixtureRequest) -> PrivateKey:
    return generate(request.param)


@pytest.fixture
def pkcs8(private_key: PrivateKey) -> bytes:
    return private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_pkcs8_is_read(private_key: PrivateKey, pkcs8: bytes) -> None:
    signer = LocalSigner.from_pem(pkcs8, password=None, source="key.pem")

    assert signer.public_key == private_key.public_key()


def test_sec1_and_pkcs1_are_read(private_key: PrivateKey, pkcs8: bytes) -> None:
    traditional = openssl("pkey", "-traditional", stdin=pkcs8)
    assert b"BEGIN EC PRIVATE KEY" in traditional or b"BEGIN RSA PRIVATE KEY" in traditional

    signer = LocalSigner.from_pem(traditional, password=None, source="key.pem")

    assert signer.public_key == private_key.public_key()


@pytest.mark.parametrize(
    "command",
    [
        ["pkcs8", "-topk8", "-v2", "aes-256-cbc"],
        ["pkcs8", "-topk8", "-scrypt"],
        ["pkey", "-aes-256-cbc", "-traditional"],
    ],
    ids=["pkcs8-pbkdf2", "pkcs8-scrypt", "traditional"],
)
def test_encrypted_keys_are_read_with_their_passphrase_only(
    command: list[str], private_key: PrivateKey, pkcs8: bytes
) -> None:
    encrypted = openssl(*command, "-passout", f"pass:{PASSPHRASE.decode()}", stdin=pkcs8)

    signer = LocalSigner.from_pem(encrypted, password=PASSPHRASE, source="key.pem")

    assert signer.public_key == private_key.public_key()
    with pytest.raises(Misconfigured, match=r"key\.pem holds no readable PEM private key, or its passphrase is wrong"):
        LocalSigner.from_pem(encrypted, password=b"wrong", source="key.pem")
    for nothing in (None, b""):
        with pytest.raises(Misconfigured, match=r"key\.pem is encrypted: give its passphrase"):
            LocalSigner.from_pem(encrypted, password=nothing, source="key.pem")


@pytest.mark.parametrize("passphrase", [PASSPHRASE, b""])
def test_a_passphrase_for_a_key_that_needs_none_is_refused(passphrase: bytes, pkcs8: bytes) -> None:
    with pytest.raises(Misconfigured, match=r"key\.pem is not encrypted: give no passphrase"):
        LocalSigner.from_pem(pkcs8, password=passphrase, source="key.pem")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe\x00",
        b"-----BEGIN PRIVATE KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\nMDA=\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN CERTIFICATE-----\nMDA=\n-----END CERTIFICATE-----\n",
    ],
    ids=["empty", "binary", "cut-short", "other-content", "certificate"],
)
def test_what_is_no_private_key_is_named_by_its_file(text: bytes) -> None:
    with pytest.raises(Misconfigured, match=r"^key\.pem holds no readable PEM private key$"):
        LocalSigner.from_pem(text, password=None, source="key.pem")


@given(st.binary(max_size=200))
def test_bytes_that_are_no_key_are_misconfigured_and_nothing_else(text: bytes) -> None:
    with pytest.raises(Misconfigured):
        LocalSigner.from_pem(text, password=None, source="key.pem")
    with pytest.raises(Misconfigured):
        LocalSigner.from_pkcs8(text)


def test_a_key_of_another_type_is_refused() -> None:
    text = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    with pytest.raises(Misconfigured, match="type Ed25519PrivateKey cannot be used"):
        LocalSigner.from_pem(text, password=None, source="key.pem")


def test_a_key_on_a_curve_that_cryptography_does_not_know_is_refused() -> None:
    text = openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2", stdin=b"")

    with pytest.raises(Misconfigured, match=r"key\.pem holds no readable PEM private key"):
        LocalSigner.from_pem(text, password=None, source="key.pem")
    with pytest.raises(Misconfigured, match="not a PKCS#8 private key"):
        LocalSigner.from_pkcs8(openssl("pkcs8", "-topk8", "-nocrypt", "-outform", "DER", stdin=text))


def test_an_encrypted_key_is_not_a_stored_one(pkcs8: bytes) -> None:
    encrypted = openssl("pkcs8", "-topk8", "-passout", "pass:x", "-outform", "DER", stdin=pkcs8)

    with pytest.raises(Misconfigured, match="not a PKCS#8 private key"):
        LocalSigner.from_pkcs8(encrypted)


@pytest.mark.parametrize("key_type", ["ecdsa-p256", "ecdsa-p384", "rsa-2048"])
def test_a_key_survives_its_stored_form(key_type: str) -> None:
    signer = LocalSigner(generate(key_type))

    again = LocalSigner.from_pkcs8(signer.pkcs8())

    assert spki_of(again.public_key) == spki_of(signer.public_key)
    assert not again.remote


def test_neither_the_key_nor_the_passphrase_is_told(tmp_path: Path, pkcs8: bytes) -> None:
    signer = LocalSigner.from_pem(pkcs8, password=None, source="key.pem")
    encrypted = openssl("pkcs8", "-topk8", "-passout", "pass:right", stdin=pkcs8)

    with pytest.raises(Misconfigured) as caught:
        LocalSigner.from_pem(encrypted, password=b"nearly-right", source="key.pem")

    assert repr(signer) in {"<LocalSigner ECPublicKey>", "<LocalSigner RSAPublicKey>"}
    assert "nearly-right" not in str(caught.value)
    assert caught.value.__suppress_context__
