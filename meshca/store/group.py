"""Committing one group of entries: fence, shared keys, counters and hashes, insert, commit.

This is what the ledger's thread does. SQLAlchemy writes the statements once and gives the
connection; they run on the driver's own cursor, since a certificate would pay 15 µs more for
SQLAlchemy's execution of text and 25 µs more for that of its insert construct (measured in groups of
eight, where SQLite itself takes 35 to 45 µs).
"""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from sqlalchemy import ClauseElement, Dialect, PoolProxiedConnection, bindparam, func, insert, select
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.sql.compiler import SQLCompiler

from meshca.clock import Clock
from meshca.errors import BadRequest, MeshcaError, Superseded, Unavailable
from meshca.issuance.ledger import Entry
from meshca.store.encoding import COLUMNS, ENCODING, GENESIS, running_hash
from meshca.store.engine import Store, cause
from meshca.store.schema import authority_set, ledger, ledger_writers
from meshca.store.times import micros, moment

SharedKeys = Literal["allow", "alarm", "refuse"]
"""What to do with a key that another identity has used: record it, record it and say so, or refuse it."""


@dataclass(slots=True, eq=False)
class Place:
    """An entry's place in a group, and what became of it."""

    entry: Entry
    values: tuple[Any, ...]
    covered: bytes
    """What the running hash covers of it (``encoding.py``)."""
    refusal: MeshcaError | None = None
    shared_with: str | None = None
    """Another identity that has used the key."""


@dataclass(frozen=True, slots=True)
class _Statements:
    """Written once, in the words of the database."""

    begin: str
    epoch: str
    another: str
    insert: str
    commit: str


def _statements(dialect: Dialect) -> _Statements:
    of_key = ledger.c.spki_sha256 == bindparam("key")
    identity = ledger.c.identity
    after = select(func.min(identity)).where(of_key, identity > bindparam("identity"))
    before = select(func.max(identity)).where(of_key, identity < bindparam("identity"))
    # Two seeks in an index, however many rows have the key: `!=` would read them all.
    another = select(func.coalesce(after.scalar_subquery(), before.scalar_subquery()))
    return _Statements(
        begin="BEGIN IMMEDIATE",
        epoch=_text(select(authority_set.c.epoch), dialect),
        another=_text(another, dialect, "key", "identity", "key", "identity"),
        insert=_text(insert(ledger), dialect, *COLUMNS),
        commit="COMMIT",
    )


def _text(statement: ClauseElement, dialect: Dialect, *parameters: str) -> str:
    """The statement's text for the driver, whose parameters come in this order."""
    compiled = cast(SQLCompiler, statement.compile(dialect=dialect))
    assert tuple(compiled.positiontup or ()) == parameters
    return str(compiled)


