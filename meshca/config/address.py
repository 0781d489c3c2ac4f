"""Where something listens: ``host:port`` or ``unix:/path``."""

from __future__ import annotations

import ipaddress
import os.path
import re
from dataclasses import dataclass

_PORT = re.compile(r"[1-9][0-9]{0,4}")
_MAX_PORT = 65535
_MAX_PATH = 107
"""Bytes of a Unix socket's path on Linux, its closing NUL not counted (unix(7))."""

_FORMS = "write host:port, such as 0.0.0.0:15012, 127.0.0.1:8080 or [::1]:8080, or unix:/path"


@dataclass(frozen=True, slots=True)
class Address:
    """An address in its one canonical form: a host with a port, or the absolute path of a Unix socket."""

    host: str = ""
    """An IP address, or ``localhost``; empty for a socket."""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Raises ValueError for names other than ``localhost``, since a name can move between two starts; for
        port 0, since nobody could be told which one it became; for socket paths that are relative or too long."""
        if text.startswith("unix:"):
            return cls(path=_socket(text.removeprefix("unix:")))
        host, _, port = text.rpartition(":")
        if not _PORT.fullmatch(port) or int(port) > _MAX_PORT:
            raise ValueError(f"{_FORMS}; the port is 1 to {_MAX_PORT}")
        return cls(host=_host(host), port=int(port))

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_socket(self) -> bool:
        return bool(self.path)

    @property
    def is_private(self) -> bool:
        """Whether nobody outside this machine (in Kubernetes: this pod) can connect."""
        return self.is_socket or self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback

    def collides(self, other: Address) -> bool:
        """Whether the two cannot both be listened on; ``0.0.0.0`` and ``[::]`` stand for every host."""
        if self.is_socket or other.is_socket:
            return self.path == other.path
        hosts = {self.host, other.host}
        return self.port == other.port and (len(hosts) == 1 or bool(hosts & {"0.0.0.0", "::"}))  # noqa: S104


def _host(text: str) -> str:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if text == "localhost":
        return text
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        raise ValueError(f"{_FORMS}; the host is an IP address or localhost") from None
    if (address.version == 6) is not (bare != text):
        raise ValueError(f"{_FORMS}; an IPv6 address, and no other, stands in brackets")
    if "%" in bare:
        raise ValueError(f"{_FORMS}; without a zone")
    return str(address)


def _socket(path: str) -> str:
    if not path.startswith("/") or path.startswith("//") or os.path.normpath(path) != path or "\0" in path:
        raise ValueError(f"{_FORMS}; the path is absolute, without //, . or ..")
    if len(os.fsencode(path)) > _MAX_PATH:
        raise ValueError(f"write a shorter path: a Unix socket's has {_MAX_PATH} bytes at most")
    return path
