"""Heartbeats: which workers there are, and which epoch each has loaded."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select, update

from meshca.rotation.gates import Replica
from meshca.store.engine import Store
from meshca.store.schema import heartbeats
from meshca.store.times import micros, moment

FORGOTTEN = timedelta(days=1)
"""The row of a worker that ended without saying so is deleted after so long; gates stop waiting far earlier."""


def beat(store: Store, worker: str, *, epoch: int, now: datetime) -> None:
    """Say that this worker lives and has loaded this epoch. Raises Unavailable."""
    row = {"epoch": epoch, "at": micros(now)}
    with store.writing() as connection:
        known = connection.execute(update(heartbeats).where(heartbeats.c.worker == worker).values(row))
        if known.rowcount == 0:
            connection.execute(insert(heartbeats).values(worker=worker, **row))
            connection.execute(delete(heartbeats).where(heartbeats.c.at < micros(now - FORGOTTEN)))


def end(store: Store, worker: str) -> None:
    """Say that this worker issues no more. Raises Unavailable."""
    with store.writing() as connection:
        connection.execute(delete(heartbeats).where(heartbeats.c.worker == worker))


def replicas(store: Store) -> list[Replica]:
    """Every worker that was heard of and has not said that it ended. Raises Unavailable."""
    with store.reading() as connection:
        return [
            Replica(row.worker, row.epoch, moment(row.at))
            for row in connection.execute(select(heartbeats).order_by(heartbeats.c.worker))
        ]
