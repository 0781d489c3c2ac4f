"""Databases that fail: the caller is told, nothing is recorded, and the chain goes on without a gap."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from meshca.errors import Unavailable
from meshca.issuance.ledger import Entry
from meshca.store import LedgerWriter, Store, engine, open_store
from meshca.store.audit import heads, walk
from tests.store.database import in_order, open_writer
from tests.store.entries import a_leaf

Fault = Callable[[Store], AbstractContextManager[None]]


def _path(store: Store) -> str:
    return str(store.engine.url.database)


@contextlib.contextmanager
def _on_every_new_connection(store: Store, pragma: str) -> Iterator[None]:
    def say(connection: sqlite3.Connection, _: Any) -> None:
        connection.execute(pragma)

    store.engine.dispose()
    event.listen(store.engine, "connect", say)
    try:
        yield
    finally:
        event.remove(store.engine, "connect", say)
        store.engine.dispose()


def _read_only(store: Store) -> AbstractContextManager[None]:
    return _on_every_new_connection(store, "PRAGMA query_only = ON")


def _disk_full(store: Store) -> AbstractContextManager[None]:
    return _on_every_new_connection(store, "PRAGMA max_page_count = 1")


@contextlib.contextmanager
def _write_error(store: Store) -> Iterator[None]:
    """The kernel refuses to let any file of this process grow: SQLite sees an I/O error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (os.stat(f"{_path(store)}-wal").st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def _held(store: Store) -> Iterator[None]:
    """Another process writes, and does not end."""
    with contextlib.closing(sqlite3.connect(_path(store), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@contextlib.contextmanager
def _no_table(store: Store) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(_path(store), isolation_level=None)) as other:
        other.execute("ALTER TABLE ledger RENAME TO elsewhere")
        yield
        other.execute("ALTER TABLE elsewhere RENAME TO ledger")


FAULTS = {
    "readonly database": _read_only,
    "disk is full": _disk_full,
    "disk I/O error": _write_error,
    "database is locked": _held,
    "no such table": _no_table,
}


@pytest.fixture
def impatient(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The same store, opened by a process that does not wait long for others."""
    monkeypatch.setattr(engine, "BUSY", 0.1)
    opened = open_store(str(store.engine.url))
    yield opened
    opened.close()


@contextlib.asynccontextmanager
async def _writer(store: Store) -> Any:
    writer = await open_writer(store)
    try:
        yield writer
    finally:
        await writer.close()


async def _record_all(writer: LedgerWriter, entries: list[Entry]) -> list[BaseException | None]:
    return await asyncio.gather(*map(writer.record, entries), return_exceptions=True)


def _reconnect(writer: LedgerWriter, store: Store) -> None:
    """Have the writer open a new connection, as after a failure, so that it meets the fault."""
    writer._groups.close()
    store.engine.dispose()


@pytest.mark.parametrize("said", FAULTS)
async def test_whatever_fails_nothing_is_recorded_and_the_chain_goes_on(
    store: Store, impatient: Store, said: str
) -> None:
    before, during, after = (
        [a_leaf(f"{when}-{number}") for number in range(3)] for when in ("before", "during", "after")
    )
    async with _writer(impatient) as writer:
        await _record_all(writer, before)
        with FAULTS[said](impatient):
            if said in {"readonly database", "disk is full"}:
                _reconnect(writer, impatient)
            results = await _record_all(writer, during)
            assert [type(result) for result in results] == [Unavailable] * 3
            assert said in str(results[0])
        assert await _record_all(writer, after) == [None] * 3
    recorded = [entry.serial for entry in in_order(store)]
    assert recorded == [entry.serial for entry in (*before, *after)]
    assert [head.counter for head in heads(store)] == [6]
    assert [finding.fault for finding in walk(store)] == [""]


async def test_after_an_io_error_the_log_is_brought_into_the_database(store: Store, impatient: Store) -> None:
    async with _writer(impatient) as writer:
        await _record_all(writer, [a_leaf("before")])
        with _write_error(impatient):
            await _record_all(writer, [a_leaf("during")])
        grown = os.stat(f"{_path(store)}-wal").st_size
        await _record_all(writer, [a_leaf("after")])
        assert os.stat(f"{_path(store)}-wal").st_size < grown, "the log began anew"
    assert [entry.service_account for entry in in_order(store)] == ["before", "after"]


async def test_while_a_reader_keeps_the_log_it_is_not_settled_and_nothing_is_recorded(
    store: Store, impatient: Store
) -> None:
    async with _writer(impatient) as writer:
        await _record_all(writer, [a_leaf("before")])
        with store.reading() as reader:
            reader.exec_driver_sql("SELECT count(*) FROM ledger").scalar()
            with _write_error(impatient):
                await _record_all(writer, [a_leaf("during")])
            (failure,) = await _record_all(writer, [a_leaf("too early")])
            assert isinstance(failure, Unavailable)
        assert await _record_all(writer, [a_leaf("after")]) == [None]
    assert [entry.service_account for entry in in_order(store)] == ["before", "after"]


async def test_a_commit_whose_answer_was_lost_is_counted_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit came through and the connection broke with it: the row is there, its caller was told otherwise."""
    async with _writer(store) as writer:
        await _record_all(writer, [a_leaf("before")])
        groups = writer._groups
        real = groups._transact

        def lost(cursor: Any, group: Any) -> None:
            counter, head = groups._counter, groups._hash
            real(cursor, group)
            groups._counter, groups._hash = counter, head
            raise sqlite3.OperationalError("disk I/O error")

        monkeypatch.setattr(groups, "_transact", lost)
        (failure,) = await _record_all(writer, [a_leaf("lost")])
        assert isinstance(failure, Unavailable)
        monkeypatch.setattr(groups, "_transact", real)
        assert await _record_all(writer, [a_leaf("after")]) == [None]
    assert [entry.service_account for entry in in_order(store)] == ["before", "lost", "after"]
    assert [finding.fault for finding in walk(store)] == [""]


async def test_failed_groups_leave_no_lock_and_no_open_files(store: Store, tmp_path: Path) -> None:
    opened = []
    async with _writer(store) as writer:
        for _ in range(12):
            with _no_table(store):
                (failure,) = await _record_all(writer, [a_leaf("during")])
            assert isinstance(failure, Unavailable)
            with store.writing() as connection:  # its traceback is still held here, its lock is not
                connection.exec_driver_sql("UPDATE authority_set SET epoch = epoch")
            opened.append(_open_files(tmp_path))
    assert opened[-1] <= opened[2], "SQLite keeps a few for the next connection, and no more"


def _open_files(folder: Path) -> int:
    return sum(os.path.realpath(link).startswith(str(folder)) for link in Path("/proc/self/fd").iterdir())
