"""Where a cluster's public keys come from, and how long what was read is believed.

The keys of a cluster change rarely, and a new one is published before it signs
(kubernetes/kubernetes:pkg/serviceaccount/jwt.go, ``GetCacheAgeMaxSeconds``). So they are held, read
again while nobody waits, and read at once when a token names a key that is not among them. A source
that fails leaves the last good keys in use, but not for ever: a key withdrawn after a theft must not
live on because its announcement could not be read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Final, Protocol

from meshca.errors import MeshcaError, Misconfigured, Unavailable
from meshca.tokens.keyset import MAX_JWKS, KeySet, parse

HOLD: Final = timedelta(hours=1)
"""How long the last good keys are used while their source cannot be read; at least three periods."""

PAUSE: Final = timedelta(seconds=10)
"""The least time between two tries at a source elsewhere, however many unknown keys tokens name (case 67)."""

FILE_PERIOD: Final = timedelta(seconds=1)
"""A file is looked at no more often than this, unless a token names an unknown key."""


class KeySource(Protocol):
    """Where a cluster's public keys come from."""

    async def keys(self) -> KeySet:
        """The present keys. Raises Unavailable when there are none, or none recent enough."""

    async def newer(self) -> KeySet:
        """The keys as of now, since a token names one that was not there.

        Reading is rate-limited, so the same keys may come back. Raises Unavailable when the source
        cannot be read: nobody can say then that the key does not exist.
        """


class HeldKeys:
    """Keys read from somewhere, held and refreshed as the module says.

    Refreshing is started by use and needs no task of its own: a process that proves nothing reads nothing.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[bytes]],
        *,
        source: str,
        period: timedelta,
        pause: timedelta = PAUSE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``read`` gives the JSON Web Key Set within a time-out of its own, or raises an error of ours or
        OSError; ``source`` is its name in messages."""
        self._read = read
        self._source = source
        self._period = period.total_seconds()
        self._pause = pause.total_seconds()
        self._hold = max(HOLD, 3 * period).total_seconds()
        self._monotonic = monotonic
        self._held: KeySet | None = None
        self._document = b""
        self._read_at = self._tried_at = float("-inf")
        self._failure = ""
        self._reading: asyncio.Task[None] | None = None

    @property
    def failure(self) -> str:
        """Why the last try failed; empty when it did not. For metrics and ``meshca check``."""
        return self._failure

    @property
    def age(self) -> timedelta | None:
        """How long ago the keys in use were read; None when there are none."""
        return None if self._held is None else timedelta(seconds=self._monotonic() - self._read_at)

    async def keys(self) -> KeySet:
        age = self._monotonic() - self._read_at
        if self._held is not None and age < self._period:
            return self._held
        if self._held is not None and age < 2 * self._period:
            self._start()  # nobody waits for it
            return self._held
        await self._try()
        if self._held is None or self._monotonic() - self._read_at >= self._hold:
            raise Unavailable(self._failure)
        return self._held

    async def newer(self) -> KeySet:
        await self._try()
        if self._failure or self._held is None:
            raise Unavailable(self._failure)
        return self._held

    async def _try(self) -> None:
        reading = self._start()
        if reading is not None:
            # Shielded: a caller that gives up must not take the keys from the others.
            await asyncio.shield(reading)

    def _start(self) -> asyncio.Task[None] | None:
        """The reading under way, or a new one unless the last try was a moment ago."""
        if self._reading is None and self._monotonic() - self._tried_at >= self._pause:
            self._tried_at = self._monotonic()
            self._reading = asyncio.create_task(self._load())
        return self._reading

    async def _load(self) -> None:
        try:
            document = await self._read()
            if self._held is None or document != self._document:
                self._held, self._document = parse(document), document
            self._read_at = self._monotonic()
            self._failure = ""
        except (MeshcaError, OSError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self._failure = f"the keys of service accounts' tokens cannot be read from {self._source}: {why}"
        finally:
            self._reading = None


def file_keys(path: Path, *, monotonic: Callable[[], float] = time.monotonic) -> HeldKeys:
    """The keys in a file with a JSON Web Key Set; one that changed is used within a second of use."""

    async def read() -> bytes:
        # A local file of a few hundred bytes: a thread would cost more than the read.
        with path.open("rb") as file:
            document = file.read(MAX_JWKS + 1)
        if not document:
            raise Misconfigured("the file is empty")
        return document

    return HeldKeys(read, source=str(path), period=FILE_PERIOD, pause=timedelta(), monotonic=monotonic)
