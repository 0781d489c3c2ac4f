"""A running meshca, started with the commands that an operator would type, and what a test asks of it."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.clients.linkerd_proxy import LinkerdProxy
from tests.clients.pilot_agent import PilotAgent
from tests.clients.ztunnel import Ztunnel

COMMAND = (sys.executable, "-m", "meshca")


class CommandFailed(AssertionError):
    """A command ended with another status than 0."""

    def __init__(self, words: Sequence[str], done: subprocess.CompletedProcess[str]) -> None:
        super().__init__(f"meshca {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        self.status = done.returncode
        self.stderr = done.stderr


@dataclass
class World:
    """One ``meshca dev`` world in a folder of its own."""

    folder: Path
    settings: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    _tokens: int = 0

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.run("dev", "down", "--dir", str(self.folder))

    def up(self) -> None:
        """Start the server, or start it again; returns when it is ready."""
        settings = [word for setting in self.settings for word in ("--set", setting)]
        self.run("dev", "up", "--dir", str(self.folder), "--detach", *settings)
        lines = (self.folder / "dev.env").read_text().splitlines()
        pairs = (shlex.split(line.removeprefix("export "))[0].partition("=") for line in lines if "=" in line)
        self.environment = {name: value for name, _, value in pairs}

    def run(self, *words: str, timeout: float = 90) -> str:
        """Run ``meshca``; its standard output. Raises CommandFailed."""
        environment = {**os.environ, **self.environment}
        done = subprocess.run(
            [*COMMAND, *words], capture_output=True, text=True, env=environment, timeout=timeout, check=False
        )
        if done.returncode != 0:
            raise CommandFailed(words, done)
        return done.stdout

    def ask(self, *words: str) -> Any:
        """Run ``meshca … -o json`` and read what it prints."""
        return json.loads(self.run(*words, "-o", "json"))

    @property
    def pid(self) -> int:
        return int(self.environment["MESHCA_DEV_PID"])

    @property
    def workers(self) -> list[int]:
        """The control process's children."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    @property
    def roots(self) -> str:
        return Path(self.environment["MESHCA_DEV_ROOTS"]).read_text()

    def kill(self) -> None:
        """End the control process as a power cut would."""
        os.kill(self.pid, signal.SIGKILL)

    def serials(self) -> set[str]:
        """Every serial in the ledger."""
        return {row["serial"] for row in self.ask("certs", "list", "--limit", "0")}

    def rows(self) -> int:
        """How many certificates the ledger holds, read beside the server."""
        with contextlib.closing(sqlite3.connect(f"file:{self.folder}/meshca.db?mode=ro", uri=True)) as database:
            (count,) = database.execute("SELECT count(*) FROM ledger WHERE service != 'serving'").fetchone()
        return int(count)

    def log(self) -> Iterator[dict[str, Any]]:
        """The server's log so far."""
        for line in (self.folder / "serve.log").read_text().splitlines():
            if line.startswith("{"):
                yield json.loads(line)

    def http(self, path: str) -> tuple[int, str]:
        """Status and body of the HTTP side."""
        try:
            with urllib.request.urlopen(self.environment["MESHCA_DEV_HTTP"] + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    # --- callers ---

    def token_file(self, audience: str, *, namespace: str = "emojivoto", account: str = "web") -> Path:
        """A fresh token as the kubelet would project it."""
        token = self.run(
            "dev", "token", "--dir", str(self.folder), "--namespace", namespace, "--service-account", account,
            "--audience", audience,
        ).strip()  # fmt: skip
        self._tokens += 1
        path = self.folder / f"token-{self._tokens}"
        path.write_text(token)
        return path

    def linkerd(self, token_file: Path | None = None) -> LinkerdProxy:
        return LinkerdProxy(
            self.environment["MESHCA_DEV_LINKERD"],
            token_file=token_file or self.token_file("identity.l5d.io"),
            anchors=self.roots,
            namespace="emojivoto",
            service_account="web",
        )

    def pilot_agent(self, token_file: Path | None = None, *, key: str = "rsa-2048") -> PilotAgent:
        return PilotAgent(
            self.environment["MESHCA_DEV_ISTIO"],
            server_name=self.environment["MESHCA_DEV_ISTIO_NAME"],
            anchors=self.roots,
            token_file=token_file or self.token_file("istio-ca"),
            namespace="emojivoto",
            service_account="web",
            key=key,
        )

    def ztunnel(self, token_file: Path | None = None) -> Ztunnel:
        return Ztunnel(
            self.environment["MESHCA_DEV_ISTIO"],
            server_name=self.environment["MESHCA_DEV_ISTIO_NAME"],
            anchors=self.roots,
            token_file=token_file or self.token_file("istio-ca"),
            namespace="emojivoto",
            service_account="web",
        )
