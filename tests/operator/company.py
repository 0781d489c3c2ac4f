"""Roots as companies have them, made with OpenSSL so that nothing of ours is in them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

CA = "basicConstraints=critical,CA:TRUE"
SIGNS = "keyUsage=critical,keyCertSign,cRLSign"
KEYS = {
    "p256": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "p384": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "rsa2048": ["-newkey", "rsa:2048"],
    "ed25519": ["-newkey", "ed25519"],
}


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


def authority(
    folder: Path,
    name: str,
    *,
    key: str = "p256",
    parent: Pair | None = None,
    extensions: tuple[str, ...] = (CA, SIGNS),
    days: int = 3650,
    passphrase: str = "",
) -> Pair:
    """A CA's certificate, self-signed unless it has a parent."""
    pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    command = ["openssl", "req", "-x509", *KEYS[key], "-subj", f"/O=Example Corp/CN={name}"]
    command += ["-keyout", str(pair.key), "-out", str(pair.certificate), "-days", str(days)]
    command += ["-passout", f"pass:{passphrase}"] if passphrase else ["-nodes"]
    if parent is not None:
        command += ["-CA", str(parent.certificate), "-CAkey", str(parent.key)]
    config = folder / "openssl.cnf"
    config.write_text("[req]\ndistinguished_name=dn\n[dn]\n")
    command += ["-config", str(config)]
    for extension in extensions:
        command += ["-addext", extension]
    subprocess.run(command, check=True, capture_output=True)
    pair.key.chmod(0o600)
    return pair


def joined(path: Path, *parts: Path) -> Path:
    """One file of several."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    path.chmod(0o600)
    return path
