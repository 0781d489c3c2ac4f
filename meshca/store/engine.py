"""Opening the database, and the two ways to use it: reading and writing.

SQLite in WAL mode: readers and the one writer do not hold each other up, and a commit is durable
when it returns, since ``synchronous=FULL`` syncs the log at every commit. Both are read back when a
connection is made; a database that silently does less is not used.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, exc, inspect, text
from sqlalchemy.engine import URL, make_url

from meshca.errors import Conflict, Misconfigured, Unavailable, shown
from meshca.store.migrations import upgrade
from meshca.store.schema import REVISIONS

BUSY = 5.0
"""Seconds that a connection waits for another one's write to end."""

_BEGIN = "meshca_begin"
_FILES = ("", "-wal", "-shm")
_FULL = 2


class Store:
    """An open database. Safe to use from several threads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def __repr__(self) -> str:
        return f"<Store {self.engine.url.render_as_string(hide_password=True)}>"

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view of the database. Raises Unavailable."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that holds the right to write from its beginning, and is durable at its end.

        Raises Conflict for what a constraint forbids and Unavailable for every other failure;
        whatever is raised inside, nothing was written.
        """
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        try:
            with contextlib.ExitStack() as stack:
                connection = stack.enter_context(self.engine.connect())
                stack.enter_context(connection.execution_options(**{_BEGIN: begin}).begin())
                yield connection
        except exc.IntegrityError as error:
            raise Conflict(f"the store forbids this change: {error.orig}") from error
        except (exc.DBAPIError, exc.TimeoutError) as error:
            raise Unavailable(f"the store {self.engine.url.database} does not answer: {cause(error)}") from error

    def close(self) -> None:
        """Close the connections that nobody uses now."""
        self.engine.dispose()


def cause(error: BaseException) -> str:
    """What the database said, without the statement and its values."""
    said = getattr(error, "orig", None) or error
    return f"{type(said).__name__} {shown(said)}"


def open_store(url: str, *, create: bool = False, migrate: bool = False) -> Store:
    """Open the database at this URL, ``sqlite:////absolute/path``.

    With ``create`` its file is made when it is missing, readable by its owner only; with ``create``
    or ``migrate`` its schema is brought to the present revision.

    Raises Misconfigured when the URL is not one of ours, the folder or the file is missing, others
    may read the file, the schema is older (without ``migrate``) or newer than this version knows,
    or the database cannot be durable; Unavailable when it does not answer.
    """
    parsed = _sqlite(url)
    path = Path(str(parsed.database))
    _file(path, create=create)
    store = Store(_engine(parsed))
    try:
        if create or migrate:
            with store.writing() as connection:
                if _revision(connection) in (None, *REVISIONS[:-1]):
                    upgrade(connection)
        with store.reading() as connection:
            _expect_present(_revision(connection), path)
    except BaseException:
        store.close()
        raise
    return store


def _sqlite(url: str) -> URL:
    try:
        parsed = make_url(url)
    except exc.ArgumentError:
        raise Misconfigured("store.url is not a database URL: write sqlite:////var/lib/meshca/meshca.db") from None
    if parsed.get_backend_name() != "sqlite":
        raise Misconfigured(
            f"store.url is for {shown(parsed.get_backend_name())}: this version keeps its store in SQLite only "
            "(PostgreSQL follows); write sqlite:////var/lib/meshca/meshca.db"
        )
    path = parsed.database or ":memory:"
    if parsed.drivername != "sqlite" or parsed.query or path.startswith((":", "file:")):
        raise Misconfigured(
            f"store.url {shown(parsed.render_as_string())} must name a file and nothing else: "
            "write sqlite:////var/lib/meshca/meshca.db"
        )
    return parsed


def _file(path: Path, *, create: bool) -> None:
    """The file is there and nobody else may read it."""
    if not path.parent.is_dir():
        raise Misconfigured(f"store.url: there is no folder {path.parent}: make it, with mode 0700 and our user")
    if create:
        with contextlib.suppress(FileExistsError):
            # SQLite gives its -wal and -shm files the mode of this one.
            os.close(_opened(path))
    elif not path.exists():
        raise Misconfigured(f"store.url: there is no store {path}: run `meshca init`")
    for suffix in _FILES:
        with contextlib.suppress(FileNotFoundError):
            mode = os.stat(f"{path}{suffix}").st_mode
            # A group may have it (Kubernetes' fsGroup owns volumes that way); others never.
            if mode & 0o007:
                raise Misconfigured(f"{path}{suffix} has mode {mode & 0o777:04o}, so others can open it: chmod 0600 it")


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise
    except OSError as error:
        raise Misconfigured(f"store.url: {path} cannot be made: {error.strerror}") from None


def _engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        # The driver begins no transaction on its own: `begin` below does, and says which kind.
        connect_args={"isolation_level": None, "timeout": BUSY},
        pool_size=4,
        pool_timeout=BUSY,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: Any) -> None:
        _prepare(connection, str(url.database))

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))

    return engine


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    """Durable at commit, or not at all. Raises Misconfigured when the database does not agree."""
    if _write_ahead(connection, path) != "wal":
        raise Misconfigured(f"the store {path} cannot use a write-ahead log: put it on a local file system")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    for pragma, wanted in (("synchronous", _FULL), ("foreign_keys", 1)):
        (seen,) = connection.execute(f"PRAGMA {pragma}").fetchone()
        if seen != wanted:
            raise Misconfigured(f"the store {path} refuses {pragma} {wanted} (has {seen}): use another build of SQLite")


def _write_ahead(connection: sqlite3.Connection, path: str) -> str:
    """The journal mode after asking for WAL; two processes may ask at once on a new file."""
    deadline = time.monotonic() + BUSY
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            return str(mode)
        except sqlite3.DatabaseError as error:
            code = error.sqlite_errorcode & 0xFF
            if code == sqlite3.SQLITE_NOTADB:
                raise Misconfigured(f"{path} is not a database: store.url must name a file of meshca's own") from None
            if code != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)  # SQLite does not wait by itself here


def _revision(connection: Connection) -> str | None:
    """The revision of the schema that is there; None when there is none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _expect_present(revision: str | None, path: Path) -> None:
    if revision == REVISIONS[-1]:
        return
    if revision is None:
        raise Misconfigured(f"{path} holds no meshca store: run `meshca init`")
    if revision in REVISIONS:
        raise Misconfigured(
            f"the store {path} has revision {revision} and this version needs {REVISIONS[-1]}: "
            "start `meshca serve`, which upgrades it"
        )
    raise Misconfigured(
        f"the store {path} has revision {shown(revision)}, which is newer than this version of meshca knows "
        f"(up to {REVISIONS[-1]}): run the newer version, or restore the backup from before its upgrade"
    )
