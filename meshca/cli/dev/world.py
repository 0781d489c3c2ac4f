"""The folder of a development world: its files, its configuration, and what it tells scripts."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import random
import shlex
import socket
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from meshca.cli.files import folder as made
from meshca.cli.files import write
from meshca.cli.output import yaml_text
from meshca.config import Address, Config, load
from meshca.config.document import read
from meshca.config.overrides import from_command_line, lay_over
from meshca.config.problems import Problem, report
from meshca.errors import Conflict, Misconfigured

TRUST_DOMAIN = "cluster.local"
ISSUER = "https://kubernetes.default.svc.cluster.local"
ISTIO_NAME = "istiod.istio-system.svc"
_HOST = "127.0.0.1"
_PORTS = (20_000, 32_000)
"""Below those that Linux gives to outgoing connections (ip_local_port_range), so that no such connection sits
on a port of ours when we come back to it."""
_MAX_SOCKET_PATH = 107
"""Bytes, on Linux (unix(7))."""


@dataclass(frozen=True)
class World:
    """One world. ``folder`` is absolute."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "meshca.yaml"

    @property
    def token_key(self) -> Path:
        return self.folder / "service-account.key"

    @property
    def jwks(self) -> Path:
        return self.folder / "jwks.json"

    @property
    def roots(self) -> Path:
        return self.folder / "roots.pem"

    @property
    def log(self) -> Path:
        return self.folder / "serve.log"

    @property
    def env(self) -> Path:
        return self.folder / "dev.env"

    @cached_property
    def socket(self) -> Path:
        """The admin socket; where the folder's own path is too long for one, in a short folder of ours."""
        path = self.folder / "run" / "admin.sock"
        if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
            return path
        name = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        return Path(tempfile.gettempdir(), f"meshca-dev-{os.getuid()}-{name}", "admin.sock")

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """One `up` or `down` at a time. Raises Misconfigured when the folder cannot be written to."""
        try:
            descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise Misconfigured(f"the folder {self.folder} cannot be used: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def load(self) -> Config:
        """The configuration of this world. Raises Misconfigured."""
        if not self.config.exists():
            raise Misconfigured(
                f"{self.folder} holds no development world: make one with `meshca dev up --dir {self.folder}`"
            )
        return load(self.config, environ=os.environ)

    def configure(self, settings: Sequence[str], *, runs: bool) -> Config:
        """Write the configuration if it is new or has new settings, and load it.

        Raises Misconfigured when it is not acceptable; the old one then stays. Raises Conflict for
        new settings while a server ``runs`` with the old ones.
        """
        before = self.config.read_text() if self.config.exists() else ""
        after = _with(before or yaml_text(self._first()), settings)
        if after != before:
            if runs:
                raise Conflict(
                    f"the server of {self.folder} runs with other settings: "
                    f"stop it with `meshca dev down --dir {self.folder}`, and say `up` with --set again"
                )
            self._replace(after)
        made(self.socket.parent)
        if self.socket.parent.stat().st_uid != os.getuid() or self.socket.parent.stat().st_mode & 0o077:
            raise Misconfigured(f"{self.socket.parent} is not ours alone: remove it, or choose a shorter --dir")
        return self.load()

    def _replace(self, text: str) -> None:
        trial = self.folder / "meshca.yaml.new"
        write(trial, text.encode(), mode=0o600)
        try:
            load(trial, environ=os.environ)
        except Misconfigured:
            trial.unlink()
            raise
        trial.replace(self.config)

    def _first(self) -> dict[str, Any]:
        istio, linkerd, http = _free_ports(3)
        return {
            "trust_domain": TRUST_DOMAIN,
            "store": {"url": f"sqlite:///{self.folder / 'meshca.db'}"},
            "root": {"certificate": str(self.folder / "root.crt"), "key": str(self.folder / "root.key")},
            "issuer": {"keys": {"kek": {"file": str(self.folder / "kek")}}},
            "clusters": [
                {"name": "Kubernetes", "validate": "jwks", "jwks": {"issuer": ISSUER, "file": str(self.jwks)}}
            ],
            "listeners": [
                {
                    "name": "istio",
                    "address": f"{_HOST}:{istio}",
                    "kind": "tls",
                    "services": ["istio"],
                    "names": [ISTIO_NAME, "localhost"],
                },
                {
                    "name": "linkerd",
                    "address": f"{_HOST}:{linkerd}",
                    "kind": "plaintext",
                    "services": ["linkerd"],
                },
                {"name": "admin", "address": f"unix:{self.socket}", "kind": "plaintext", "services": ["admin"]},
            ],
            "http": {"address": f"{_HOST}:{http}"},
            "rotation": {"propagation": "2s", "skew": "2s"},
        }

    def write_env(self, config: Config, pid: int) -> None:
        """dev.env, in one step: shell lines that export what scripts need."""
        values = self.environment(config, pid)
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in values.items()]
        write(self.env, "".join(lines).encode(), mode=0o600)

    def environment(self, config: Config, pid: int) -> dict[str, str]:
        """What scripts need, by the names of dev.env. Raises Misconfigured as :func:`endpoints` does."""
        found = endpoints(config)
        return {
            "MESHCA_SERVER": found.admin,
            "MESHCA_DEV_LINKERD": found.linkerd,
            "MESHCA_DEV_ISTIO": found.istio,
            "MESHCA_DEV_ISTIO_NAME": found.istio_name,
            "MESHCA_DEV_ROOTS": str(self.roots),
            "MESHCA_DEV_HTTP": found.http,
            "MESHCA_DEV_PID": str(pid),
        }


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a configuration's services are found."""

    admin: str
    linkerd: str
    istio: str
    istio_name: str
    http: str
    """A URL without a slash at its end."""


def endpoints(config: Config) -> Endpoints:
    """Raises Misconfigured when a setting took a service away that a development world has."""
    by_service = {service: each for each in config.listeners for service in each.services}
    missing = sorted({"admin", "linkerd", "istio"} - set(by_service))
    if missing:
        raise Misconfigured(f"no listener serves {', '.join(missing)}: a development world needs it; change listeners")
    istio = by_service["istio"]
    return Endpoints(
        admin=by_service["admin"].address,
        linkerd=_reachable(by_service["linkerd"].address),
        istio=_reachable(istio.address),
        istio_name=istio.names[0] if istio.names else "",
        http=f"http://{_reachable(config.http.address)}",
    )


def _reachable(address: str) -> str:
    """Where a client of this machine connects to."""
    parsed = Address.parse(address)
    if parsed.host in {"0.0.0.0", "::"}:  # noqa: S104 - it is recognised, not listened on
        return f"{_HOST}:{parsed.port}"
    return address


def _with(text: str, settings: Sequence[str]) -> str:
    """The configuration's text with settings laid over it; unchanged when they change nothing. Raises Misconfigured."""
    if not settings:
        return text
    document = read(text)
    plain = yaml_text(document.tree)
    problems: list[Problem] = []
    laid = from_command_line(settings, problems)
    lay_over(document, laid, Config(trust_domain=TRUST_DOMAIN).model_dump(mode="json"))
    problems += document.problems
    if problems:
        raise Misconfigured(report(problems, "the settings"))
    after = yaml_text(document.tree)
    return text if after == plain else after


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        for port in random.sample(range(*_PORTS), k=2_000):
            probe = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind((_HOST, port))
                ports.append(port)
            if len(ports) == count:
                return ports
    raise Misconfigured(f"no {count} free ports were found between {_PORTS[0]} and {_PORTS[1]}")
