"""The ledger's writer: who shares a commit, who waits how long, and what is never released."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from time import perf_counter
from typing import Any

import pytest

from meshca.errors import Superseded, Unavailable
from meshca.issuance.ledger import Entry
from meshca.store import LedgerWriter, Pace, Reports, Store, engine, open_store
from meshca.store.audit import heads, walk
from meshca.testing.ledger import NOW, SKEW, an_entry
from tests.store.conftest import OpenWriter
from tests.store.database import in_order, move_epoch, refuse_rows

PATIENT = Pace(patience=timedelta(seconds=2), longest=timedelta(seconds=4))
"""So patient that a test sees whether somebody waits, on a busy machine, too."""


class Heard:
    """What a writer reported."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.seconds: list[float] = []
        self.failures: list[Unavailable] = []
        self.alarms: list[tuple[Entry, str]] = []

    @property
    def reports(self) -> Reports:
        return Reports(
            committed=self._committed,
            failed=self.failures.append,
            shared_key=lambda entry, other: self.alarms.append((entry, other)),
        )

    def _committed(self, rows: int, seconds: float) -> None:
        self.sizes.append(rows)
        self.seconds.append(seconds)


@contextlib.asynccontextmanager
async def _busy(store: Store) -> AsyncIterator[None]:
    """Another process holds the right to write."""
    with store.writing():
        yield


def _entry(name: str, **changes: Any) -> Entry:
    return replace(an_entry(name, epoch=1), **changes)


def _accounts(store: Store) -> list[str]:
    return [entry.service_account for entry in in_order(store)]


async def _together(writer: LedgerWriter, *entries: Entry) -> list[BaseException | None]:
    return await asyncio.gather(*map(writer.record, entries), return_exceptions=True)


# --- groups ----------------------------------------------------------------------------------


async def test_all_that_are_ready_in_one_turn_of_the_loop_share_a_commit(open_ledger: OpenWriter) -> None:
    heard = Heard()
    writer = await open_ledger(reports=heard.reports)
    await _together(writer, *(_entry(f"sa-{number}") for number in range(20)))
    assert heard.sizes == [20]


async def test_what_comes_during_a_commit_is_the_next_group(store: Store, open_ledger: OpenWriter) -> None:
    heard = Heard()
    writer = await open_ledger(reports=heard.reports)
    async with _busy(store):
        first = asyncio.create_task(writer.record(_entry("first")))
        await asyncio.sleep(0.05)
        rest = [asyncio.create_task(writer.record(_entry(f"sa-{number}"))) for number in range(5)]
        await asyncio.sleep(0.05)
    await asyncio.gather(first, *rest)
    assert heard.sizes == [1, 5]


async def test_a_lone_caller_waits_for_nobody(open_ledger: OpenWriter) -> None:
    heard = Heard()
    writer = await open_ledger(pace=PATIENT, reports=heard.reports)
    began = perf_counter()
    for number in range(3):
        await writer.record(_entry(f"sa-{number}"))
    assert perf_counter() - began < 2, "no group was held for the patience"
    assert heard.sizes == [1, 1, 1]


async def test_after_a_group_of_some_the_next_is_held_until_as_many_have_come(open_ledger: OpenWriter) -> None:
    heard = Heard()
    writer = await open_ledger(pace=PATIENT, reports=heard.reports)
    await _together(writer, *(_entry(f"one-{number}") for number in range(4)))

    async def late(number: int) -> None:
        await asyncio.sleep(0.02 * number)
        await writer.record(_entry(f"two-{number}"))

    began = perf_counter()
    await asyncio.gather(*map(late, range(4)))
    assert heard.sizes == [4, 4]
    assert perf_counter() - began < 2, "the fourth closed the group"


async def test_a_group_is_closed_when_nobody_comes_any_more(open_ledger: OpenWriter) -> None:
    heard = Heard()
    writer = await open_ledger(pace=replace(PATIENT, patience=timedelta(seconds=1)), reports=heard.reports)
    await _together(writer, *(_entry(f"one-{number}") for number in range(4)))
    await asyncio.wait_for(writer.record(_entry("left alone")), 3)
    began = perf_counter()
    await writer.record(_entry("again"))
    assert heard.sizes == [4, 1, 1]
    assert perf_counter() - began < 1, "once alone, it waits no more"


