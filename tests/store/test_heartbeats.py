"""Heartbeats: which workers there are, and what each has loaded."""

from __future__ import annotations

from datetime import timedelta

from meshca.rotation.gates import Replica
from meshca.store import Store
from meshca.store.heartbeats import FORGOTTEN, beat, end, replicas
from meshca.testing.ledger import NOW

SECOND = timedelta(seconds=1)


def test_a_worker_is_there_with_its_last_word(store: Store) -> None:
    beat(store, "a", epoch=1, now=NOW)
    beat(store, "b", epoch=1, now=NOW)
    beat(store, "a", epoch=2, now=NOW + SECOND)
    assert replicas(store) == [Replica("a", 2, NOW + SECOND), Replica("b", 1, NOW)]


def test_a_worker_that_says_that_it_ended_is_gone(store: Store) -> None:
    beat(store, "a", epoch=1, now=NOW)
    beat(store, "b", epoch=1, now=NOW)
    end(store, "a")
    assert [replica.id for replica in replicas(store)] == ["b"]


def test_a_silent_worker_stays_until_it_is_forgotten_by_a_new_one(store: Store) -> None:
    beat(store, "silent", epoch=1, now=NOW)
    beat(store, "second", epoch=1, now=NOW + FORGOTTEN)
    assert [replica.id for replica in replicas(store)] == ["second", "silent"]
    beat(store, "third", epoch=1, now=NOW + FORGOTTEN + SECOND)
    assert [replica.id for replica in replicas(store)] == ["second", "third"]


def test_the_end_of_one_that_never_was_is_no_error(store: Store) -> None:
    end(store, "never")
    assert replicas(store) == []
