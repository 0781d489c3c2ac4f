"""Reading the ledger: who got what, when, until when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, func, select, tuple_

from meshca.rotation.gates import Leaves
from meshca.store.encoding import CertificateRow, certificate_row
from meshca.store.engine import Store
from meshca.store.schema import ledger, not_serving
from meshca.store.times import micros, moment

_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFilter:
    """Which rows are asked for; each field narrows, an empty one does not."""

    namespace: str = ""
    service_account: str = ""
    pod: str = ""
    issuer: str = ""
    service: str = ""
    cluster: str = ""
    live_at: datetime | None = None
    """Only certificates that are valid at this moment."""
    limit: int = 0
    """At most so many; 0 is all."""


def certificates(store: Store, chosen: CertificateFilter) -> Iterator[CertificateRow]:
    """The rows, the newest first. What is recorded meanwhile is not among them.

    They are read in batches, each in a transaction of its own: a reader that is slow, or never
    comes back, must not keep the write-ahead log from being emptied. Raises Unavailable.
    """
    # Newest first; the counter orders what one clock tick issued, the serial makes the order total.
    position = tuple_(ledger.c.issued, ledger.c.counter, ledger.c.serial)
    query = select(ledger).where(*_conditions(chosen)).order_by(*(column.desc() for column in position.clauses))
    left, after = chosen.limit or None, None
    while left is None or left > 0:
        batch = _BATCH if left is None else min(left, _BATCH)
        rows = _rows(store, (query if after is None else query.where(position < after)).limit(batch))
        yield from rows
        if len(rows) < batch:
            return
        last = rows[-1]
        after = (micros(last.entry.issued), last.counter, f"{last.entry.serial:032x}")
        left = None if left is None else left - batch


def certificate(store: Store, serial: str) -> CertificateRow | None:
    """The row of this serial, 32 lower-case hexadecimal digits as they are listed. Raises Unavailable."""
    rows = _rows(store, select(ledger).where(ledger.c.serial == serial))
    return rows[0] if rows else None


def count(store: Store, chosen: CertificateFilter) -> int:
    """How many rows there are; the filter's limit is not looked at. Raises Unavailable."""
    with store.reading() as connection:
        return connection.execute(select(func.count()).select_from(ledger).where(*_conditions(chosen))).scalar_one()


def leaves(store: Store, issuer_id: str, *, now: datetime) -> Leaves:
    """How many leaves of an issuer live, and when the last of all ends, without our serving certificates.

    Raises Unavailable.
    """
    of_issuer = (ledger.c.issuer_id == issuer_id, not_serving())
    live = select(func.count()).where(*of_issuer, ledger.c.not_after >= micros(now))
    last = select(func.max(ledger.c.not_after)).where(*of_issuer)
    with store.reading() as connection:
        alive, end = connection.execute(select(live.scalar_subquery(), last.scalar_subquery())).one()
    return Leaves(live=alive, last_end=None if end is None else moment(end))


def _rows(store: Store, query: Select[tuple[object, ...]]) -> list[CertificateRow]:
    with store.reading() as connection:
        return [certificate_row(row) for row in connection.execute(query).mappings()]


def _conditions(chosen: CertificateFilter) -> list[ColumnElement[bool]]:
    columns = (
        (ledger.c.namespace, chosen.namespace),
        (ledger.c.service_account, chosen.service_account),
        (ledger.c.pod, chosen.pod),
        (ledger.c.issuer_id, chosen.issuer),
        (ledger.c.service, chosen.service),
        (ledger.c.cluster, chosen.cluster),
    )
    conditions: list[ColumnElement[bool]] = [column == wanted for column, wanted in columns if wanted]
    if chosen.live_at is not None:
        now = micros(chosen.live_at)
        conditions += (ledger.c.not_before <= now, ledger.c.not_after >= now)
    return conditions