async def test_a_group_is_closed_when_its_first_has_waited_long_however_many_come(open_ledger: OpenWriter) -> None:
    heard = Heard()
    pace = Pace(patience=timedelta(seconds=1), longest=timedelta(milliseconds=200))
    writer = await open_ledger(pace=pace, reports=heard.reports)
    await _together(writer, *(_entry(f"one-{number}") for number in range(30)))

    async def late(number: int) -> None:
        await asyncio.sleep(0.05 * number)
        await writer.record(_entry(f"two-{number}"))

    await asyncio.gather(*map(late, range(20)))
    assert heard.sizes[0] == 30
    assert len(heard.sizes) >= 3, "20 callers in one second, and nobody waited for the 30th"


async def test_a_storm_is_cut_into_transactions_of_bounded_size(store: Store, open_ledger: OpenWriter) -> None:
    heard = Heard()
    writer = await open_ledger(pace=Pace(largest=10), reports=heard.reports)
    await _together(writer, *(_entry(f"sa-{number}") for number in range(35)))
    assert heard.sizes == [10, 10, 10, 5]
    assert len(_accounts(store)) == 35


async def test_the_loop_is_woken_once_for_each_group(open_ledger: OpenWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = await open_ledger(pace=Pace(largest=10))
    loop, woken = asyncio.get_running_loop(), 0
    real = loop.call_soon_threadsafe

    def counted(*args: Any, **options: Any) -> asyncio.Handle:
        nonlocal woken
        woken += 1
        return real(*args, **options)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    await _together(writer, *(_entry(f"sa-{number}") for number in range(35)))
    assert woken == 4


async def test_a_commit_reports_its_rows_and_its_seconds(store: Store, open_ledger: OpenWriter) -> None:
    heard = Heard()
    writer = await open_ledger(reports=heard.reports)
    async with _busy(store):
        recording = asyncio.create_task(_together(writer, _entry("a"), _entry("b"), _entry("old", epoch=9)))
        await asyncio.sleep(0.1)
    await recording
    assert heard.sizes == [2], "what was superseded is no row"
    assert 0.05 < heard.seconds[0] < 5


async def test_a_group_of_which_nothing_is_recorded_reports_no_commit(open_ledger: OpenWriter) -> None:
    heard = Heard()
    writer = await open_ledger(reports=heard.reports)
    assert [type(each) for each in await _together(writer, _entry("old", epoch=9))] == [Superseded]
    assert (heard.sizes, heard.failures) == ([], [])


# --- counters and hashes ---------------------------------------------------------------------


async def test_counters_have_no_gap_although_some_are_refused(store: Store, open_ledger: OpenWriter) -> None:
    writer = await open_ledger(shared_keys="refuse")
    key = _entry("owner").spki_sha256
    await writer.record(_entry("owner", spki_sha256=key))
    await _together(writer, _entry("a"), _entry("thief", spki_sha256=key), _entry("old", epoch=9), _entry("b"))
    assert [(head.writer, head.counter) for head in heads(store)] == [(writer.writer, 3)]


async def test_each_start_is_a_new_writer_with_a_chain_of_its_own(store: Store, open_ledger: OpenWriter) -> None:
    for number in range(3):
        writer = await open_ledger()
        await writer.record(_entry(f"sa-{number}"))
        await writer.close()
    ends = heads(store)
    assert [head.counter for head in ends] == [1, 1, 1]
    assert len({head.writer for head in ends}) == 3


async def test_two_writers_at_once_do_not_disturb_each_other(store: Store, open_ledger: OpenWriter) -> None:
    writers = [await open_ledger(), await open_ledger()]

    async def issue(writer: LedgerWriter) -> None:
        for number in range(30):
            await writer.record(_entry(f"sa-{number}"))

    await asyncio.gather(*map(issue, writers))
    assert [head.counter for head in heads(store)] == [30, 30]


# --- what cannot be recorded -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("text that is not Unicode", {"pod": "a\ud800b"}),
        ("a moment without a zone", {"issued": NOW.replace(tzinfo=None)}),
        ("a number of more than 64 bits", {"epoch": 1 << 70}),
        ("a serial of more than 16 bytes", {"serial": 1 << 130}),
    ],
)
async def test_an_entry_that_no_row_can_hold_fails_alone(
    store: Store, open_ledger: OpenWriter, name: str, changes: dict[str, Any]
) -> None:
    writer = await open_ledger()
    results = await _together(writer, _entry("a"), _entry("odd", **changes), _entry("b"))
    assert [result is None for result in results] == [True, False, True], name
    assert _accounts(store) == ["a", "b"]


