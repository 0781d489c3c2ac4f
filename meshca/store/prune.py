"""Deleting rows whose certificates ended long ago, so that what is left still proves itself.

Only the beginning of a writer's chain is cut off, never a row from its middle, and the last hash that
was cut off is stored in the same transaction: the walk starts there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update

from meshca.store.audit import Head, heads
from meshca.store.engine import Store
from meshca.store.schema import ledger, ledger_writers
from meshca.store.times import micros

BATCH = 200
"""Rows of one transaction. A commit of the ledger waits for it: 5 to 8 ms with 400 000 rows."""

PAUSE = timedelta(milliseconds=100)
"""Between two transactions, so that issuance gets its turn."""


def prune(
    store: Store,
    *,
    keep: timedelta,
    now: datetime,
    witness: Callable[[Head], None] = lambda head: None,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Delete rows that ended more than ``keep`` ago; returns how many.

    ``witness`` hears the head of a writer's chain before any of its rows go, for the audit log. A row
    that must be kept keeps all of its writer's later rows. Raises Unavailable; what was deleted
    until then is accounted for.
    """
    before = micros(now - keep)
    deleted = 0
    for head in heads(store):
        told = False
        while last := _prunable(store, head.writer, before):
            if not told:
                witness(head)
                told = True
            deleted += _cut(store, head.writer, last)
            sleep(PAUSE.total_seconds())
    return deleted


def _prunable(store: Store, writer: str, before: int) -> tuple[int, Head] | None:
    """Where the chain begins now, and the last row that may go, at most BATCH rows on; None when there is none."""
    with store.reading() as connection:
        begins: int = connection.execute(
            select(ledger_writers.c.pruned_through).where(ledger_writers.c.writer == writer)
        ).scalar_one()
        rows = connection.execute(
            select(ledger.c.counter, ledger.c.running_hash, ledger.c.not_after)
            .where(ledger.c.writer == writer, ledger.c.counter > begins)
            .order_by(ledger.c.counter)
            .limit(BATCH)
        )
        last = None
        for expected, row in enumerate(rows, begins + 1):
            # A gap is evidence, and stays for the walk to find.
            if row.counter != expected or row.not_after >= before:
                break
            last = Head(writer, row.counter, row.running_hash)
    return None if last is None else (begins, last)


def _cut(store: Store, writer: str, cut: tuple[int, Head]) -> int:
    begins, last = cut
    with store.writing() as connection:
        moved = connection.execute(
            update(ledger_writers)
            .where(ledger_writers.c.writer == writer, ledger_writers.c.pruned_through == begins)
            .values(pruned_through=last.counter, pruned_hash=last.hash)
        )
        if moved.rowcount != 1:
            return 0  # another process prunes, too
        gone = connection.execute(
            delete(ledger).where(ledger.c.writer == writer, ledger.c.counter > begins, ledger.c.counter <= last.counter)
        )
        return gone.rowcount
