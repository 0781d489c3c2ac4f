"""The walk: what was changed, what is missing, what was put in; and what it must not be alarmed by."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import islice

import pytest
from sqlalchemy import Connection, text

from meshca.store import Head, Store
from meshca.store.audit import Finding, heads, walk
from meshca.store.encoding import GENESIS, body, running_hash, values
from meshca.store.group import Groups
from meshca.store.prune import prune
from meshca.testing.ledger import NOW, an_entry
from tests.store.conftest import Record
from tests.store.database import place
from tests.store.entries import a_leaf


def _tamper(store: Store, *statements: str) -> None:
    """As somebody does who has the file and SQLite's shell."""
    with store.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        for statement in statements:
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        connection.exec_driver_sql("BEGIN")


def _faults(store: Store, **options: list[Head]) -> list[str]:
    return [finding.fault for finding in walk(store, **options)]


async def test_an_untouched_ledger_has_one_finding_without_fault_for_each_writer(store: Store, record: Record) -> None:
    writers = [await record(a_leaf() for _ in range(rows)) for rows in (3, 0, 2)]
    found = {finding.writer: finding for finding in walk(store)}
    assert [found[writer.writer] for writer in writers] == [
        Finding(writer.writer, rows, "") for writer, rows in zip(writers, (3, 0, 2), strict=True)
    ]


def test_an_empty_ledger_has_no_findings(store: Store) -> None:
    assert list(walk(store)) == []


_CHANGES = {
    "serial": "'0000000000000000000000000000abcd'",
    "identity": "'spiffe://cluster.local/ns/shop/sa/admin'",
    "not_before": "not_before + 1000000",
    "not_after": "not_after + 1000000",
    "issued": "issued + 1",
    "der": "(SELECT der FROM ledger WHERE counter = 4)",
    "spki_sha256": "zeroblob(32)",
    "epoch": "epoch + 1",
    "bundle_sequence": "bundle_sequence + 1",
    "counter": "99",
    "running_hash": "zeroblob(32)",
}


@pytest.mark.parametrize(
    "column",
    [
        *("serial", "identity", "cluster", "namespace", "service_account", "pod", "pod_uid", "node", "peer", "service"),
        *("proof", "credential", "request_id", "spki_sha256", "not_before", "not_after", "issued", "der", "issuer_id"),
        *("epoch", "bundle_sequence", "counter", "running_hash"),
    ],
)
async def test_a_column_that_was_changed_is_found(store: Store, record: Record, column: str) -> None:
    await record(a_leaf() for _ in range(5))
    changed = _CHANGES.get(column, "'changed'")
    _tamper(store, f"UPDATE ledger SET {column} = {changed} WHERE counter = 3")
    faults = _faults(store)
    assert faults
    assert all("counter" in fault for fault in faults)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("der = (SELECT der FROM ledger WHERE counter = 4)", "another serial"),
        ("der = (SELECT der FROM ledger WHERE counter = 4)", "another spki_sha256"),
        ("not_after = not_after + 1000000", "another not_after"),
        ("not_before = not_before - 1000000", "another not_before"),
        ("der = x'3000'", "cannot be read"),
    ],
)
async def test_a_row_that_was_changed_with_all_hashes_after_it_still_contradicts_its_certificate(
    store: Store, record: Record, change: str, said: str
) -> None:
    await record(a_leaf() for _ in range(5))
    _tamper(store, f"UPDATE ledger SET {change} WHERE counter = 3")
    _hash_again(store)
    faults = _faults(store)
    assert any(said in fault for fault in faults)
    assert not any("does not follow" in fault for fault in faults)


def _hash_again(store: Store) -> None:
    """What a forger does who has read our code."""
    with store.writing() as connection:
        previous = GENESIS
        for row in connection.execute(text("SELECT * FROM ledger ORDER BY writer, counter")).all():
            previous = running_hash(previous, row.counter, body(row.writer, tuple(row)))
            connection.execute(
                text("UPDATE ledger SET running_hash = :hash WHERE serial = :serial"),
                {"hash": previous, "serial": row.serial},
            )


