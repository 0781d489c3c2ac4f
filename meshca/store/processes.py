"""The store as each process uses it: what the control process may do, and what a worker may."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

from meshca.clock import Clock, utc_now
from meshca.rotation.authority_set import AuthoritySet
from meshca.rotation.gates import Leaves, Replica
from meshca.store import audit, certificates, heartbeats
from meshca.store.audit import Finding, Head
from meshca.store.authorities import SqlAuthorityStore
from meshca.store.certificates import CertificateFilter
from meshca.store.encoding import CertificateRow
from meshca.store.engine import Store, open_store
from meshca.store.prune import prune


class SqlEvidence:
    """See :class:`meshca.rotation.gates.Evidence`."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def replicas(self) -> list[Replica]:
        """Raises Unavailable."""
        return heartbeats.replicas(self._store)

    def leaves(self, issuer_id: str) -> Leaves:
        """Raises Unavailable."""
        return certificates.leaves(self._store, issuer_id, now=self._clock())


class ControlStore:
    """What the control process does with the store. Every method waits for the database, and raises
    Unavailable when it does not answer."""

    def __init__(self, url: str, *, create: bool = False) -> None:
        """Opens the store and upgrades its schema; ``create`` makes it when it is missing, as ``meshca init`` does.

        Raises Misconfigured and Unavailable as :func:`meshca.store.engine.open_store` does.
        """
        self.store = open_store(url, create=create, migrate=True)
        self.authorities = SqlAuthorityStore(self.store)

    def evidence(self, clock: Clock) -> SqlEvidence:
        return SqlEvidence(self.store, clock)

    def certificates(self, chosen: CertificateFilter) -> Iterator[CertificateRow]:
        return certificates.certificates(self.store, chosen)

    def certificate(self, serial: str) -> CertificateRow | None:
        return certificates.certificate(self.store, serial)

    def heads(self) -> list[Head]:
        return audit.heads(self.store)

    def walk(self, *, witnesses: Iterable[Head] = ()) -> Iterator[Finding]:
        return audit.walk(self.store, witnesses=witnesses)

    def prune(self, *, keep: timedelta, now: datetime, witness: Callable[[Head], None] = lambda head: None) -> int:
        return prune(self.store, keep=keep, now=now, witness=witness)

    def close(self) -> None:
        self.store.close()


class WorkerStore:
    """What a worker does with the store besides recording: follow the epoch, and say that it lives.

    ``store`` is what its :class:`meshca.store.ledger.LedgerWriter` writes to.
    """

    def __init__(self, url: str, worker: str) -> None:
        """Opens a store whose schema is present. Raises Misconfigured and Unavailable."""
        self.store = open_store(url)
        self._worker = worker
        self._authorities = SqlAuthorityStore(self.store)

    def epoch(self) -> int:
        return self._authorities.epoch()

    def read(self) -> AuthoritySet | None:
        return self._authorities.read()

    def beat(self, epoch: int, *, clock: Clock = utc_now) -> None:
        heartbeats.beat(self.store, self._worker, epoch=epoch, now=clock())

    def end(self) -> None:
        """Say that this worker issues no more, so that no gate waits for it. Raises Unavailable."""
        heartbeats.end(self.store, self._worker)

    def close(self) -> None:
        self.store.close()
