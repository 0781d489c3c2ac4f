"""A store for each test, and a ledger writer on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from meshca.issuance.ledger import Entry
from meshca.store import LedgerWriter, Store
from tests.store.database import found, open_writer

Record = Callable[[Iterable[Entry]], Awaitable[LedgerWriter]]
OpenWriter = Callable[..., Awaitable[LedgerWriter]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = found(tmp_path / "meshca.db")
    yield store
    store.close()


@pytest.fixture
async def open_ledger(store: Store) -> AsyncIterator[OpenWriter]:
    """Opens ledger writers with these options; they are closed after the test."""
    writers: list[LedgerWriter] = []

    async def opened(**options: Any) -> LedgerWriter:
        writers.append(await open_writer(store, **options))
        return writers[-1]

    yield opened
    for writer in writers:
        await writer.close()


@pytest.fixture
def record(open_ledger: OpenWriter) -> Record:
    """Records entries one after the other with a writer of their own, which is closed then."""

    async def recorded(entries: Iterable[Entry]) -> LedgerWriter:
        writer = await open_ledger()
        for entry in entries:
            await writer.record(entry)
        await writer.close()
        return writer

    return recorded
