"""An in-memory double of the authority store; ``tests/contracts/test_authority_store.py`` holds it to the contract."""

from __future__ import annotations

import threading

from meshca.errors import Superseded, Unavailable
from meshca.rotation.authority_set import AuthoritySet


class MemoryAuthorityStore:
    """Keeps the set in an attribute. Tests set ``down``, and read ``written``: every set that was stored."""

    def __init__(self, present: AuthoritySet | None = None) -> None:
        self.down = False
        self.written: list[AuthoritySet] = [present] if present else []
        self._lock = threading.Lock()

    def read(self) -> AuthoritySet | None:
        self._answer()
        return self.written[-1] if self.written else None

    def create(self, first: AuthoritySet) -> AuthoritySet:
        self._answer()
        with self._lock:
            if not self.written:
                self.written.append(first)
            return self.written[-1]

    def replace(self, before: AuthoritySet, after: AuthoritySet) -> None:
        self._answer()
        with self._lock:
            if not self.written or self.written[-1].epoch != before.epoch:
                raise Superseded(f"the authority set is no longer at epoch {before.epoch}")
            self.written.append(after)

    def _answer(self) -> None:
        if self.down:
            raise Unavailable("the store is down")
