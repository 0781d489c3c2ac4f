"""Public keys that nobody may use: known-compromised ones (``ca-practice.md`` §6 cases 10 and 11).

The list is a file of the operator's. None is shipped: Debian's weak keys of CVE-2008-0166 and
other collections are published by others and change without us. ``docs/blocked-keys.md`` has the
format and the commands that make its lines.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from meshca.errors import Misconfigured, shown

MAX_FILE = 64 * 1024 * 1024
"""Bytes of a block-list: about a million keys. All of Debian's take about 20 MB."""

_HASH = 32
_LINE = re.compile(rb"(?P<hash>[0-9a-f]{64})?[ \t]*(?:#.*)?\r?")


@dataclass(frozen=True, slots=True, repr=False)
class BlockedKeys:
    """A set of SHA-256 hashes of DER SubjectPublicKeyInfos."""

    _sorted: bytes = b""
    """The hashes one after another, in order: a third of the memory of a set, and 3 µs for a look-up
    among a million."""

    def __len__(self) -> int:
        return len(self._sorted) // _HASH

    def __contains__(self, spki_sha256: object) -> bool:
        if not self._sorted or not isinstance(spki_sha256, bytes):
            return False
        place = bisect_left(range(len(self)), spki_sha256, key=self._at)
        return self._at(place) == spki_sha256

    def _at(self, place: int) -> bytes:
        return self._sorted[place * _HASH : (place + 1) * _HASH]

    @classmethod
    def of(cls, hashes: Iterable[bytes]) -> Self:
        """Raises ValueError for what is not 32 bytes long."""
        unique = sorted(set(hashes))
        if any(len(spki_sha256) != _HASH for spki_sha256 in unique):
            raise ValueError("a SHA-256 hash has 32 bytes")
        return cls(b"".join(unique))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the operator's file.

        Raises Misconfigured, with the number of the line, for anything but hashes and comments: a
        list that is half understood would let a compromised key pass.
        """
        try:
            with path.open("rb") as file:
                text = file.read(MAX_FILE + 1)
        except OSError as error:
            raise Misconfigured(f"the list of blocked keys {path} cannot be read: {error.strerror}") from None
        if len(text) > MAX_FILE:
            raise Misconfigured(f"the list of blocked keys {path} has more than {MAX_FILE} bytes")
        hashes = []
        for number, line in enumerate(text.split(b"\n"), start=1):
            match = _LINE.fullmatch(line)
            if match is None:
                raise Misconfigured(
                    f"the list of blocked keys {path} has {shown(line)} in line {number}: write one SHA-256 "
                    "of a DER SubjectPublicKeyInfo, 64 lower-case hexadecimal digits, or a comment after #"
                )
            if match["hash"]:
                hashes.append(bytes.fromhex(match["hash"].decode()))
        return cls.of(hashes)
