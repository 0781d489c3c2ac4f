"""A peer that takes connections and never says a word."""

from __future__ import annotations

import socket
from typing import Self


class Silence:
    """Listens on a port of loopback; the kernel takes the connections, and nobody reads them."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
