"""The bytes under the running hash, against an implementation of their own, and what they tell apart."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select

from meshca.issuance.ledger import Entry
from meshca.store import Store
from meshca.store.encoding import COLUMNS, GENESIS, body, certificate_row, running_hash, values
from meshca.store.schema import ledger, ledger_writers
from meshca.testing.ledger import NOW, an_entry
from tests.store.entries import a_leaf

WRITER = "0123456789abcdef"
_MOMENTS = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_ENTRIES = st.builds(
    Entry,
    serial=st.integers(1, (1 << 127) - 1),
    **dict.fromkeys(("identity", "cluster", "namespace", "service_account", "pod", "pod_uid", "node", "peer"), _TEXT),
    **dict.fromkeys(("service", "proof", "credential", "request_id", "issuer_id"), _TEXT),
    **dict.fromkeys(("spki_sha256", "der"), st.binary(max_size=40)),
    **dict.fromkeys(("not_before", "not_after", "issued"), _MOMENTS),
    **dict.fromkeys(("epoch", "bundle_sequence"), st.integers(0, 2**63 - 1)),
)


def _as_documented(previous: bytes, writer: str, counter: int, entry: Entry) -> bytes:
    """The running hash by the words of ``encoding.py``, written for this test."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    texts = [writer, format(entry.serial, "032x"), entry.identity, entry.cluster, entry.namespace]
    texts += [entry.service_account, entry.pod, entry.pod_uid, entry.node, entry.peer, entry.service, entry.proof]
    texts += [entry.credential, entry.request_id, entry.issuer_id]
    contents = [text.encode("utf-8") for text in texts] + [entry.spki_sha256, entry.der]
    moments = [(when - epoch) / timedelta(microseconds=1) for when in (entry.not_before, entry.not_after, entry.issued)]
    digest = hashlib.sha256(previous)
    for number in (counter, *map(round, moments), entry.epoch, entry.bundle_sequence):
        digest.update(number.to_bytes(8, "big", signed=True))
    for content in contents:
        digest.update(len(content).to_bytes(4, "big"))
    for content in contents:
        digest.update(content)
    return digest.digest()


@given(st.binary(min_size=32, max_size=32), st.integers(1, 2**63 - 1), _ENTRIES)
def test_the_running_hash_is_what_its_documentation_says(previous: bytes, counter: int, entry: Entry) -> None:
    covered = body(WRITER, values(entry))
    assert running_hash(previous, counter, covered) == _as_documented(previous, WRITER, counter, entry)


def test_the_running_hash_of_a_known_row_never_changes() -> None:
    entry = replace(an_entry(key="one"), serial=1 << 120, der=b"der")
    covered = body(WRITER, values(entry))
    expected = "a397f9249956b860085f0cad4ca10dda70ab16a1a005ca13c31b69788f090068"
    assert running_hash(GENESIS, 1, covered).hex() == expected


@given(_ENTRIES, _ENTRIES)
def test_rows_that_differ_have_different_bytes(one: Entry, other: Entry) -> None:
    assert (body(WRITER, values(one)) == body(WRITER, values(other))) == (one == other)


@given(_ENTRIES, _TEXT, _TEXT, _TEXT)
def test_text_that_moves_to_the_next_field_changes_the_bytes(entry: Entry, left: str, moved: str, right: str) -> None:
    before = replace(entry, namespace=left + moved, service_account=right)
    after = replace(entry, namespace=left, service_account=moved + right)
    assert (body(WRITER, values(before)) == body(WRITER, values(after))) == (moved == "")


_CHANGED: dict[str, Any] = {
    "serial": 5,
    "not_before": NOW + timedelta(microseconds=1),
    "not_after": NOW + timedelta(microseconds=1),
    "issued": NOW + timedelta(microseconds=1),
    "epoch": 8,
    "bundle_sequence": 8,
    "der": b"other",
    "spki_sha256": b"other",
}


@pytest.mark.parametrize("name", [field.name for field in fields(Entry)])
def test_the_hash_covers_every_field(name: str) -> None:
    entry = an_entry()
    changed = replace(entry, **{name: _CHANGED.get(name, "other")})
    assert body(WRITER, values(entry)) != body(WRITER, values(changed))


def test_the_hash_covers_the_writer_the_counter_and_what_was_before() -> None:
    covered = body(WRITER, values(an_entry()))
    hashes = {
        running_hash(GENESIS, 1, covered),
        running_hash(GENESIS, 2, covered),
        running_hash(b"\x01" * 32, 1, covered),
        running_hash(GENESIS, 1, body("fedcba9876543210", values(an_entry()))),
    }
    assert len(hashes) == 4


def test_every_column_has_its_value() -> None:
    assert len(values(an_entry())) + 3 == len(COLUMNS)
    assert COLUMNS[-3:] == ("writer", "counter", "running_hash")
    assert set(COLUMNS[:-3]) == {field.name for field in fields(Entry)}


def test_a_stored_row_is_the_entry_that_went_in(store: Store) -> None:
    entries = [a_leaf(), an_entry()]
    with store.writing() as connection:
        numbers = dict.fromkeys(("started", "pid", "encoding", "pruned_through"), 0)
        texts = {"writer": WRITER, "host": "", "pruned_hash": GENESIS}
        connection.execute(insert(ledger_writers).values({**numbers, **texts}))
        for counter, entry in enumerate(entries, 1):
            row = (*values(entry), WRITER, counter, GENESIS)
            connection.execute(insert(ledger).values(dict(zip(COLUMNS, row, strict=True))))
        stored = connection.execute(select(ledger).order_by(ledger.c.counter)).mappings().all()
    assert [certificate_row(row).entry for row in stored] == entries


@pytest.mark.parametrize("serial", [0, -1, 1 << 128])
def test_a_serial_that_no_certificate_may_have_is_refused(serial: int) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        values(replace(an_entry(), serial=serial))