async def test_a_failed_group_is_reported_once_and_each_caller_has_an_error_of_its_own(
    store: Store, open_ledger: OpenWriter
) -> None:
    heard = Heard()
    writer = await open_ledger(reports=heard.reports)
    with refuse_rows(store):
        results = await _together(writer, *(_entry(f"sa-{number}") for number in range(3)))
    assert [type(result) for result in results] == [Unavailable] * 3
    assert len({id(result) for result in results}) == 3, "one error raised in three tasks would mix their tracebacks"
    assert len(heard.failures) == 1
    assert "refused by the test" in str(heard.failures[0])
    assert heard.sizes == []


async def test_a_report_that_raises_keeps_nobody_waiting(store: Store, open_ledger: OpenWriter) -> None:
    def broken(rows: int, seconds: float) -> None:
        raise ZeroDivisionError

    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context["exception"]))
    writer = await open_ledger(reports=Reports(committed=broken))
    await asyncio.wait_for(_together(writer, _entry("a"), _entry("b")), 2)
    await asyncio.wait_for(writer.record(_entry("c")), 2)
    assert _accounts(store) == ["a", "b", "c"]
    assert {type(error) for error in errors} == {ZeroDivisionError}


async def test_without_an_authority_set_nothing_is_recorded(store: Store, open_ledger: OpenWriter) -> None:
    writer = await open_ledger()
    with store.writing() as connection:
        connection.exec_driver_sql("DELETE FROM authority_set")
    with pytest.raises(Unavailable, match="meshca init"):
        await writer.record(_entry("a"))
    assert _accounts(store) == []


# --- waiting ---------------------------------------------------------------------------------


async def test_when_too_many_wait_the_next_is_told_at_once(store: Store, open_ledger: OpenWriter) -> None:
    writer = await open_ledger(pace=Pace(waiting=5))
    async with _busy(store):
        first = asyncio.create_task(writer.record(_entry("first")))
        await asyncio.sleep(0.05)
        waiting = [asyncio.create_task(writer.record(_entry(f"sa-{number}"))) for number in range(5)]
        await asyncio.sleep(0.05)
        with pytest.raises(Unavailable, match="5 certificates are waiting"):
            await asyncio.wait_for(writer.record(_entry("one too many")), 0.5)
    await asyncio.gather(first, *waiting)
    assert "one too many" not in _accounts(store)


async def test_a_database_that_hangs_is_unavailable_at_the_deadline(store: Store, open_ledger: OpenWriter) -> None:
    writer = await open_ledger(pace=Pace(deadline=timedelta(milliseconds=200)))
    async with _busy(store):
        began = perf_counter()
        committing = asyncio.create_task(writer.record(_entry("committing")))
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(writer.record(_entry("waiting")))
        with pytest.raises(Unavailable, match="within the deadline"):
            await committing
        with pytest.raises(Unavailable, match="within the deadline"):
            await waiting
        assert perf_counter() - began < 3, "the database let go only after that"
    await writer.record(_entry("after"))
    assert _accounts(store) == ["committing", "after"], "what still waited at its deadline is not recorded later"


async def test_a_caller_that_has_gone_while_it_waited_is_not_recorded(store: Store, open_ledger: OpenWriter) -> None:
    writer = await open_ledger()
    async with _busy(store):
        first = asyncio.create_task(writer.record(_entry("first")))
        await asyncio.sleep(0.05)
        gone, stays = (asyncio.create_task(writer.record(_entry(name))) for name in ("gone", "stays"))
        await asyncio.sleep(0.05)
        gone.cancel()
    await asyncio.gather(first, stays)
    assert _accounts(store) == ["first", "stays"]


