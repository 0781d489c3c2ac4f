"""The openssl command as an oracle."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding


class OpenSslRefused(AssertionError):
    """OpenSSL does not accept the chain; the text is its own."""


def openssl_verify(
    certificate: x509.Certificate,
    *,
    untrusted: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    at: datetime | None = None,
    purpose: str | None = "sslserver",
) -> None:
    """``openssl verify -x509_strict``. Raises OpenSslRefused with what it said."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def file(stem: str, certificates: Sequence[x509.Certificate]) -> str:
            path = folder / f"{stem}.pem"
            path.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in certificates))
            return str(path)

        command = ["openssl", "verify", "-x509_strict", "-check_ss_sig", "-no-CApath", "-no-CAstore"]
        command += ["-CAfile", file("roots", roots)]
        if untrusted:
            command += ["-untrusted", file("chain", untrusted)]
        if at is not None:
            command += ["-attime", str(int(at.timestamp()))]
        if purpose is not None:
            command += ["-purpose", purpose]
        done = subprocess.run([*command, file("leaf", [certificate])], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise OpenSslRefused(done.stdout + done.stderr)
