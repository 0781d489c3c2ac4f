"""What is counted and measured. Every name here stands in ``docs/metrics.md``; a test compares the two.

Several processes write: prometheus-client's multiprocess mode keeps each one's values in files,
and the control process adds them up when it is asked. That mode is chosen by an environment
variable which must be there before the package is imported, so :func:`prepare` comes first.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

FOLDER = "PROMETHEUS_MULTIPROC_DIR"

LATENCIES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
COMMIT_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


def prepare(folder: Path) -> None:
    """Say where the processes keep their values; before any :class:`Metrics` is made."""
    os.environ[FOLDER] = str(folder)


class Metrics:
    """All metrics of a process. Made once, by its composition root."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        registry = CollectorRegistry()
        self.registry: CollectorRegistry = registry
        self.requests = Counter(
            "meshca_requests_total",
            "Requests for a certificate, by service, namespace (empty until proven), result (issued, or an error's class)",
            ["service", "namespace", "result"],
            registry=registry,
        )
        self.refusals = Counter(
            "meshca_refusals_total",
            "Refused requests, by service and the check that said no",
            ["service", "check"],
            registry=registry,
        )
        self.tokens = Counter(
            "meshca_token_validations_total",
            "Token validations, by cluster, kind of validator and result: proven, refused or unavailable",
            ["cluster", "kind", "result"],
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "meshca_stage_seconds",
            "Seconds of each stage of a request: prove, judge, sign, record",
            ["stage"],
            buckets=LATENCIES,
            registry=registry,
        )
        self.request_seconds = Histogram(
            "meshca_request_seconds",
            "Seconds of a whole request, by service",
            ["service"],
            buckets=LATENCIES,
            registry=registry,
        )
        self.commit_seconds = Histogram(
            "meshca_ledger_commit_seconds", "Seconds of a ledger commit", buckets=LATENCIES, registry=registry
        )
        self.commit_size = Histogram(
            "meshca_ledger_commit_size", "Certificates in one commit", buckets=COMMIT_SIZES, registry=registry
        )
        self.commit_failures = Counter(
            "meshca_ledger_commit_failures_total", "Ledger commits that failed", registry=registry
        )
        self.shared_keys = Counter(
            "meshca_shared_keys_total",
            "Certificates issued for a key that another identity has used",
            registry=registry,
        )
        self.expiry = Gauge(
            "meshca_expiry_timestamp_seconds",
            "When it ends (Unix time), by kind: root, issuer, serving",
            ["kind", "id"],
            multiprocess_mode="mostrecent",
            registry=registry,
        )
        self.epoch = Gauge(
            "meshca_epoch",
            "The loaded epoch of the authority set",
            multiprocess_mode="liveall",
            registry=registry,
        )
        self.bundle_sequence = Gauge(
            "meshca_bundle_sequence",
            "The sequence of the trust bundle that is handed out",
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.worker_restarts = Counter(
            "meshca_worker_restarts_total", "Workers that ended and were started again", registry=registry
        )
        self.rotation_failures = Counter(
            "meshca_rotation_failures_total", "Steps of a rotation that could not be taken", registry=registry
        )

    def ends(self, kind: str, identifier: str, moment: datetime) -> None:
        """Note when a root, an issuer or a serving certificate ends."""
        self.expiry.labels(kind, identifier).set(moment.timestamp())


def exposition() -> bytes:
    """All processes' values, in Prometheus' text format."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return generate_latest(registry)


def forget(pid: int) -> None:
    """Drop the live gauges of a process that has ended."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid)
