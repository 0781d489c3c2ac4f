"""Private keys encrypted at rest (DESIGN §4).

AES-256-GCM with a fresh 96-bit nonce under a key-encryption key; the associated data bind the
sealed key to its owner, its public key and the form's version, so that a row copied over another
row does not open (NIST SP 800-38D for the mode).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from meshca.errors import Misconfigured
from meshca.keys.algorithms import spki_sha256
from meshca.keys.local import LocalSigner

_NONCE = 12
_KEY = 32


class KeyEncryptionKey(Protocol):
    """What a sealed key is sealed under: a file's key, Vault Transit or an HSM."""

    def wrap(self, plaintext: bytes, bound_to: bytes) -> bytes:
        """Encrypt and authenticate; ``bound_to`` is authenticated and not stored. Raises Unavailable."""

    def unwrap(self, wrapped: bytes, bound_to: bytes) -> bytes:
        """Raises Misconfigured when it was not wrapped by this key for this owner, Unavailable when the key is away."""


@dataclass(frozen=True, slots=True, repr=False)
class FileKek:
    """A key-encryption key of 32 bytes, base64 in a file that nobody else may read."""

    _key: bytes
    _source: str

    def wrap(self, plaintext: bytes, bound_to: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + AESGCM(self._key).encrypt(nonce, plaintext, bound_to)

    def unwrap(self, wrapped: bytes, bound_to: bytes) -> bytes:
        try:
            return AESGCM(self._key).decrypt(wrapped[:_NONCE], wrapped[_NONCE:], bound_to)
        except (InvalidTag, ValueError):
            raise Misconfigured(
                f"a sealed key does not open with the key-encryption key in {self._source}: "
                "it was sealed under another one, or its row was changed"
            ) from None

    @classmethod
    def read(cls, path: Path) -> FileKek:
        """Raises Misconfigured when the file is missing, open to others, or not 32 bytes of base64."""
        try:
            mode = path.stat().st_mode
            text = path.read_bytes()
        except OSError as error:
            raise Misconfigured(f"the key-encryption key {path} cannot be read: {error.strerror}") from None
        # A group may read it (Kubernetes' fsGroup mounts Secrets that way); others never.
        if mode & 0o007 or mode & 0o020:
            raise Misconfigured(f"the key-encryption key {path} has mode {mode & 0o777:04o}: make it 0600 (or 0440)")
        try:
            key = base64.b64decode(text.strip(), validate=True)
        except binascii.Error:
            key = b""
        if len(key) != _KEY:
            raise Misconfigured(f"the key-encryption key {path} must hold {_KEY} random bytes in base64")
        return cls(key, str(path))

    @staticmethod
    def create(path: Path) -> None:
        """Write a new random key with mode 0600; an existing file is left alone. Raises OSError.

        It appears with all its bytes or not at all: half a key would be read as a wrong one for ever.
        """
        if path.exists():
            return
        new = path.with_name(f"{path.name}.{os.getpid()}.new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(base64.b64encode(os.urandom(_KEY)) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(new, path)
        finally:
            new.unlink()


def seal(signer: LocalSigner, kek: KeyEncryptionKey, *, owner: str) -> bytes:
    """The private key as it is stored. ``owner`` is the identifier of the issuer that it belongs to."""
    return kek.wrap(signer.pkcs8(), _binding(owner, spki_sha256(signer.public_key)))


def unseal(sealed: bytes, kek: KeyEncryptionKey, *, owner: str, spki_hash: bytes) -> LocalSigner:
    """The key again. Raises Misconfigured when it is not the sealed key of this owner and public key."""
    signer = LocalSigner.from_pkcs8(kek.unwrap(sealed, _binding(owner, spki_hash)))
    if spki_sha256(signer.public_key) != spki_hash:
        raise Misconfigured(f"the sealed key of {owner} is not the key of its certificate")
    return signer


def _binding(owner: str, spki_hash: bytes) -> bytes:
    return b"meshca sealed key v1\0" + owner.encode() + b"\0" + spki_hash
