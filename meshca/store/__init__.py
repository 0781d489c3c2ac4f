"""The store: the authority set, the ledger and the heartbeats in one database (SQLAlchemy, SQLite).

The only state that processes share (DESIGN §4). It implements the ports of the floors below:
``issuance.ledger.Ledger``, ``rotation.authority_set.AuthorityStore`` and ``rotation.gates.Evidence``.
"""

from __future__ import annotations

from meshca.store.audit import Finding, Head
from meshca.store.authorities import SqlAuthorityStore
from meshca.store.certificates import CertificateFilter
from meshca.store.encoding import CertificateRow
from meshca.store.engine import Store, open_store
from meshca.store.ledger import LedgerWriter, Pace, Reports
from meshca.store.processes import ControlStore, SqlEvidence, WorkerStore

__all__ = [
    "CertificateFilter",
    "CertificateRow",
    "ControlStore",
    "Finding",
    "Head",
    "LedgerWriter",
    "Pace",
    "Reports",
    "SqlAuthorityStore",
    "SqlEvidence",
    "Store",
    "WorkerStore",
    "open_store",
]
