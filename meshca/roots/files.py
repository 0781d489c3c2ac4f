"""The root that lives in a file: made anew, or the one that the company already has."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding

from meshca.errors import Misconfigured
from meshca.issuance.draft import sign
from meshca.keys.algorithms import generate
from meshca.keys.local import LocalSigner
from meshca.names import TrustDomain
from meshca.roots.certificates import draft_root
from meshca.roots.chain import in_order
from meshca.roots.held import HeldRoot

_MAX_FILE = 256 * 1024


@dataclass(frozen=True, slots=True)
class RootFiles:
    """Where the root's certificate (with what is between it and the anchor), key and passphrase are."""

    certificate: Path
    key: Path
    passphrase: Path | None = None


def open_root(files: RootFiles) -> HeldRoot:
    """The root in these files, its key included. Raises Misconfigured, naming the file.

    Called when something is to be signed and not before: the key may be kept offline in between.
    """
    certificates = read_certificates(files.certificate)
    mode = _stat_mode(files.key)
    if mode & 0o007 or mode & 0o020:
        raise Misconfigured(f"the root key {files.key} has mode {mode & 0o777:04o}: make it 0600 (or 0440)")
    signer = LocalSigner.from_pem(_read(files.key), password=_passphrase(files.passphrase), source=str(files.key))
    return HeldRoot(in_order(certificates, signer.public_key), signer)


def create_root(
    files: RootFiles, trust_domain: TrustDomain, *, key_type: str, lifetime: timedelta, now: datetime
) -> x509.Certificate:
    """Make a self-signed root and write it: the key first, with mode 0600, encrypted if there is a passphrase.

    Raises Misconfigured when either file exists: a root is never overwritten.
    """
    for path in (files.key, files.certificate):
        if path.exists():
            raise Misconfigured(f"{path} exists: a root is never overwritten; use it (--root-cert), or move it away")
    private_key = generate(key_type)
    signer = LocalSigner(private_key)
    certificate = x509.load_der_x509_certificate(
        sign(draft_root(trust_domain, signer.public_key, lifetime=lifetime, now=now), signer)
    )
    password = _passphrase(files.passphrase)
    encryption: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    )
    key_pem = private_key.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    _write(files.key, key_pem, mode=0o600)
    _write(files.certificate, certificate.public_bytes(Encoding.PEM), mode=0o644)
    return certificate


def read_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """One or more PEM certificates, in the file's order. Raises Misconfigured."""
    try:
        return tuple(x509.load_pem_x509_certificates(_read(path)))
    except ValueError:
        raise Misconfigured(f"{path} holds no readable PEM certificate") from None


def _passphrase(path: Path | None) -> bytes | None:
    if path is None:
        return None
    if _stat_mode(path) & 0o007:
        raise Misconfigured(f"the passphrase file {path} can be read by everybody: make it 0600")
    text = _read(path).rstrip(b"\r\n")
    if not text:
        raise Misconfigured(f"the passphrase file {path} is empty")
    return text


def _stat_mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}") from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}") from None
    if len(text) > _MAX_FILE:
        raise Misconfigured(f"{path} is over {_MAX_FILE} bytes, which no key or certificate is")
    return text


def _write(path: Path, content: bytes, *, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise Misconfigured(f"{path} cannot be written: {error.strerror}") from None
