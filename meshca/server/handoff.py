"""What the control process and a worker tell each other, over a socket that the worker inherits.

One JSON object a line. Keys travel here and nowhere else: not in an argument, not in the
environment, not in a file. The worker's end of life is in it too: when the control process is
gone, however it went, the socket closes and the worker ends at once.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from typing import Any, Self

LIMIT = 4 * 1024 * 1024
"""Bytes of one message."""


class Line:
    """One end of the socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> Self:
        return cls(*await asyncio.open_connection(sock=end, limit=LIMIT))

    def say(self, kind: str, **fields: Any) -> None:
        """Queue a message; a peer that is gone is noticed by :meth:`hear`."""
        self._writer.write(json.dumps({"kind": kind, **fields}).encode() + b"\n")

    async def hear(self) -> dict[str, Any] | None:
        """The next message, or None when the other end is gone."""
        try:
            line = await self._reader.readline()
        except (ConnectionError, ValueError):
            return None
        if not line.endswith(b"\n"):
            return None
        message: dict[str, Any] = json.loads(line)
        return message

    async def drain(self) -> None:
        """Wait until what was said has been sent."""
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()


def pack(secret: bytes) -> str:
    """Bytes as they travel in a message."""
    return base64.b64encode(secret).decode()


def unpack(text: str) -> bytes:
    return base64.b64decode(text)