async def test_a_caller_that_goes_during_the_commit_leaves_the_others_their_answer(
    store: Store, open_ledger: OpenWriter
) -> None:
    writer = await open_ledger()
    async with _busy(store):
        both = [asyncio.create_task(writer.record(_entry(name))) for name in ("gone", "stays")]
        await asyncio.sleep(0.05)
        both[0].cancel()
    await both[1]
    await writer.record(_entry("next"))
    assert _accounts(store) == ["gone", "stays", "next"]


# --- opening and closing ---------------------------------------------------------------------


async def test_closing_records_what_waits_and_refuses_what_comes(store: Store, open_ledger: OpenWriter) -> None:
    writer = await open_ledger(pace=Pace(largest=3))
    waiting = [asyncio.create_task(writer.record(_entry(f"sa-{number}"))) for number in range(10)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(writer.close())
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="not open"):
        await writer.record(_entry("too late"))
    await closing
    await asyncio.gather(*waiting)
    assert sorted(_accounts(store)) == [f"sa-{number}" for number in range(10)]


async def test_closing_does_not_wait_for_more_callers(open_ledger: OpenWriter) -> None:
    pace = Pace(patience=timedelta(seconds=30), longest=timedelta(seconds=30))
    writer = await open_ledger(pace=pace)
    await _together(writer, *(_entry(f"sa-{number}") for number in range(4)))
    lonely = asyncio.create_task(writer.record(_entry("lonely")))
    await asyncio.sleep(0.05)
    await asyncio.wait_for(writer.close(), 2)
    await lonely


async def test_closing_is_not_kept_up_by_a_database_that_hangs(store: Store, open_ledger: OpenWriter) -> None:
    writer = await open_ledger(pace=Pace(deadline=timedelta(milliseconds=300)))
    async with _busy(store):
        recording = asyncio.create_task(writer.record(_entry("stuck")))
        await asyncio.sleep(0.05)
        began = perf_counter()
        await writer.close()
        assert perf_counter() - began < 3, "the database let go only after that"
        with pytest.raises(Unavailable):
            await recording


async def test_closing_twice_is_once(open_ledger: OpenWriter) -> None:
    writer = await open_ledger()
    await writer.close()
    await writer.close()


async def test_a_writer_that_was_not_started_records_nothing(store: Store) -> None:
    with pytest.raises(Unavailable, match="not open"):
        await LedgerWriter(store).record(_entry("early"))


async def test_a_database_that_is_held_by_another_keeps_a_writer_from_starting(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY", 0.1)
    own = open_store(str(store.engine.url))
    async with _busy(store):
        with pytest.raises(Unavailable, match="locked"):
            await LedgerWriter(own).start()
    own.close()


# --- the clock -------------------------------------------------------------------------------


async def test_the_last_issuance_is_known_after_a_restart(store: Store, open_ledger: OpenWriter) -> None:
    writer = await open_ledger()
    await _together(writer, _entry("newest"), _entry("older", issued=NOW - timedelta(hours=1)))
    await writer.close()
    writer = await open_ledger(skew=SKEW)
    with pytest.raises(Unavailable, match=r"the clock says .* 11:57:59Z.* 12:00:00Z: set the clock"):
        await writer.record(_entry("late", issued=NOW - SKEW - timedelta(seconds=1)))
    await writer.record(_entry("in time", issued=NOW - SKEW))


async def test_what_was_not_recorded_does_not_move_the_clock_rule(store: Store, open_ledger: OpenWriter) -> None:
    writer = await open_ledger()
    future = NOW + timedelta(days=400)
    with pytest.raises(Superseded):
        await writer.record(_entry("superseded", issued=future, epoch=9))
    with refuse_rows(store), pytest.raises(Unavailable):
        await writer.record(_entry("refused", issued=future))
    await writer.record(_entry("now"))
    assert _accounts(store) == ["now"]


async def test_the_walk_is_clean_after_all_of_this(store: Store, open_ledger: OpenWriter) -> None:
    writer = await open_ledger()
    for number in range(10):
        await _together(writer, *(_entry(f"sa-{number}-{each}", epoch=1 + number) for each in range(number)))
        move_epoch(store, 2 + number)
    faults = {finding.fault for finding in walk(store) if "certificate cannot be read" not in finding.fault}
    assert faults <= {""}
    assert len(_accounts(store)) == sum(range(10))
