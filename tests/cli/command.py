"""The command line as a process of its own, as scripts run it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MESHCA = (sys.executable, "-m", "meshca")


def meshca(*words: str, check: bool = True, server: str = "", timeout: float = 90) -> subprocess.CompletedProcess[str]:
    """Run a command; raises AssertionError with its output when it fails and must not."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MESHCA")}
    if server:
        environment["MESHCA_SERVER"] = server
    done = subprocess.run(
        [*MESHCA, *words], check=False, capture_output=True, text=True, timeout=timeout, env=environment
    )
    assert not check or done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


@dataclass(frozen=True)
class Dev:
    """A world of `meshca dev up`, by what its dev.env says."""

    folder: Path

    def up(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return meshca("dev", "up", "--dir", str(self.folder), "--detach", *words, check=check)

    def down(self) -> subprocess.CompletedProcess[str]:
        return meshca("dev", "down", "--dir", str(self.folder))

    @property
    def environment(self) -> dict[str, str]:
        lines = (self.folder / "dev.env").read_text().splitlines()
        words = [shlex.split(line.removeprefix("export ")) for line in lines]
        return dict(word.split("=", 1) for (word,) in words)

    @property
    def pid(self) -> int:
        return int(self.environment["MESHCA_DEV_PID"])

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return meshca(*words, check=check, server=self.environment["MESHCA_SERVER"])

    def json(self, *words: str) -> Any:
        return json.loads(self.run(*words, "-o", "json").stdout)

    def fetch(self, mesh: str, out: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        asked = ["fetch", "--dev", str(self.folder), "--as", mesh, "--service-account", "shop/cart", "--out", str(out)]
        return meshca(*asked, *words, check=check)

    def token(self, audience: str, namespace: str = "shop", account: str = "cart") -> str:
        words = ["--namespace", namespace, "--service-account", account, "--audience", audience]
        return meshca("dev", "token", "--dir", str(self.folder), *words).stdout.strip()


def openssl_accepts(out: Path) -> bool:
    """Whether OpenSSL follows the fetched leaf to the fetched roots, strictly."""
    files = ["-CAfile", str(out / "roots.pem"), "-untrusted", str(out / "chain.pem"), str(out / "leaf.pem")]
    done = subprocess.run(["openssl", "verify", "-x509_strict", *files], check=False, capture_output=True)
    return done.returncode == 0


def serial_of(out: Path) -> str:
    """The serial as OpenSSL reads it, in the form of the ledger."""
    command = ["openssl", "x509", "-in", str(out / "leaf.pem"), "-noout", "-serial"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return said.strip().removeprefix("serial=").lower().rjust(32, "0")
