"""The tables. ``migrations/`` makes them; a test proves that both say the same.

Moments are integers (``times.py``), serials and writers are hexadecimal text, hashes and
certificates of the ledger are bytes. On SQLite the tables are STRICT, so that a column holds the
type that it says.

Each index of the ledger costs on every certificate; measured on SQLite with 400 000 rows (groups of
eight), a random one costs 10 to 18 µs of CPU a row and one that grows at its end about 1 µs. What is
here earns it:

- ``serial`` (primary key, random): ``certs show``, and no serial twice.
- ``writer, counter`` (grows): no counter twice; the walk and the pruning go along it.
- ``issued`` (grows): ``certs list`` has the newest first; the clock rule asks for the last one.
- ``issuer_id, not_after, service`` without our serving leaves (nearly grows): the gate *no-live-leaves*, which the
  control process asks often; with ``service`` SQLite answers it from the index alone.
- ``spki_sha256, identity`` (random): the check for a shared key, made with every certificate. It
  holds the identity, too, so that a proxy that keeps its key for years costs no more than a new one.

There is none for namespace or pod: an auditor's filter reads the table along ``issued``.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
)
from sqlalchemy.types import TypeEngine

from meshca.rotation.authority_set import ON_ITS_WAY, IssuerState

REVISIONS = ("0001",)
"""Every revision of the schema that this version knows, the present one last."""


def _number() -> TypeEngine[int]:
    """64 bits; STRICT tables of SQLite know them as INTEGER only."""
    return BigInteger().with_variant(Integer(), "sqlite")


metadata = MetaData()

authority_set = Table(
    "authority_set",
    metadata,
    Column("id", _number(), CheckConstraint("id = 1", name="one_row"), primary_key=True, autoincrement=False),
    Column("trust_domain", Text, nullable=False),
    Column("epoch", _number(), nullable=False),
    Column("bundle_sequence", _number(), nullable=False),
    Column("created", _number(), nullable=False),
    sqlite_strict=True,
)

roots = Table(
    "roots",
    metadata,
    Column("id", Text, primary_key=True),
    Column("authority_set", _number(), ForeignKey("authority_set.id"), nullable=False),
    Column("position", _number(), nullable=False),
    Column("state", Text, nullable=False),
    Column("spki_sha256", LargeBinary, nullable=False),
    Column("certificate", Text, nullable=False),
    sqlite_strict=True,
)

issuers = Table(
    "issuers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("authority_set", _number(), ForeignKey("authority_set.id"), nullable=False),
    Column("position", _number(), nullable=False),
    Column("state", Text, nullable=False),
    Column("root_id", Text, nullable=False),
    Column("spki_sha256", LargeBinary, nullable=False),
    Column("key_kind", Text, nullable=False),
    Column("sealed_key", LargeBinary, nullable=False),
    Column("chain", Text, nullable=False),
    Column("because", Text, nullable=False),
    Column("created", _number(), nullable=False),
    sqlite_strict=True,
)

# Conditions are SQLite's: to name PostgreSQL's as well loads its dialect, 2 MB in every process, and follows with it.
_on_its_way = issuers.c.state.in_(sorted(ON_ITS_WAY))
Index(
    "one_issuer_on_its_way",
    issuers.c.authority_set,
    unique=True,
    sqlite_where=_on_its_way,
)
_active = issuers.c.state == IssuerState.ACTIVE
Index(
    "one_active_issuer",
    issuers.c.authority_set,
    unique=True,
    sqlite_where=_active,
)

ledger_writers = Table(
    "ledger_writers",
    metadata,
    Column("writer", Text, primary_key=True),
    Column("started", _number(), nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", _number(), nullable=False),
    Column("encoding", _number(), nullable=False),
    # Where the walk starts: the last counter that was pruned, and its running hash.
    Column("pruned_through", _number(), nullable=False),
    Column("pruned_hash", LargeBinary, nullable=False),
    sqlite_strict=True,
)

ledger = Table(
    "ledger",
    metadata,
    Column("serial", Text, primary_key=True),
    Column("identity", Text, nullable=False),
    Column("cluster", Text, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("service_account", Text, nullable=False),
    Column("pod", Text, nullable=False),
    Column("pod_uid", Text, nullable=False),
    Column("node", Text, nullable=False),
    Column("peer", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("proof", Text, nullable=False),
    Column("credential", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("spki_sha256", LargeBinary, nullable=False),
    Column("not_before", _number(), nullable=False),
    Column("not_after", _number(), nullable=False),
    Column("issued", _number(), nullable=False),
    Column("der", LargeBinary, nullable=False),
    Column("issuer_id", Text, nullable=False),
    Column("epoch", _number(), nullable=False),
    Column("bundle_sequence", _number(), nullable=False),
    Column("writer", Text, ForeignKey("ledger_writers.writer"), nullable=False),
    Column("counter", _number(), nullable=False),
    Column("running_hash", LargeBinary, nullable=False),
    UniqueConstraint("writer", "counter", name="one_row_a_counter"),
    sqlite_strict=True,
)

SERVING = "serving"
"""The service of our own listeners' certificates, which no gate waits for (DESIGN §5)."""


def not_serving() -> ColumnElement[bool]:
    """The condition of the index on leaves. A query repeats it letter by letter, or the index is not used."""
    return ledger.c.service != literal_column(f"'{SERVING}'")


Index("ledger_issued", ledger.c.issued)
Index(
    "ledger_leaves",
    ledger.c.issuer_id,
    ledger.c.not_after,
    ledger.c.service,
    sqlite_where=not_serving(),
)
Index("ledger_keys", ledger.c.spki_sha256, ledger.c.identity)

heartbeats = Table(
    "heartbeats",
    metadata,
    Column("worker", Text, primary_key=True),
    Column("epoch", _number(), nullable=False),
    Column("at", _number(), nullable=False),
    sqlite_strict=True,
)
