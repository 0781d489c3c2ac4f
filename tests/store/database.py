"""Databases for tests, and what a test does to them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select, update

from meshca.issuance.ledger import Entry
from meshca.store import LedgerWriter, Store, open_store
from meshca.store.encoding import body, certificate_row, values
from meshca.store.group import Place
from meshca.store.schema import authority_set, ledger
from tests.store.entries import NOW


def found(path: Path, *, epoch: int = 1) -> Store:
    """A new store with an authority set of this epoch, in which there is nothing else."""
    store = open_store(f"sqlite:///{path}", create=True)
    with store.writing() as connection:
        connection.execute(
            insert(authority_set).values(id=1, trust_domain="cluster.local", epoch=epoch, bundle_sequence=1, created=0)
        )
    return store


async def open_writer(store: Store, **options: Any) -> LedgerWriter:
    """A ledger writer that has started, with these options of :class:`LedgerWriter`."""
    writer = LedgerWriter(store, **{"clock": lambda: NOW, **options})
    await writer.start()
    return writer


def move_epoch(store: Store, epoch: int) -> None:
    with store.writing() as connection:
        connection.execute(update(authority_set).values(epoch=epoch))


def in_order(store: Store) -> list[Entry]:
    """What the ledger holds, by writer and counter."""
    with store.reading() as connection:
        rows = connection.execute(select(ledger).order_by(ledger.c.writer, ledger.c.counter)).mappings()
        return [certificate_row(row).entry for row in rows]


@contextlib.contextmanager
def refuse_rows(store: Store) -> Iterator[None]:
    """The database refuses every new row of the ledger, from whichever connection."""
    with store.writing() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER refused BEFORE INSERT ON ledger BEGIN SELECT RAISE(ABORT, 'refused by the test'); END"
        )
    yield
    with store.writing() as connection:
        connection.exec_driver_sql("DROP TRIGGER refused")


def plan_of(store: Store, read: Callable[[], object]) -> str:
    """How SQLite answers the queries on the ledger that this reading makes."""
    statements: list[str] = []
    with store.reading() as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_trace_callback(statements.append)  # the pool gives the same connection again
    read()
    driver.set_trace_callback(None)
    return explained(store, statements)


def explained(store: Store, statements: list[str]) -> str:
    queries = [statement for statement in statements if "FROM ledger" in statement]
    assert queries
    with store.reading() as connection:
        plans = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}") for query in queries]
        return "; ".join(step.detail for plan in plans for step in plan)


def place(entry: Entry, writer: str) -> Place:
    """An entry's place in a group of this writer."""
    row = values(entry)
    return Place(entry, row, body(writer, row))