async def test_a_forger_who_hashes_again_is_given_away_by_a_head_that_was_seen(store: Store, record: Record) -> None:
    await record(a_leaf() for _ in range(5))
    (seen,) = heads(store)
    _tamper(store, "UPDATE ledger SET pod = 'innocent' WHERE counter = 3")
    _hash_again(store)
    assert _faults(store) == [""], "alone, the walk cannot know"
    (fault,) = _faults(store, witnesses=[seen])
    assert "counter 5 has another hash than the one that was seen" in fault


@pytest.mark.parametrize(
    ("cut", "fault"),
    [
        ("counter = 3", "counters 3 to 3 are missing"),
        ("counter BETWEEN 2 AND 4", "counters 2 to 4 are missing"),
        ("counter = 1", "counters 1 to 1 are missing"),
    ],
)
async def test_rows_that_were_deleted_are_found_and_told_once(
    store: Store, record: Record, cut: str, fault: str
) -> None:
    await record(a_leaf() for _ in range(6))
    _tamper(store, f"DELETE FROM ledger WHERE {cut}")
    assert _faults(store) == [fault]


async def test_an_end_that_was_cut_off_is_given_away_by_a_head_that_was_seen(store: Store, record: Record) -> None:
    await record(a_leaf() for _ in range(5))
    (seen,) = heads(store)
    _tamper(store, "DELETE FROM ledger WHERE counter > 3")
    assert _faults(store) == [""], "alone, the walk cannot know"
    (fault,) = _faults(store, witnesses=[seen])
    assert "counter 5 was seen as the chain's head and is not there" in fault


async def test_a_beginning_that_was_changed_is_given_away_by_a_head_that_was_seen(store: Store, record: Record) -> None:
    await record(a_leaf(lifetime=timedelta(hours=1)) for _ in range(3))
    (seen,) = heads(store)
    prune(store, keep=timedelta(0), now=NOW + timedelta(hours=2), sleep=lambda _: None)
    assert _faults(store, witnesses=[seen]) == [""]
    _tamper(store, "UPDATE ledger_writers SET pruned_hash = zeroblob(32)")
    (fault,) = _faults(store, witnesses=[seen])
    assert "counter 3 has another hash than the one that was seen" in fault


async def test_a_writer_that_is_gone_is_given_away_by_a_head_that_was_seen(store: Store, record: Record) -> None:
    writer = await record(a_leaf() for _ in range(5))
    seen = heads(store)
    _tamper(store, "DELETE FROM ledger", "DELETE FROM ledger_writers")
    assert list(walk(store, witnesses=seen)) == [
        Finding(writer.writer, 0, "the writer is gone; it had recorded 5 rows")
    ]


async def test_rows_of_a_writer_that_never_started_are_found(store: Store, record: Record) -> None:
    await record([a_leaf(), a_leaf()])
    _tamper(store, "UPDATE ledger SET writer = 'ffffffffffffffff' WHERE counter = 2")
    assert Finding("ffffffffffffffff", 0, "there are rows of a writer that never started") in list(walk(store))


async def test_rows_that_were_put_before_the_beginning_are_found(store: Store, record: Record) -> None:
    await record(a_leaf(lifetime=timedelta(hours=1)) for _ in range(3))
    prune(store, keep=timedelta(0), now=NOW + timedelta(hours=2), sleep=lambda _: None)
    writer = heads(store)[0].writer
    row = values(a_leaf())
    with store.engine.begin() as connection:
        marks = ", ".join("?" * (len(row) + 3))
        connection.exec_driver_sql(f"INSERT INTO ledger VALUES ({marks})", (*row, writer, 2, bytes(32)))
    assert _faults(store) == ["1 rows stand before counter 4, where the chain begins"]


