"""Opening a store: what it must be like, and what is refused."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from meshca.errors import Conflict, Misconfigured, Unavailable
from meshca.store import Store, engine, open_store
from tests.store.database import found


def _url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def _pragma(store: Store, name: str) -> Any:
    with store.reading() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


@pytest.mark.usefixtures("open_umask")
def test_nobody_else_may_read_the_files_whatever_the_umask(tmp_path: Path) -> None:
    store = found(tmp_path / "meshca.db")
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    store.close()
    assert modes == {"meshca.db": 0o600, "meshca.db-wal": 0o600, "meshca.db-shm": 0o600}


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
@pytest.mark.parametrize("mode", [0o604, 0o602, 0o666])
def test_a_file_that_others_may_open_is_refused(tmp_path: Path, suffix: str, mode: int) -> None:
    path = tmp_path / "meshca.db"
    store = found(path)
    Path(f"{path}{suffix}").chmod(mode)
    with pytest.raises(Misconfigured, match="chmod 0600"):
        open_store(_url(path))
    store.close()


def test_a_group_may_have_the_file_as_kubernetes_gives_volumes(tmp_path: Path) -> None:
    path = tmp_path / "meshca.db"
    found(path).close()
    path.chmod(0o660)
    open_store(_url(path)).close()


def test_every_connection_is_durable_and_checks_foreign_keys(tmp_path: Path) -> None:
    found(tmp_path / "meshca.db").close()
    store = open_store(_url(tmp_path / "meshca.db"))
    assert [_pragma(store, name) for name in ("journal_mode", "synchronous", "foreign_keys")] == ["wal", 2, 1]
    store.close()


class _Lax(sqlite3.Connection):
    """A build of SQLite that does less than it is told."""

    deaf_to = ""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return super().execute("SELECT 'delete'" if self.deaf_to in sql and "=" in sql else sql, *values)


@pytest.mark.parametrize("deaf_to", ["synchronous", "foreign_keys", "journal_mode"])
def test_a_database_that_silently_does_less_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaf_to: str
) -> None:
    found(tmp_path / "meshca.db").close()
    real = sqlite3.dbapi2.connect

    def connect(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = real(*args, **options, factory=_Lax)
        if deaf_to == "synchronous":
            sqlite3.Connection.execute(connection, "PRAGMA synchronous = NORMAL")
        return connection

    monkeypatch.setattr(_Lax, "deaf_to", deaf_to)
    monkeypatch.setattr(sqlite3.dbapi2, "connect", connect)
    with pytest.raises(Misconfigured, match=r"use another build of SQLite|local file system"):
        open_store(_url(tmp_path / "meshca.db"))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite://", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
        ("sqlite:///file:x?mode=memory&uri=true", "must name a file"),
        ("sqlite:////var/lib/meshca/meshca.db?nolock=1", "must name a file"),
        ("sqlite+aiosqlite:////var/lib/meshca/meshca.db", "must name a file"),
        ("postgresql://meshca:hunter2@db/meshca", "PostgreSQL follows"),
        ("hunter2", "not a database URL"),
        ("", "not a database URL"),
    ],
)
def test_a_url_that_is_not_ours_is_refused_without_showing_its_password(url: str, said: str) -> None:
    with pytest.raises(Misconfigured, match=said) as refusal:
        open_store(url, create=True)
    assert "hunter2" not in str(refusal.value)


def test_a_missing_folder_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=f"no folder {tmp_path}/absent: make it"):
        open_store(_url(tmp_path / "absent" / "meshca.db"), create=True)


def test_a_missing_store_is_named_with_the_remedy_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="meshca init"):
        open_store(_url(tmp_path / "meshca.db"), migrate=True)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be made"):
        open_store(_url(tmp_path / ("x" * 300)), create=True)


def test_an_empty_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "meshca.db").touch(mode=0o600)
    with pytest.raises(Misconfigured, match="no meshca store"):
        open_store(_url(tmp_path / "meshca.db"))


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "meshca.db").write_bytes(b"-----BEGIN CERTIFICATE-----" * 100)
    (tmp_path / "meshca.db").chmod(0o600)
    with pytest.raises(Misconfigured, match="not a database"):
        open_store(_url(tmp_path / "meshca.db"), create=True)


def test_a_store_of_a_newer_version_is_refused_and_its_revision_named(tmp_path: Path) -> None:
    store = found(tmp_path / "meshca.db")
    with store.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for options in ({}, {"migrate": True}, {"create": True}):
        with pytest.raises(Misconfigured, match="'9999', which is newer"):
            open_store(_url(tmp_path / "meshca.db"), **options)
    store.close()


def test_an_older_store_is_refused_with_the_remedy_unless_it_may_be_upgraded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found(tmp_path / "meshca.db").close()
    monkeypatch.setattr(engine, "REVISIONS", ("0001", "0002"))
    with pytest.raises(Misconfigured, match="has revision 0001 and this version needs 0002: start `meshca serve`"):
        open_store(_url(tmp_path / "meshca.db"))


_OPEN = """
import sys
from meshca.store import open_store
open_store(sys.argv[1], create=sys.argv[2] == "create").close()
print("alembic" in sys.modules)
"""


def _open_in_a_process(url: str, how: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", _OPEN, url, how], stdout=subprocess.PIPE, text=True)


def test_processes_that_create_at_once_make_one_store(tmp_path: Path) -> None:
    processes = [_open_in_a_process(_url(tmp_path / "meshca.db"), "create") for _ in range(4)]
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0] * 4
    open_store(_url(tmp_path / "meshca.db")).close()


def test_a_worker_that_opens_a_store_does_not_load_alembic(tmp_path: Path) -> None:
    found(tmp_path / "meshca.db").close()
    process = _open_in_a_process(_url(tmp_path / "meshca.db"), "open")
    assert process.communicate(timeout=60)[0].strip() == "False"


def test_nothing_of_a_failed_write_remains(store: Store) -> None:
    def write_and_fail() -> None:
        with store.writing() as connection:
            connection.execute(text("UPDATE authority_set SET epoch = 99"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    with store.reading() as connection:
        assert connection.scalar(text("SELECT epoch FROM authority_set")) == 1


def test_what_a_constraint_forbids_is_a_conflict(store: Store) -> None:
    with pytest.raises(Conflict), store.writing() as connection:
        connection.execute(text("INSERT INTO authority_set VALUES (2, 'other', 1, 1, 0)"))


def test_a_statement_that_fails_is_unavailable_without_its_values(store: Store) -> None:
    with pytest.raises(Unavailable, match="no such table") as failure, store.reading() as connection:
        connection.execute(text("SELECT * FROM absent WHERE secret = :secret"), {"secret": "hunter2"})
    assert "hunter2" not in str(failure.value)


def test_a_reader_sees_one_moment_while_another_writes(store: Store) -> None:
    with store.reading() as reader:
        before = reader.scalar(text("SELECT epoch FROM authority_set"))
        with store.writing() as writer:
            writer.execute(text("UPDATE authority_set SET epoch = 2"))
        assert reader.scalar(text("SELECT epoch FROM authority_set")) == before


def test_a_store_says_what_it_is_without_more(store: Store) -> None:
    assert repr(store).startswith("<Store sqlite:///")
