"""Every ledger that we have, under the one contract."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meshca.issuance.ledger import Entry
from meshca.store import LedgerWriter, Reports, Store, open_store
from meshca.testing.ledger import EPOCH, NOW, SKEW, LedgerContract, OpenStand, SharedKeys
from tests.fakes.ledger import MemoryLedger
from tests.store.database import found, in_order, move_epoch, refuse_rows


class _SqlStand:
    def __init__(self, store: Store, ledger: LedgerWriter, alarms: list[tuple[Entry, str]]) -> None:
        self.ledger = ledger
        self.alarms = alarms
        self._store = store
        self._refusing = contextlib.ExitStack()

    def recorded(self) -> list[Entry]:
        reader = open_store(str(self._store.engine.url))
        try:
            return in_order(reader)
        finally:
            reader.close()

    def move_epoch(self, epoch: int) -> None:
        move_epoch(self._store, epoch)

    def fail(self) -> None:
        self._refusing.enter_context(refuse_rows(self._store))

    def recover(self) -> None:
        self._refusing.close()

    async def close(self) -> None:
        await self.ledger.close()


class TestLedgerWriter(LedgerContract):
    @pytest.fixture
    def stand(self, tmp_path: Path) -> OpenStand:
        @contextlib.asynccontextmanager
        async def opened(shared_keys: SharedKeys) -> AsyncIterator[_SqlStand]:
            store = found(tmp_path / "meshca.db", epoch=EPOCH)
            alarms: list[tuple[Entry, str]] = []
            ledger = LedgerWriter(
                store,
                shared_keys=shared_keys,
                skew=SKEW,
                reports=Reports(shared_key=lambda entry, other: alarms.append((entry, other))),
                clock=lambda: NOW,
            )
            await ledger.start()
            try:
                yield _SqlStand(store, ledger, alarms)
            finally:
                await ledger.close()
                store.close()

        return opened


class _MemoryStand:
    def __init__(self, ledger: MemoryLedger) -> None:
        self.ledger = ledger
        self.alarms = ledger.alarms

    def recorded(self) -> list[Entry]:
        return list(self.ledger.entries)

    def move_epoch(self, epoch: int) -> None:
        self.ledger.epoch = epoch

    def fail(self) -> None:
        self.ledger.down = True

    def recover(self) -> None:
        self.ledger.down = False

    async def close(self) -> None:
        self.ledger.down = True


class TestMemoryLedger(LedgerContract):
    @pytest.fixture
    def stand(self) -> OpenStand:
        @contextlib.asynccontextmanager
        async def opened(shared_keys: SharedKeys) -> AsyncIterator[_MemoryStand]:
            yield _MemoryStand(MemoryLedger(epoch=EPOCH, shared_keys=shared_keys, skew=SKEW))

        return opened
