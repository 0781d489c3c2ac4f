"""As much of HTTP/1.1's framing as a proxy needs that passes bodies on as they are (RFC 9112)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

LARGEST_BODY = 16 * 1024 * 1024
_LARGEST_HEAD = 64 * 1024


class Unreadable(Exception):
    """What came is not HTTP/1.1, or larger than any test has a reason for."""


@dataclass(frozen=True)
class Head:
    """A start line and the header lines after it, kept as they were written."""

    start: str
    lines: tuple[str, ...]

    @property
    def words(self) -> tuple[str, str]:
        """The first two words of the start line: a request's method and target, or a version and a status."""
        words = self.start.split(" ")
        if len(words) < 2:
            raise Unreadable(f"start line {self.start!r}")
        return words[0], words[1]

    def get(self, name: str) -> str:
        """The first value of a header, empty when there is none."""
        for line in self.lines:
            key, _, value = line.partition(":")
            if key.strip().lower() == name.lower():
                return value.strip()
        return ""

    def without(self, *names: str) -> Head:
        """The same head less some headers."""
        left_out = {name.lower() for name in names}
        kept = (line for line in self.lines if line.partition(":")[0].strip().lower() not in left_out)
        return Head(self.start, tuple(kept))

    def having(self, lines: Sequence[str]) -> Head:
        """The same head with lines added."""
        return Head(self.start, (*self.lines, *lines))

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks, each with its length."""
        return self.get("Transfer-Encoding").lower().endswith("chunked")

    def last_of_connection(self) -> bytes:
        """As it goes on the wire, announcing that no other message follows on this connection."""
        head = self.without("Connection", "Keep-Alive").having(["Connection: close"])
        return "\r\n".join([head.start, *head.lines, "", ""]).encode("latin-1")


async def read_head(reader: asyncio.StreamReader) -> Head:
    """The next head, passing over interim answers (1xx). Raises IncompleteReadError when none comes."""
    while True:
        raw = await reader.readuntil(b"\r\n\r\n")
        if len(raw) > _LARGEST_HEAD:
            raise Unreadable(f"a head of {len(raw)} bytes")
        start, *lines = raw[:-4].decode("latin-1").split("\r\n")
        head = Head(start, tuple(lines))
        if not (start.startswith("HTTP/") and head.words[1].startswith("1")):
            return head


async def read_request_body(reader: asyncio.StreamReader, head: Head) -> bytes:
    """A request's body as it was framed: with its chunk lines when it is chunked."""
    if not head.chunked:
        return await reader.readexactly(_within(int(head.get("Content-Length") or 0)))
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        body += line
        if size == 0:
            break
        body += await reader.readexactly(_within(len(body) + size) - len(body) + 2)
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":  # trailers
        body += line
    return body + line


def _within(size: int) -> int:
    if size > LARGEST_BODY:
        raise Unreadable(f"a body of {size} bytes")
    return size
