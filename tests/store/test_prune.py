"""Pruning: which rows go, and that what is left still proves itself."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import text

from meshca.issuance.ledger import Entry
from meshca.store import ControlStore, Head, Store
from meshca.store.audit import heads, walk
from meshca.store.prune import BATCH, prune
from meshca.testing.ledger import NOW, an_entry
from tests.store.conftest import OpenWriter, Record
from tests.store.database import in_order
from tests.store.entries import a_leaf

KEEP = timedelta(days=90)
HOUR = timedelta(hours=1)


def _short(account: str = "short") -> Entry:
    return a_leaf(account, lifetime=HOUR)


def _prune(store: Store, at: timedelta, **options: object) -> int:
    return prune(store, keep=KEEP, now=NOW.replace(microsecond=0) + at, sleep=lambda _: None, **options)  # type: ignore[arg-type]


def _accounts(store: Store) -> list[str]:
    return [entry.service_account for entry in in_order(store)]


async def test_a_row_goes_when_its_certificate_ended_longer_ago_than_it_is_kept(store: Store, record: Record) -> None:
    await record([_short()])
    assert _prune(store, HOUR + KEEP) == 0, "exactly as long is not longer"
    assert _prune(store, HOUR + KEEP + timedelta(microseconds=1)) == 1
    assert _accounts(store) == []


async def test_only_the_beginning_of_a_chain_is_cut_off(store: Store, record: Record) -> None:
    await record([_short("a"), _short("b"), a_leaf("long", lifetime=9 * HOUR), _short("behind it")])
    assert _prune(store, 2 * HOUR + KEEP) == 2
    assert _accounts(store) == ["long", "behind it"]
    assert _prune(store, 10 * HOUR + KEEP) == 2


async def test_each_writers_chain_is_pruned_by_itself(store: Store, record: Record) -> None:
    await record([a_leaf("long", lifetime=9 * HOUR), _short()])
    await record([_short(), _short(), a_leaf("last", lifetime=9 * HOUR)])
    assert _prune(store, 2 * HOUR + KEEP) == 2
    assert sorted(_accounts(store)) == ["last", "long", "short"]


async def test_the_walk_is_clean_after_each_pruning_and_heads_stay(store: Store, record: Record) -> None:
    await record(_short() if number % 3 else a_leaf(lifetime=number * HOUR) for number in range(1, 40))
    before = heads(store)
    for hours in range(0, 45, 5):
        _prune(store, hours * HOUR + KEEP)
        assert [finding.fault for finding in walk(store, witnesses=before)] == [""]
    assert _accounts(store) == []
    assert heads(store) == before


async def test_a_writer_goes_on_after_all_its_rows_were_pruned(store: Store, open_ledger: OpenWriter) -> None:
    writer = await open_ledger()
    await writer.record(_short())
    assert _prune(store, 2 * HOUR + KEEP) == 1
    writer._groups.close()  # it has to open the database again, and to find its place
    await writer.record(a_leaf("next"))
    assert [(head.writer, head.counter) for head in heads(store)] == [(writer.writer, 2)]
    assert [finding.fault for finding in walk(store)] == [""]


async def test_a_gap_is_left_for_the_walk_to_find(store: Store, record: Record) -> None:
    await record(_short() for _ in range(5))
    with store.writing() as connection:
        connection.execute(text("DELETE FROM ledger WHERE counter = 3"))
    assert _prune(store, 2 * HOUR + KEEP) == 2
    assert [finding.fault for finding in walk(store)] == ["counters 3 to 3 are missing"]


async def test_many_rows_go_in_small_transactions_with_a_pause_after_each(store: Store, record: Record) -> None:
    await record(an_entry(epoch=1) for _ in range(2 * BATCH + 50))
    pauses: list[float] = []
    sizes: list[int] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        sizes.append(len(in_order(store)))

    deleted = prune(store, keep=KEEP, now=NOW + timedelta(days=100), sleep=sleep)
    assert deleted == 2 * BATCH + 50
    assert sizes == [BATCH + 50, 50, 0]
    assert min(pauses) > 0


async def test_a_head_is_told_before_its_rows_go_and_only_then(store: Store, record: Record) -> None:
    await record([_short(), a_leaf("long", lifetime=9 * HOUR)])
    await record([a_leaf("young", lifetime=9 * HOUR)])
    before = heads(store)
    told: list[tuple[Head, list[str]]] = []
    _prune(store, 2 * HOUR + KEEP, witness=lambda head: told.append((head, _accounts(store))))
    assert [head for head, _ in told] == [head for head in before if head.counter == 2]
    assert "short" in told[0][1]


async def test_a_pruning_that_dies_between_two_transactions_is_taken_up(store: Store, record: Record) -> None:
    await record(an_entry(epoch=1) for _ in range(BATCH + 5))

    def die(seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prune(store, keep=KEEP, now=NOW + timedelta(days=100), sleep=die)
    assert len(in_order(store)) == 5
    assert prune(store, keep=KEEP, now=NOW + timedelta(days=100), sleep=lambda _: None) == 5


async def test_two_who_prune_at_once_delete_every_row_once(store: Store, record: Record) -> None:
    await record(an_entry(epoch=1) for _ in range(3 * BATCH))
    deleted: list[int] = []
    control = ControlStore(str(store.engine.url))

    def run() -> None:
        deleted.append(control.prune(keep=KEEP, now=NOW + timedelta(days=100)))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    control.close()
    assert sum(deleted) == 3 * BATCH
    assert [finding.fault for finding in walk(store)] == [""]


async def test_one_who_comes_late_deletes_nothing_that_is_not_accounted_for(store: Store, record: Record) -> None:
    await record([_short(), _short(), a_leaf(lifetime=3 * HOUR), a_leaf(lifetime=3 * HOUR)])

    def another_was_here(head: Head) -> None:
        _prune(store, 2 * HOUR + KEEP)

    before = heads(store)
    assert _prune(store, 4 * HOUR + KEEP, witness=another_was_here) == 2
    assert [finding.fault for finding in walk(store, witnesses=before)] == [""]
    assert in_order(store) == []


def test_an_empty_ledger_has_nothing_to_prune(store: Store) -> None:
    assert _prune(store, 1000 * KEEP) == 0
