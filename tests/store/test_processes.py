"""Several processes on one store: one is killed, one moves the epoch under the other."""

from __future__ import annotations

import random
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from meshca.store import ControlStore, Store, WorkerStore
from meshca.store.audit import heads, walk
from tests.store.database import in_order
from tests.store.entries import NOW

KILLS = 20


@contextmanager
def _worker(store: Store) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.store.worker", str(store.engine.url)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def _said(process: subprocess.Popen[bytes], seconds: float) -> bytes:
    """What it says until it has said nothing for so long."""
    assert process.stdout is not None
    heard = b""
    while select.select([process.stdout], [], [], seconds)[0] and (more := process.stdout.read(1 << 16)):
        heard += more
    return heard


def _killed(store: Store, chance: random.Random) -> list[bytes]:
    """The lines of a worker that was killed at some moment after its first one."""
    with _worker(store) as process:
        assert process.stdout is not None
        heard = process.stdout.read(1)
        time.sleep(chance.uniform(0, 0.12))
        process.kill()
        heard += _said(process, 10)
    return heard.split(b"\n")[:-1]  # the last line may be torn


@pytest.mark.slow
def test_no_serial_that_was_released_is_lost_when_the_process_is_killed(store: Store) -> None:
    chance = random.Random(20261123)
    released = [line.split()[0].decode() for _ in range(KILLS) for line in _killed(store, chance)]
    recorded = {f"{entry.serial:032x}" for entry in in_order(store)}
    assert len(released) >= KILLS
    assert set(released) <= recorded
    assert [finding.fault for finding in walk(store)] == [""] * KILLS
    assert sum(head.counter for head in heads(store)) == len(recorded)


def test_nothing_of_an_old_epoch_is_recorded_after_another_process_has_moved_it(store: Store) -> None:
    at_the_move: dict[int, int] = {}
    with _worker(store) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        for epoch in range(1, 25):
            time.sleep(0.02)
            with store.writing() as connection:
                rows = connection.execute(text("SELECT count(*) FROM ledger WHERE epoch <= :epoch"), {"epoch": epoch})
                at_the_move[epoch] = rows.scalar_one()
                connection.execute(text("UPDATE authority_set SET epoch = :epoch"), {"epoch": epoch + 1})
        time.sleep(0.1)
    epochs = [entry.epoch for entry in in_order(store)]
    assert {epoch: sum(each <= epoch for each in epochs) for epoch in at_the_move} == at_the_move
    assert epochs == sorted(epochs)
    assert len(set(epochs)) > 5, "the worker did record under several epochs"
    assert [finding.fault for finding in walk(store)] == [""]


def test_a_worker_reads_what_the_control_process_wrote(store: Store) -> None:
    url = str(store.engine.url)
    control, worker = ControlStore(url), WorkerStore(url, "worker-1")
    assert worker.epoch() == 1
    with control.store.writing() as connection:
        connection.execute(text("UPDATE authority_set SET epoch = 2"))
    assert worker.epoch() == 2
    worker.beat(2, clock=lambda: NOW)
    evidence = control.evidence(lambda: NOW)
    assert [(replica.id, replica.epoch, replica.seen) for replica in evidence.replicas()] == [("worker-1", 2, NOW)]
    worker.end()
    assert evidence.replicas() == []
    worker.close()
    control.close()
