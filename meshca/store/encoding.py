"""A ledger row as values of the database, and the bytes that its running hash covers.

Running hash, encoding 1. With ``previous`` the hash of the row before (32 zero bytes for a writer's
first)::

    SHA-256( previous · counter · five numbers · seventeen lengths · seventeen fields )

Numbers are signed 64-bit, lengths unsigned 32-bit, both big-endian: not_before, not_after, issued
(microseconds, ``times.py``), epoch, bundle_sequence. The fields are, in this order: writer, serial,
identity, cluster, namespace, service_account, pod, pod_uid, node, peer, service, proof, credential,
request_id, issuer_id (text, in UTF-8), then spki_sha256 and der. All lengths stand before all
fields, so no two rows have the same bytes.

A writer says in its own row which encoding it uses, so that a later version can add a field and
still read what is there.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping

from meshca.issuance.ledger import Entry, serial_text
from meshca.store.schema import ledger
from meshca.store.times import micros, moment

ENCODING = 1
"""What :func:`body` writes and ``ledger_writers.encoding`` says."""

GENESIS = bytes(32)
"""What a writer's first row has for ``previous``."""

COLUMNS = tuple(column.name for column in ledger.columns)
"""In the order in which :func:`values` gives them; the last three are the ledger's own."""

_ENTRY = len(COLUMNS) - 3
_HEADER = struct.Struct(">5q17I")
_COUNTER = struct.Struct(">q")
_MAX_SERIAL = 1 << 128


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """A row of the ledger: what was recorded, and where it stands in its writer's chain."""

    entry: Entry
    writer: str
    counter: int
    running_hash: bytes


def values(entry: Entry) -> tuple[Any, ...]:
    """An entry's values for all columns but the last three.

    Raises ValueError for what no row can hold: a serial of more than 16 bytes, a moment without a zone.
    """
    if not 0 < entry.serial < _MAX_SERIAL:
        raise ValueError("a serial is positive and has 16 bytes at most")
    return (
        serial_text(entry.serial),
        entry.identity,
        entry.cluster,
        entry.namespace,
        entry.service_account,
        entry.pod,
        entry.pod_uid,
        entry.node,
        entry.peer,
        entry.service,
        entry.proof,
        entry.credential,
        entry.request_id,
        entry.spki_sha256,
        micros(entry.not_before),
        micros(entry.not_after),
        micros(entry.issued),
        entry.der,
        entry.issuer_id,
        entry.epoch,
        entry.bundle_sequence,
    )


def body(writer: str, row: tuple[Any, ...]) -> bytes:
    """What the running hash covers of a row besides its counter. ``row`` begins as :func:`values` gives it.

    Raises ValueError for text that is not Unicode, struct.error for a number beyond 64 bits.
    """
    *texts, spki, not_before, not_after, issued, der, issuer_id, epoch, bundle_sequence = row[:_ENTRY]
    fields = [text.encode() for text in (writer, *texts, issuer_id)]
    fields += (spki, der)
    return _HEADER.pack(not_before, not_after, issued, epoch, bundle_sequence, *map(len, fields)) + b"".join(fields)


def running_hash(previous: bytes, counter: int, covered: bytes) -> bytes:
    """The hash of the row at this counter."""
    return hashlib.sha256(previous + _COUNTER.pack(counter) + covered).digest()


def certificate_row(stored: RowMapping) -> CertificateRow:
    """A stored row as the value that went in."""
    return CertificateRow(
        entry=Entry(
            serial=int(stored["serial"], 16),
            identity=stored["identity"],
            cluster=stored["cluster"],
            namespace=stored["namespace"],
            service_account=stored["service_account"],
            pod=stored["pod"],
            pod_uid=stored["pod_uid"],
            node=stored["node"],
            peer=stored["peer"],
            service=stored["service"],
            proof=stored["proof"],
            credential=stored["credential"],
            request_id=stored["request_id"],
            spki_sha256=stored["spki_sha256"],
            not_before=moment(stored["not_before"]),
            not_after=moment(stored["not_after"]),
            issued=moment(stored["issued"]),
            der=stored["der"],
            issuer_id=stored["issuer_id"],
            epoch=stored["epoch"],
            bundle_sequence=stored["bundle_sequence"],
        ),
        writer=stored["writer"],
        counter=stored["counter"],
        running_hash=stored["running_hash"],
    )
