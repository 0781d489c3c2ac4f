"""What the control process does by the clock, on APScheduler: rotation, pruning, the audit of the ledger, expiry."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from meshca.clock import utc_now
from meshca.config import Config
from meshca.errors import MeshcaError, SignerFault, Unavailable
from meshca.roots.bundle import bundle_pem
from meshca.rotation.authority_set import AuthoritySet, IssuerState
from meshca.rotation.controller import Controller
from meshca.server.logs import Logger
from meshca.server.metrics import Metrics
from meshca.store import ControlStore, Head

ROTATE = timedelta(milliseconds=500)
PRUNE = timedelta(hours=1)
AUDIT = timedelta(minutes=1)
EXPIRY = timedelta(seconds=30)


@contextlib.contextmanager
def schedule(
    config: Config,
    *,
    controller: Controller,
    store: ControlStore,
    metrics: Metrics,
    log: Logger,
    bundle_file: Path | None,
) -> Iterator[None]:
    """Run the jobs for the length of the block. A job that fails says so and is run again at its time."""
    jobs = _Jobs(config, controller=controller, store=store, metrics=metrics, log=log, bundle_file=bundle_file)
    scheduler = BackgroundScheduler(
        executors={"default": ThreadPoolExecutor(2)},
        # Late is better than never, and once is enough when several were missed.
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        timezone="UTC",
    )
    for job, every, at_once in (
        (jobs.rotate, ROTATE, True),
        (jobs.expiry, EXPIRY, True),
        (jobs.audit, AUDIT, False),
        (jobs.prune, PRUNE, False),
    ):
        first = {"next_run_time": utc_now()} if at_once else {}
        scheduler.add_job(jobs.guarded(job), "interval", seconds=every.total_seconds(), **first)
    scheduler.start()
    try:
        yield
    finally:
        scheduler.shutdown(wait=True)


class _Jobs:
    def __init__(
        self,
        config: Config,
        *,
        controller: Controller,
        store: ControlStore,
        metrics: Metrics,
        log: Logger,
        bundle_file: Path | None,
    ) -> None:
        self._config = config
        self._controller = controller
        self._store = store
        self._metrics = metrics
        self._log = log
        self._bundle_file = bundle_file
        self._written = 0
        self._heads: dict[str, int] = {}
        self._said: dict[str, str] = {}
        self._seen: tuple[int, dict[str, IssuerState]] = (0, {})

    def guarded(self, job: Callable[[], None]) -> Callable[[], None]:
        """The job, whose errors are logged once for each text, so that a root that is away for a day is one line."""
        name = job.__name__

        def run() -> None:
            try:
                job()
            except MeshcaError as error:
                if name == "rotate":
                    self._metrics.rotation_failures.inc()
                if self._said.get(name) != str(error):
                    self._said[name] = str(error)
                    say = self._log.critical if isinstance(error, SignerFault) else self._log.error
                    say("job failed", job=name, reason=str(error))
            else:
                if self._said.pop(name, None) is not None:
                    self._log.info("job recovered", job=name)

        return run

    def rotate(self) -> None:
        """One step of a rotation, if its gates allow one."""
        present = self._controller.step()
        self._tell(present)
        self._write_bundle(present)

    def _write_bundle(self, present: AuthoritySet) -> None:
        """Keep the file current, in one step, so that no reader sees half of it."""
        if self._bundle_file is None or self._written == present.bundle_sequence:
            return
        new = self._bundle_file.with_name(self._bundle_file.name + ".new")
        try:
            new.write_text(bundle_pem(present.bundle))
            os.replace(new, self._bundle_file)
        except OSError as error:
            raise Unavailable(f"the bundle file {self._bundle_file} cannot be written: {error.strerror}") from None
        self._written = present.bundle_sequence

    def _tell(self, present: AuthoritySet) -> None:
        epoch, states = self._seen
        if present.epoch == epoch:
            return
        now = {issuer.id: issuer.state for issuer in present.issuers}
        if epoch:
            for issuer in present.issuers:
                if states.get(issuer.id) != issuer.state:
                    self._log.info(
                        "issuer",
                        issuer=issuer.id,
                        state=issuer.state,
                        epoch=present.epoch,
                        because=issuer.because,
                    )
        self._seen = (present.epoch, now)

    def expiry(self) -> None:
        """When roots and issuers end."""
        present = self._store.authorities.read()
        if present is None:
            return
        ends = {("root", root.id): root.certificate.not_valid_after_utc for root in present.roots}
        for issuer in present.issuers:
            if issuer.state in {IssuerState.ACTIVE, IssuerState.RETIRING}:
                ends["issuer", issuer.id] = issuer.chain[0].not_valid_after_utc
        # All anew, so that an issuer that is retired is alarmed about no more.
        self._metrics.expiry.values = {labels: [moment.timestamp()] for labels, moment in ends.items()}

    def audit(self) -> None:
        """The heads of the running hashes that moved on, into the log: it gives a row away that is changed later."""
        for head in self._store.heads():
            if self._heads.get(head.writer) != head.counter:
                self._heads[head.writer] = head.counter
                self._witness(head)

    def _witness(self, head: Head) -> None:
        self._log.info("ledger head", writer=head.writer, counter=head.counter, hash=head.hash.hex())

    def prune(self) -> None:
        """Delete rows that were kept long enough; what is at the end of a chain is logged before."""
        deleted = self._store.prune(keep=self._config.ledger.keep, now=utc_now(), witness=self._witness)
        if deleted:
            self._log.info("ledger pruned", rows=deleted)
