"""Doubles of where keys come from."""

from __future__ import annotations

from meshca.errors import Unavailable
from meshca.tokens.keyset import KeySet, parse
from tests.tokens.mint import Mint, jwks


class Published:
    """A key source in memory: what ``mints`` publish now."""

    def __init__(self, *mints: Mint) -> None:
        self.mints = mints
        self.away = False
        self.asked_for_newer = 0
        self._held: KeySet | None = None

    async def keys(self) -> KeySet:
        if self._held is None:
            self._held = self._read()
        return self._held

    async def newer(self) -> KeySet:
        self.asked_for_newer += 1
        self._held = self._read()
        return self._held

    def _read(self) -> KeySet:
        if self.away:
            raise Unavailable("the keys cannot be read")
        return parse(jwks(*self.mints))
