"""Walking the ledger: is every row as it was recorded, and is none missing?

What the walk cannot see alone is the end of a chain: rows cut off at the end, or a writer's rows all
together, leave nothing behind. So the heads go to the audit log each minute, and a head that was
seen there is given to the walk as a witness.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import Connection, Row, RowMapping, func, select

from meshca.errors import shown
from meshca.store.encoding import COLUMNS, ENCODING, body, running_hash
from meshca.store.engine import Store
from meshca.store.schema import ledger, ledger_writers
from meshca.store.times import moment

_BATCH = 500


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a writer's chain: everything before it is in its hash."""

    writer: str
    counter: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """What the walk says of a writer: a fault, or, once and at its end, that there was none."""

    writer: str
    rows: int
    """Rows that had been read by then."""
    fault: str
    """Empty when the rows and their hashes agree."""


@dataclass(slots=True)
class _Chain:
    """Where the walk is in a writer's rows."""

    writer: str
    encoding: int
    counter: int = 0
    hash: bytes = b""
    rows: int = 0
    witnesses: dict[int, bytes] = field(default_factory=dict)

    def finding(self, fault: str = "") -> Finding:
        return Finding(self.writer, self.rows, fault)


def heads(store: Store) -> list[Head]:
    """The end of each writer's chain, of one moment, in the order in which the writers started; a writer
    without rows has the end that pruning left, or counter 0.

    Raises Unavailable.
    """
    row = ledger.alias()
    newest = select(func.max(row.c.counter)).where(row.c.writer == ledger_writers.c.writer).scalar_subquery()
    ends = (
        select(
            ledger_writers.c.writer,
            func.coalesce(ledger.c.counter, ledger_writers.c.pruned_through),
            func.coalesce(ledger.c.running_hash, ledger_writers.c.pruned_hash),
        )
        .select_from(ledger_writers)
        .outerjoin(ledger, (ledger.c.writer == ledger_writers.c.writer) & (ledger.c.counter == newest))
        .order_by(ledger_writers.c.started, ledger_writers.c.writer)
    )
    with store.reading() as connection:
        return [Head(*row) for row in connection.execute(ends)]


def walk(store: Store, *, witnesses: Iterable[Head] = ()) -> Iterator[Finding]:
    """Recompute every writer's running hashes and compare each certificate with its row.

    For each writer: a finding for every fault, or a single one without a fault. It reads in batches,
    and may run while rows are recorded and pruned. Raises Unavailable.
    """
    seen = list(witnesses)
    with store.reading() as connection:
        writers = list(connection.execute(select(ledger_writers).order_by(ledger_writers.c.started)))
        strangers = set(connection.scalars(select(ledger.c.writer).distinct()))
    for row in writers:
        strangers.discard(row.writer)
        yield from _walk_writer(store, row, [head for head in seen if head.writer == row.writer])
    for writer in sorted(strangers):
        yield Finding(writer, 0, "there are rows of a writer that never started")
    for head in seen:
        if head.writer not in {row.writer for row in writers}:
            yield Finding(head.writer, 0, f"the writer is gone; it had recorded {head.counter} rows")


def _walk_writer(store: Store, writer: Row[Any], witnesses: list[Head]) -> Iterator[Finding]:
    chain = _Chain(writer.writer, writer.encoding, witnesses={head.counter: head.hash for head in witnesses})
    if writer.encoding != ENCODING:
        yield chain.finding(f"its rows have encoding {writer.encoding}, which this version does not know")
        return
    faults = 0
    first = True
    while True:
        with store.reading() as connection:
            found, rows = _next(connection, chain, first=first)
        first = False
        for fault in found:
            faults += 1
            yield chain.finding(fault)
        if not rows:
            break
        for row in rows:
            for fault in _step(chain, row):
                faults += 1
                yield chain.finding(fault)
    for counter in sorted(counter for counter in chain.witnesses if counter > chain.counter):
        faults += 1
        yield chain.finding(f"counter {counter} was seen as the chain's head and is not there: the end was cut off")
    if not faults:
        yield chain.finding()


def _next(connection: Connection, chain: _Chain, *, first: bool) -> tuple[list[str], list[RowMapping]]:
    """The next rows, from where pruning is by now when that is further."""
    faults = []
    of_writer = ledger.c.writer == chain.writer
    pruned = connection.execute(
        select(ledger_writers.c.pruned_through, ledger_writers.c.pruned_hash).where(
            ledger_writers.c.writer == chain.writer
        )
    ).one()
    if first or pruned.pruned_through > chain.counter:
        chain.counter, chain.hash = pruned
    if first:
        # Nothing hashes them, so nothing may be there.
        before = connection.scalar(select(func.count()).where(of_writer, ledger.c.counter <= chain.counter))
        if before:
            faults.append(f"{before} rows stand before counter {chain.counter + 1}, where the chain begins")
        if chain.witnesses.get(chain.counter, chain.hash) != chain.hash:
            faults.append(f"counter {chain.counter} has another hash than the one that was seen as the chain's head")
    query = select(ledger).where(of_writer, ledger.c.counter > chain.counter).order_by(ledger.c.counter).limit(_BATCH)
    return faults, list(connection.execute(query).mappings())


def _step(chain: _Chain, row: RowMapping) -> Iterator[str]:
    counter, stored = row["counter"], row["running_hash"]
    chain.rows += 1
    if counter != chain.counter + 1:
        yield f"counters {chain.counter + 1} to {counter - 1} are missing"
    elif stored != running_hash(chain.hash, counter, body(chain.writer, tuple(row[name] for name in COLUMNS))):
        yield f"counter {counter} (serial {row['serial']}) is not as it was recorded: its hash does not follow"
    if chain.witnesses.get(counter, stored) != stored:
        yield f"counter {counter} has another hash than the one that was seen as the chain's head"
    for fault in _disagreements(row):
        yield f"counter {counter} (serial {row['serial']}): {fault}"
    # Go on from what is there, so that one fault is one finding.
    chain.counter, chain.hash = counter, stored


def _disagreements(row: RowMapping) -> Iterator[str]:
    """Where a certificate does not say what its row says."""
    try:
        certificate = x509.load_der_x509_certificate(row["der"])
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm) as error:
        yield f"its certificate cannot be read: {shown(error)}"
        return
    for name, said in (
        ("serial", f"{certificate.serial_number:032x}"),
        ("spki_sha256", hashlib.sha256(key).digest()),
        ("not_before", certificate.not_valid_before_utc),
        ("not_after", certificate.not_valid_after_utc),
    ):
        stored = moment(row[name]) if name.startswith("not_") else row[name]
        if stored != said:
            yield f"its certificate has another {name}"
