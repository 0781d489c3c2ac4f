"""A sealed key opens for its owner, under its key-encryption key, unchanged; and in no other case."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from meshca.errors import Misconfigured
from meshca.keys.algorithms import generate, spki_of, spki_sha256
from meshca.keys.local import LocalSigner
from meshca.keys.sealed import FileKek, seal, unseal

SIGNER = LocalSigner(generate("ecdsa-p256"))
HASH = spki_sha256(SIGNER.public_key)
KEK = FileKek(bytes(range(32)), "a test")
SEALED = seal(SIGNER, KEK, owner="issuer-1")


def kek_file(folder: Path, *, mode: int = 0o600, content: bytes | None = None) -> Path:
    path = folder / "kek"
    path.write_bytes(base64.b64encode(bytes(32)) + b"\n" if content is None else content)
    path.chmod(mode)
    return path


def test_a_sealed_key_opens_again() -> None:
    again = unseal(SEALED, KEK, owner="issuer-1", spki_hash=HASH)

    assert spki_of(again.public_key) == spki_of(SIGNER.public_key)


def test_the_sealed_form_hides_the_key_and_never_repeats() -> None:
    pkcs8 = SIGNER.pkcs8()

    assert pkcs8 not in SEALED
    assert seal(SIGNER, KEK, owner="issuer-1")[:12] != SEALED[:12]
    assert seal(SIGNER, KEK, owner="issuer-1")[12:] != SEALED[12:]


def test_it_is_aes_gcm_with_the_nonce_before_and_the_owner_bound_to_it() -> None:
    bound_to = b"meshca sealed key v1\0issuer-1\0" + HASH

    assert AESGCM(bytes(range(32))).decrypt(SEALED[:12], SEALED[12:], bound_to) == SIGNER.pkcs8()


@given(st.integers(0, 8 * len(SEALED) - 1))
def test_a_changed_bit_anywhere_keeps_it_shut(bit: int) -> None:
    changed = bytearray(SEALED)
    changed[bit // 8] ^= 1 << bit % 8

    with pytest.raises(Misconfigured, match="does not open with the key-encryption key in a test"):
        unseal(bytes(changed), KEK, owner="issuer-1", spki_hash=HASH)


@given(st.integers(0, len(SEALED) - 1))
def test_a_piece_of_it_does_not_open(size: int) -> None:
    with pytest.raises(Misconfigured, match="does not open"):
        unseal(SEALED[:size], KEK, owner="issuer-1", spki_hash=HASH)


def test_a_row_copied_over_another_does_not_open() -> None:
    other = LocalSigner(generate("ecdsa-p256"))
    theirs = seal(other, KEK, owner="issuer-2")

    for owner, spki_hash in (("issuer-1", HASH), ("issuer-2", HASH), ("issuer-1", spki_sha256(other.public_key))):
        with pytest.raises(Misconfigured, match="does not open"):
            unseal(theirs, KEK, owner=owner, spki_hash=spki_hash)
    again = unseal(theirs, KEK, owner="issuer-2", spki_hash=spki_sha256(other.public_key))
    assert again.public_key == other.public_key


def test_a_key_sealed_under_a_false_hash_is_noticed() -> None:
    false_hash = bytes(32)
    sealed = KEK.wrap(SIGNER.pkcs8(), b"meshca sealed key v1\0issuer-1\0" + false_hash)

    with pytest.raises(Misconfigured, match="issuer-1 is not the key of its certificate"):
        unseal(sealed, KEK, owner="issuer-1", spki_hash=false_hash)


def test_another_key_encryption_key_does_not_open_it() -> None:
    with pytest.raises(Misconfigured, match="in another file: it was sealed under another one"):
        unseal(SEALED, FileKek(bytes(32), "another file"), owner="issuer-1", spki_hash=HASH)


def test_what_opens_to_something_else_than_a_key_is_refused() -> None:
    sealed = KEK.wrap(b"not a key", b"meshca sealed key v1\0issuer-1\0" + HASH)

    with pytest.raises(Misconfigured, match="not a PKCS#8 private key"):
        unseal(sealed, KEK, owner="issuer-1", spki_hash=HASH)


def test_a_new_key_encryption_key_is_random_and_for_its_owner_alone(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    before = os.umask(0)
    try:
        FileKek.create(one)
        FileKek.create(two)
    finally:
        os.umask(before)

    assert one.stat().st_mode & 0o777 == 0o600
    assert len(base64.b64decode(one.read_bytes())) == 32
    assert one.read_bytes() != two.read_bytes()
    sealed = seal(SIGNER, FileKek.read(one), owner="i")
    assert unseal(sealed, FileKek.read(one), owner="i", spki_hash=HASH).public_key == SIGNER.public_key


def test_an_existing_key_encryption_key_is_left_alone(tmp_path: Path) -> None:
    path = kek_file(tmp_path)
    before = path.read_bytes()

    FileKek.create(path)

    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o440, 0o640])
def test_its_owner_and_a_group_may_read_the_file(mode: int, tmp_path: Path) -> None:
    kek = FileKek.read(kek_file(tmp_path, mode=mode))

    assert kek.unwrap(kek.wrap(b"secret", b"mine"), b"mine") == b"secret"


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o601, 0o602, 0o660, 0o620, 0o777])
def test_a_file_that_others_may_read_or_a_group_may_write_is_refused(mode: int, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=f"has mode {mode:04o}: make it 0600"):
        FileKek.read(kek_file(tmp_path, mode=mode))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(32),
        base64.b64encode(bytes(31)),
        base64.b64encode(bytes(33)),
        base64.b64encode(bytes(32))[:-1],
        b"*" + base64.b64encode(bytes(32)),
        base64.b64encode(bytes(32)) + b"\n" + base64.b64encode(bytes(32)),
        "ü".encode() * 22,
        b"ab" * 32,
    ],
    ids=["empty", "raw", "31-bytes", "33-bytes", "cut", "stray", "two", "no-ascii", "hexadecimal"],
)
def test_what_is_not_32_bytes_in_base64_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="must hold 32 random bytes in base64"):
        FileKek.read(kek_file(tmp_path, content=content))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"no-kek cannot be read: No such file"):
        FileKek.read(tmp_path / "no-kek")


def test_the_key_encryption_key_is_not_told(tmp_path: Path) -> None:
    secret = os.urandom(32)
    kek = FileKek.read(kek_file(tmp_path, content=base64.b64encode(secret)))

    with pytest.raises(Misconfigured) as caught:
        kek.unwrap(SEALED, b"")

    for text in (repr(kek), str(kek), str(caught.value)):
        assert base64.b64encode(secret).decode() not in text
        assert repr(secret)[2:-1] not in text
