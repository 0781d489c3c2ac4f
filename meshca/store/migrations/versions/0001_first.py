"""The first schema: the authority set, the ledger with its writers, heartbeats."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _column(name: str, type_: sa.types.TypeEngine[Any], *constraints: sa.ForeignKey) -> sa.Column[Any]:
    return sa.Column(name, type_, *constraints, nullable=False)


def upgrade() -> None:
    _authorities()
    _ledger()
    op.create_table(
        "heartbeats",
        sa.Column("worker", sa.Text, primary_key=True),
        _column("epoch", _number()),
        _column("at", _number()),
        sqlite_strict=True,
    )


def _authorities() -> None:
    op.create_table(
        "authority_set",
        sa.Column("id", _number(), sa.CheckConstraint("id = 1", name="one_row"), primary_key=True, autoincrement=False),
        _column("trust_domain", sa.Text()),
        _column("epoch", _number()),
        _column("bundle_sequence", _number()),
        _column("created", _number()),
        sqlite_strict=True,
    )
    op.create_table(
        "roots",
        sa.Column("id", sa.Text, primary_key=True),
        _column("authority_set", _number(), sa.ForeignKey("authority_set.id")),
        _column("position", _number()),
        _column("state", sa.Text()),
        _column("spki_sha256", sa.LargeBinary()),
        _column("certificate", sa.Text()),
        sqlite_strict=True,
    )
    op.create_table(
        "issuers",
        sa.Column("id", sa.Text, primary_key=True),
        _column("authority_set", _number(), sa.ForeignKey("authority_set.id")),
        _column("position", _number()),
        _column("state", sa.Text()),
        _column("root_id", sa.Text()),
        _column("spki_sha256", sa.LargeBinary()),
        _column("key_kind", sa.Text()),
        _column("sealed_key", sa.LargeBinary()),
        _column("chain", sa.Text()),
        _column("because", sa.Text()),
        _column("created", _number()),
        sqlite_strict=True,
    )
    _unique_where("one_issuer_on_its_way", "state IN ('loaded', 'signed', 'staged')")
    _unique_where("one_active_issuer", "state = 'active'")


def _unique_where(name: str, condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "issuers", ["authority_set"], unique=True, sqlite_where=where)


def _ledger() -> None:
    op.create_table(
        "ledger_writers",
        sa.Column("writer", sa.Text, primary_key=True),
        _column("started", _number()),
        _column("host", sa.Text()),
        _column("pid", _number()),
        _column("encoding", _number()),
        _column("pruned_through", _number()),
        _column("pruned_hash", sa.LargeBinary()),
        sqlite_strict=True,
    )
    texts = ("identity", "cluster", "namespace", "service_account", "pod", "pod_uid", "node", "peer")
    op.create_table(
        "ledger",
        sa.Column("serial", sa.Text, primary_key=True),
        *(_column(name, sa.Text()) for name in (*texts, "service", "proof", "credential", "request_id")),
        _column("spki_sha256", sa.LargeBinary()),
        *(_column(name, _number()) for name in ("not_before", "not_after", "issued")),
        _column("der", sa.LargeBinary()),
        _column("issuer_id", sa.Text()),
        *(_column(name, _number()) for name in ("epoch", "bundle_sequence")),
        _column("writer", sa.Text(), sa.ForeignKey("ledger_writers.writer")),
        _column("counter", _number()),
        _column("running_hash", sa.LargeBinary()),
        sa.UniqueConstraint("writer", "counter", name="one_row_a_counter"),
        sqlite_strict=True,
    )
    op.create_index("ledger_issued", "ledger", ["issued"])
    not_ours = sa.text("service != 'serving'")
    leaves = ["issuer_id", "not_after", "service"]
    op.create_index("ledger_leaves", "ledger", leaves, sqlite_where=not_ours)
    op.create_index("ledger_keys", "ledger", ["spki_sha256", "identity"])


def downgrade() -> None:
    raise NotImplementedError("a ledger is not thrown away: restore the backup that was made before the upgrade")