async def test_two_rows_that_changed_places_are_found(store: Store, record: Record) -> None:
    await record(a_leaf() for _ in range(4))
    _tamper(
        store,
        "UPDATE ledger SET counter = -1 WHERE counter = 2",
        "UPDATE ledger SET counter = 2 WHERE counter = 3",
        "UPDATE ledger SET counter = 3 WHERE counter = -1",
    )
    assert len(_faults(store)) >= 2


async def test_every_fault_is_told_and_the_walk_goes_on(store: Store, record: Record) -> None:
    await record(a_leaf() for _ in range(1005))
    _tamper(store, "UPDATE ledger SET pod = 'x' WHERE counter IN (10, 700)", "DELETE FROM ledger WHERE counter = 1000")
    faults = [(finding.rows, finding.fault.partition(" (")[0]) for finding in walk(store)]
    assert faults == [(10, "counter 10"), (700, "counter 700"), (1000, "counters 1000 to 1000 are missing")]


async def test_an_encoding_of_a_later_version_is_said_and_not_judged(store: Store, record: Record) -> None:
    await record([a_leaf()])
    _tamper(store, "UPDATE ledger_writers SET encoding = 2")
    assert _faults(store) == ["its rows have encoding 2, which this version does not know"]


async def test_a_certificate_that_is_none_is_a_fault(store: Store, record: Record) -> None:
    await record([an_entry(epoch=1)])
    (fault,) = _faults(store)
    assert "its certificate cannot be read" in fault


class _Interrupted(Store):
    """A store in which something happens before each reading."""

    def __init__(self, store: Store, happens: Callable[[], object]) -> None:
        super().__init__(store.engine)
        self._happens = happens

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        self._happens()
        with super().reading() as connection:
            yield connection


def test_a_walk_while_rows_are_recorded_and_pruned_raises_no_false_alarm(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshca.store.audit._BATCH", 20)
    monkeypatch.setattr("meshca.store.prune.BATCH", 30)
    groups = Groups(store, "0123456789abcdef", shared_keys="alarm", clock=lambda: NOW)
    places = iter([place(a_leaf(lifetime=timedelta(hours=1)), "0123456789abcdef") for _ in range(400)])
    groups.commit(list(islice(places, 100)))

    def happens() -> None:
        groups.commit(list(islice(places, 5)))
        prune(store, keep=timedelta(0), now=NOW + timedelta(hours=2), sleep=_Enough.after_one)

    findings = list(walk(_Interrupted(store, lambda: _until_enough(happens))))
    groups.close()
    assert [finding.fault for finding in findings] == [""]
    assert 0 < findings[0].rows < 400, "some were pruned before the walk came to them"


class _Enough(Exception):
    """Ends a pruning after its first transaction."""

    @staticmethod
    def after_one(seconds: float) -> None:
        raise _Enough


def _until_enough(happens: Callable[[], object]) -> None:
    with contextlib.suppress(_Enough):
        happens()


async def test_heads_are_the_last_rows_or_what_pruning_left(store: Store, record: Record) -> None:
    first = await record(a_leaf(lifetime=timedelta(hours=1)) for _ in range(3))
    second = await record(a_leaf() for _ in range(2))
    third = await record([])
    before = {head.writer: head for head in heads(store)}
    prune(store, keep=timedelta(0), now=NOW + timedelta(hours=2), sleep=lambda _: None)
    assert {head.writer: head for head in heads(store)} == before
    assert [before[each.writer].counter for each in (first, second, third)] == [3, 2, 0]
    assert before[third.writer].hash == GENESIS


async def test_a_head_is_the_hash_of_the_whole_chain(store: Store, record: Record) -> None:
    entries = [a_leaf() for _ in range(3)]
    writer = await record(entries)
    expected = GENESIS
    for counter, entry in enumerate(entries, 1):
        covered = counter.to_bytes(8, "big") + body(writer.writer, values(entry))
        expected = hashlib.sha256(expected + covered).digest()
    assert heads(store) == [Head(writer.writer, 3, expected)]
