"""Reading the ledger: filters, order, batches, an issuer's leaves."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from meshca.issuance.ledger import serial_text
from meshca.rotation.gates import Leaves
from meshca.store import CertificateFilter, Store, certificates
from meshca.store.certificates import count, leaves
from meshca.testing.ledger import NOW, an_entry
from tests.store.conftest import OpenWriter, Record
from tests.store.database import plan_of
from tests.store.entries import a_leaf

HOUR = timedelta(hours=1)


def _accounts(store: Store, **chosen: Any) -> list[str]:
    rows = certificates.certificates(store, CertificateFilter(**chosen))
    return [row.entry.service_account for row in rows]


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ({}, ["e", "d", "c", "b", "a"]),
        ({"namespace": "shop"}, ["e", "d", "c", "a"]),
        ({"service_account": "b"}, ["b"]),
        ({"pod": "c-pod"}, ["c"]),
        ({"cluster": "east"}, ["d"]),
        ({"service": "linkerd"}, ["e"]),
        ({"issuer": "0000111122223333"}, ["d", "c"]),
        ({"issuer": "0000111122223333", "cluster": "east"}, ["d"]),
        ({"namespace": "sh"}, []),
        ({"namespace": "shop' OR '1'='1"}, []),
        ({"namespace": "%"}, []),
        ({"limit": 2}, ["e", "d"]),
        ({"limit": 2, "namespace": "shop", "service": "istio"}, ["d", "c"]),
        ({"limit": 99}, ["e", "d", "c", "b", "a"]),
    ],
)
async def test_filters_narrow_and_the_newest_comes_first(
    store: Store, record: Record, chosen: dict[str, Any], found: list[str]
) -> None:
    await record(
        [
            a_leaf("a", issued=NOW),
            a_leaf("b", issued=NOW + 1 * HOUR, namespace="bank"),
            a_leaf("c", issued=NOW + 2 * HOUR, pod="c-pod", issuer_id="0000111122223333"),
            a_leaf("d", issued=NOW + 3 * HOUR, cluster="east", issuer_id="0000111122223333"),
            a_leaf("e", issued=NOW + 4 * HOUR, service="linkerd"),
        ]
    )
    assert _accounts(store, **chosen) == found
    if not chosen.get("limit"):
        assert count(store, CertificateFilter(**chosen)) == len(found)


@pytest.mark.parametrize(
    ("at", "found"),
    [
        (NOW.replace(microsecond=0) - timedelta(seconds=1), []),
        (NOW.replace(microsecond=0), ["short", "long"]),
        (NOW + HOUR - timedelta(seconds=1), ["short", "long"]),
        (NOW.replace(microsecond=0) + HOUR, ["short", "long"]),
        (NOW + HOUR, ["long"]),
        (NOW + 9 * HOUR, []),
    ],
    ids=["before", "at the first second", "within", "at the last second", "after the short one", "after both"],
)
async def test_live_is_between_not_before_and_not_after_both_included(
    store: Store, record: Record, at: datetime, found: list[str]
) -> None:
    await record([a_leaf("long", lifetime=8 * HOUR), a_leaf("short", lifetime=HOUR)])
    assert _accounts(store, live_at=at) == found


async def test_more_rows_than_a_batch_all_come_once_and_in_order(store: Store, open_ledger: OpenWriter) -> None:
    chance, writer = random.Random(1), await open_ledger(skew=timedelta(days=1))
    # Groups of rows with the same moment of issuance straddle the batches.
    moments = sorted(NOW + timedelta(microseconds=chance.randrange(40)) for _ in range(1203))
    for moment in moments:
        await writer.record(replace(an_entry(epoch=1), issued=moment))
    rows = list(certificates.certificates(store, CertificateFilter()))
    assert [row.counter for row in rows] == list(range(1203, 0, -1))
    assert [row.entry.issued for row in rows] == moments[::-1]


@pytest.mark.parametrize("limit", [499, 500, 501, 1000])
async def test_a_limit_is_kept_whatever_the_batches(store: Store, record: Record, limit: int) -> None:
    await record(an_entry(epoch=1) for _ in range(1001))
    assert len(_accounts(store, limit=limit)) == limit


async def test_a_slow_reader_holds_no_transaction_and_sees_nothing_newer(store: Store, open_ledger: OpenWriter) -> None:
    writer = await open_ledger()
    for _ in range(600):
        await writer.record(an_entry("old", epoch=1))
    rows = certificates.certificates(store, CertificateFilter())
    seen = [next(rows)]
    await writer.record(a_leaf("new", issued=NOW + HOUR))
    with store.engine.connect() as connection:
        (busy, *_) = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    assert busy == 0, "nobody keeps the log"
    seen += rows
    assert [row.entry.service_account for row in seen] == ["old"] * 600


async def test_a_certificate_is_found_by_the_serial_that_is_printed(store: Store, record: Record) -> None:
    entry = a_leaf()
    writer = await record([a_leaf(), entry])
    row = certificates.certificate(store, serial_text(entry.serial))
    assert row is not None
    assert (row.entry, row.writer, row.counter) == (entry, writer.writer, 2)


@pytest.mark.parametrize("serial", ["", "0", "zz", "' OR ''='", "%"])
async def test_what_is_no_serial_finds_nothing(store: Store, record: Record, serial: str) -> None:
    await record([a_leaf()])
    assert certificates.certificate(store, serial) is None


async def test_an_issuers_leaves_are_counted_without_our_serving_certificates(store: Store, record: Record) -> None:
    longest = a_leaf(lifetime=3 * HOUR)
    await record(
        [
            a_leaf(lifetime=HOUR),
            longest,
            a_leaf(lifetime=2 * HOUR, service="linkerd"),
            a_leaf(lifetime=9 * HOUR, service="serving"),
            a_leaf(lifetime=9 * HOUR, issuer_id="another"),
        ]
    )
    found = leaves(store, "feedfacefeedface", now=NOW + timedelta(minutes=90))
    assert found == Leaves(live=2, last_end=longest.not_after)


async def test_a_leaf_is_live_in_its_last_second(store: Store, record: Record) -> None:
    entry = a_leaf()
    await record([entry])
    assert leaves(store, entry.issuer_id, now=entry.not_after).live == 1
    assert leaves(store, entry.issuer_id, now=entry.not_after + timedelta(microseconds=1)).live == 0


def test_an_issuer_that_never_signed_has_no_last_end(store: Store) -> None:
    assert leaves(store, "feedfacefeedface", now=NOW) == Leaves(live=0, last_end=None)


def test_the_gate_is_answered_from_its_index_alone(store: Store) -> None:
    plan = plan_of(store, lambda: leaves(store, "feedfacefeedface", now=NOW))
    assert "USING COVERING INDEX ledger_leaves (issuer_id=? AND not_after>?)" in plan
    assert "USING COVERING INDEX ledger_leaves (issuer_id=?)" in plan


async def test_every_batch_of_the_list_goes_along_the_moments_of_issuance(store: Store, record: Record) -> None:
    await record(an_entry(epoch=1) for _ in range(501))
    plan = plan_of(store, lambda: _accounts(store))
    assert "SCAN ledger USING INDEX ledger_issued" in plan
    assert "SEARCH ledger USING INDEX ledger_issued (issued<?)" in plan
