"""What is counted and measured. Every name here stands in ``docs/metrics.md``; a test compares the two.

A process keeps its own figures as plain numbers, which costs well under a microsecond for each event. A
worker tells them to the control process, which adds up all processes' and writes them in Prometheus'
form when it is asked (ADR 9). What a worker that has ended had counted goes on counting.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prometheus_client.core import Metric

LATENCIES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
COMMIT_SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)

Labels = tuple[str, ...]
Snapshot = dict[str, list[tuple[list[str], list[float]]]]
"""Of each metric, by name: its label values and its numbers. JSON can carry it."""


@dataclass(slots=True)
class Family:
    """One metric with all its label values. What the numbers are is the subclass's matter."""

    name: str
    text: str
    labels: Labels = ()
    values: dict[Labels, list[float]] = field(default_factory=dict)

    def add(self, labels: Labels, numbers: list[float]) -> None:
        """Take over what another process has: sums for counters and histograms."""
        mine = self.values.setdefault(labels, [0.0] * len(numbers))
        self.values[labels] = [one + other for one, other in zip(mine, numbers, strict=True)]


@dataclass(slots=True)
class Counter(Family):
    """Only grows."""

    def inc(self, *labels: str, by: float = 1.0) -> None:
        value = self.values.get(labels)
        if value is None:
            value = self.values[labels] = [0.0]
        value[0] += by


@dataclass(slots=True)
class Gauge(Family):
    """Is what it was last set to, whichever process said so."""

    def set(self, value: float, *labels: str) -> None:
        self.values[labels] = [value]

    def add(self, labels: Labels, numbers: list[float]) -> None:
        self.values[labels] = numbers


@dataclass(slots=True)
class Histogram(Family):
    """How often a value fell between two bounds; the last number is the sum of all values."""

    bounds: tuple[float, ...] = LATENCIES

    def observe(self, value: float, *labels: str) -> None:
        numbers = self.values.get(labels)
        if numbers is None:
            numbers = self.values[labels] = [0.0] * (len(self.bounds) + 2)
        numbers[bisect_left(self.bounds, value)] += 1
        numbers[-1] += value


class Metrics:
    """All metrics of a process. Made once, by its composition root."""

    def __init__(self) -> None:
        self.requests = Counter(
            "meshca_requests_total",
            "Requests for a certificate; namespace is empty until proven, result is issued or an error's class",
            ("service", "namespace", "result"),
        )
        self.refusals = Counter(
            "meshca_refusals_total", "Refused requests, by the check that said no", ("service", "check")
        )
        self.tokens = Counter(
            "meshca_token_validations_total",
            "Token validations; result is proven, refused or unavailable",
            ("cluster", "kind", "result"),
        )
        self.stage_seconds = Histogram(
            "meshca_stage_seconds", "Seconds of each stage of a request: prove, judge, sign, record", ("stage",)
        )
        self.request_seconds = Histogram(
            "meshca_request_seconds", "Seconds of a whole request that was served", ("service",)
        )
        self.commit_seconds = Histogram("meshca_ledger_commit_seconds", "Seconds of a ledger commit")
        self.commit_size = Histogram(
            "meshca_ledger_commit_size", "Certificates in one ledger commit", bounds=COMMIT_SIZES
        )
        self.commit_failures = Counter("meshca_ledger_commit_failures_total", "Ledger commits that failed")
        self.shared_keys = Counter(
            "meshca_shared_keys_total", "Requests with a key that another identity has used (csr.shared_keys)"
        )
        self.expiry = Gauge(
            "meshca_expiry_timestamp_seconds", "When a root, issuer or serving certificate ends", ("kind", "id")
        )
        self.epoch = Gauge("meshca_epoch", "The epoch of the authority set that a worker has loaded", ("worker",))
        self.bundle_sequence = Gauge(
            "meshca_bundle_sequence", "The sequence of the trust bundle that a worker hands out", ("worker",)
        )
        self.worker_restarts = Counter("meshca_worker_restarts_total", "Workers that ended and were started again")
        self.rotation_failures = Counter(
            "meshca_rotation_failures_total", "Steps of a rotation that could not be taken"
        )

    def families(self) -> list[Family]:
        return [each for each in vars(self).values() if isinstance(each, Family)]

    def ends(self, kind: str, identifier: str, moment: datetime) -> None:
        """Note when a root, an issuer or a serving certificate ends."""
        self.expiry.set(moment.timestamp(), kind, identifier)

    def snapshot(self) -> Snapshot:
        """All figures, to be told to another process."""
        return {
            each.name: [(list(labels), numbers) for labels, numbers in each.values.items()] for each in self.families()
        }

    def take_over(self, snapshot: Snapshot, *, gauges: bool = True) -> None:
        """Add another process's figures; what its gauges said ends with it, so they may be left out."""
        known = {each.name: each for each in self.families()}
        for name, series in snapshot.items():
            if gauges or not isinstance(known[name], Gauge):
                for labels, numbers in series:
                    known[name].add(tuple(labels), numbers)


class Exposition:
    """All processes' figures in Prometheus' form."""

    def __init__(self, own: Metrics) -> None:
        """``own`` are the control process's."""
        self._own = own
        self._past = Metrics()
        self._present: dict[int, Snapshot] = {}

    def heard(self, worker: int, snapshot: Snapshot) -> None:
        """A worker told its figures."""
        self._present[worker] = snapshot

    def ended(self, worker: int) -> None:
        """A worker has ended; the next one of its seat begins at zero."""
        snapshot = self._present.pop(worker, None)
        if snapshot is not None:
            self._past.take_over(snapshot, gauges=False)

    def text(self) -> bytes:
        """Prometheus' text format."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """What prometheus-client asks a collector for."""
        total = Metrics()
        for snapshot in (self._own.snapshot(), self._past.snapshot(), *self._present.values()):
            total.take_over(snapshot)
        for family in total.families():
            yield _written(family)


def _written(family: Family) -> Metric:
    """A family as prometheus-client writes it; one without labels is there from the beginning, at zero."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    written: Any
    match family:
        case Counter():
            written = CounterMetricFamily(family.name, family.text, labels=family.labels)
            for labels, (value,) in _series(family, 1):
                written.add_metric(labels, value)
        case Histogram():
            written = HistogramMetricFamily(family.name, family.text, labels=family.labels)
            for labels, (*counts, total) in _series(family, len(family.bounds) + 2):
                written.add_metric(labels, _cumulative(family.bounds, counts), total)
        case _:
            written = GaugeMetricFamily(family.name, family.text, labels=family.labels)
            for labels, (value,) in family.values.items():
                written.add_metric(labels, value)
    result: Metric = written
    return result


def _series(family: Family, size: int) -> Iterator[tuple[Labels, list[float]]]:
    if not family.values and not family.labels:
        yield (), [0.0] * size
    yield from family.values.items()


def _cumulative(bounds: tuple[float, ...], counts: list[float]) -> list[tuple[str, float]]:
    buckets, reached = [], 0.0
    for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
        reached += count
        buckets.append((bound, reached))
    return buckets