class Groups:
    """One writer's chain of rows, and its connection. Used from one thread."""

    def __init__(self, store: Store, writer: str, *, shared_keys: SharedKeys, clock: Clock) -> None:
        self._store = store
        self._writer = writer
        self._shared_keys = shared_keys
        self._clock = clock
        self._sql = _statements(store.engine.dialect)
        self._connection: PoolProxiedConnection | None = None
        self._counter = 0
        self._hash = GENESIS
        self._doubtful = False

    def open(self) -> datetime | None:
        """Take a place among the writers; returns when the ledger last recorded an issuance.

        Raises Unavailable.
        """
        with self._store.reading() as connection:
            last = connection.scalar(select(func.max(ledger.c.issued)))
        self._take_place()
        return None if last is None else moment(last)

    def commit(self, group: Sequence[Place]) -> Unavailable | None:
        """Record what may be recorded; each place's ``refusal`` says why it was not.

        Returns why the database refused the whole group, if it did; every place has it then.
        """
        try:
            self._transact(self._cursor(), group)
        except Exception as error:
            # Whatever it was: nobody may wait for ever, and nothing may be released.
            self._drop(error)
            for place in group:
                place.refusal = _unavailable(error)
            return _unavailable(error)
        return None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _transact(self, cursor: DBAPICursor, group: Sequence[Place]) -> None:
        cursor.execute(self._sql.begin)
        self._fence(cursor, group)
        if self._shared_keys != "allow":
            self._compare_keys(cursor, group)
        counter, head, rows = self._counter, self._hash, []
        for place in group:
            if place.refusal is None:
                counter += 1
                head = running_hash(head, counter, place.covered)
                rows.append((*place.values, self._writer, counter, head))
        if rows:
            cursor.executemany(self._sql.insert, rows)
        cursor.execute(self._sql.commit)
        self._counter, self._hash = counter, head

    def _fence(self, cursor: DBAPICursor, group: Sequence[Place]) -> None:
        """The epoch, read where nobody can change it before this transaction ends (DESIGN §2)."""
        cursor.execute(self._sql.epoch)
        row = cursor.fetchone()
        if row is None:
            raise Unavailable("the store holds no authority set: run `meshca init`")
        for place in group:
            if place.entry.epoch != row[0]:
                place.refusal = Superseded(
                    f"the authority set is at epoch {row[0]}, this was signed at {place.entry.epoch}: sign again"
                )

    def _compare_keys(self, cursor: DBAPICursor, group: Sequence[Place]) -> None:
        """Two identities with one key can pose as each other; the second one is found here."""
        owners: dict[bytes, str] = {}
        for place in group:
            if place.refusal is not None:
                continue
            key, identity = place.entry.spki_sha256, place.entry.identity
            cursor.execute(self._sql.another, (key, identity, key, identity))
            (other,) = cursor.fetchone() or (None,)
            if other is None and owners.get(key, identity) != identity:
                other = owners[key]
            place.shared_with = other
            if other is not None and self._shared_keys == "refuse":
                place.refusal = BadRequest(
                    "another identity has used this key: make a new key and ask again", check="shared-key"
                )
            else:
                owners.setdefault(key, identity)

    def _cursor(self) -> DBAPICursor:
        if self._connection is None:
            if self._doubtful:
                self._settle()
            self._take_place()
            self._connection = self._store.engine.raw_connection()
        return self._connection.cursor()

    def _settle(self) -> None:
        """After a failed sync nobody knows which pages of the log are on the disk, and a later sync may
        say nothing of them (Linux forgets): so bring all of it into the database and begin a new log."""
        with contextlib.closing(self._store.engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            (busy, *_) = cursor.fetchone() or (1,)
        if busy:
            raise Unavailable("the store's log cannot be settled while it is being read")
        self._doubtful = False

    def _take_place(self) -> None:
        """Go on after what is there: a commit whose answer was lost may have come through."""
        its_row = ledger_writers.c.writer == self._writer
        with self._store.writing() as connection:
            pruned = connection.execute(
                select(ledger_writers.c.pruned_through, ledger_writers.c.pruned_hash).where(its_row)
            ).one_or_none()
            if pruned is None:
                connection.execute(insert(ledger_writers).values(self._own_row()))
            head = connection.execute(
                select(ledger.c.counter, ledger.c.running_hash)
                .where(ledger.c.writer == self._writer)
                .order_by(ledger.c.counter.desc())
                .limit(1)
            ).one_or_none()
        self._counter, self._hash = head or pruned or (0, GENESIS)

    def _own_row(self) -> dict[str, Any]:
        return {
            "writer": self._writer,
            "started": micros(self._clock()),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "encoding": ENCODING,
            "pruned_through": 0,
            "pruned_hash": GENESIS,
        }

    def _drop(self, error: Exception) -> None:
        """Undo what was not committed and close the connection; the next group opens another."""
        code = getattr(error, "sqlite_errorcode", None) or 0
        self._doubtful = self._doubtful or code & 0xFF == sqlite3.SQLITE_IOERR
        if self._connection is None:
            return
        # In words: a closed connection lives on, and keeps its lock, while a cursor in some traceback refers to it.
        with contextlib.suppress(Exception):
            self._connection.rollback()
        self._connection.invalidate()
        self._connection = None


def _unavailable(error: Exception) -> Unavailable:
    """An error for each who waits: one raised in several tasks would gather all their tracebacks."""
    known = isinstance(error, Unavailable)
    failure = Unavailable(str(error) if known else f"the ledger does not commit: {cause(error)}")
    failure.__cause__ = error
    return failure
