"""Rules about how long certificates live, and when issuers are replaced (DESIGN §8)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta

from meshca.config.model import Config
from meshca.config.notation import LONGEST, duration_text, fraction_text
from meshca.config.problems import Path, Problem
from meshca.config.rules.rule import rule

MAX_JITTER = 0.5
"""More than half of a life taken off would surprise whoever configured that life."""

_SECOND = timedelta(seconds=1)
_STEPS = (timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), _SECOND)


@rule("leaf")
def lifetime_within_bounds(config: Config) -> Iterator[Problem]:
    """What is granted unless somebody asks must be what may be granted."""
    leaf = config.leaf
    if leaf.min_lifetime > leaf.lifetime:
        yield _bound(
            ("leaf", "min_lifetime"), leaf.min_lifetime, f"at most leaf.lifetime, {duration_text(leaf.lifetime)}"
        )
    if leaf.max_lifetime < leaf.lifetime:
        yield _bound(
            ("leaf", "max_lifetime"), leaf.max_lifetime, f"at least leaf.lifetime, {duration_text(leaf.lifetime)}"
        )


@rule("leaf")
def jitter_at_most_half(config: Config) -> Iterator[Problem]:
    """See MAX_JITTER."""
    if config.leaf.jitter > MAX_JITTER:
        yield Problem(
            ("leaf", "jitter"), f"write at most {fraction_text(MAX_JITTER)}", fraction_text(config.leaf.jitter)
        )


@rule("policy", "leaf")
def rules_within_leaf_bounds(config: Config) -> Iterator[Problem]:
    """A rule of policy narrows the bounds of ``leaf``; what would widen them has no effect, so it is refused."""
    low, high = config.leaf.min_lifetime, config.leaf.max_lifetime
    for index, line in enumerate(config.policy):
        for name in ("min_lifetime", "max_lifetime"):
            bound = getattr(line, name)
            if bound is not None and not low <= bound <= high:
                yield _bound(
                    ("policy", index, name),
                    bound,
                    f"between leaf.min_lifetime and leaf.max_lifetime, {duration_text(low)} to {duration_text(high)}, "
                    "or change those",
                )


@rule("policy")
def rule_bounds_in_order(config: Config) -> Iterator[Problem]:
    """No life is longer than its minimum and shorter than a smaller maximum."""
    for index, line in enumerate(config.policy):
        if line.min_lifetime and line.max_lifetime and line.min_lifetime > line.max_lifetime:
            yield _bound(
                ("policy", index, "min_lifetime"),
                line.min_lifetime,
                f"at most this rule's max_lifetime, {duration_text(line.max_lifetime)}",
            )


@rule("issuer", "leaf", "rotation")
def issuer_outlives_its_leaves(config: Config) -> Iterator[Problem]:
    """``issuer lifetime × (1 − rotate_at) ≥ longest leaf + propagation + skew`` (DESIGN §8).

    Otherwise the last leaves of an issuer would be cut short by its end, and a rotation that waits
    for something would find the old issuer dead. The remedy computes what would do.
    """
    issuer, leaf, rotation = config.issuer, config.leaf, config.rotation
    rest = rest_of(issuer.lifetime, issuer.rotate_at)
    margin = rotation.propagation + rotation.skew
    if rest >= leaf.max_lifetime + margin:
        return
    yield Problem(
        ("issuer", "lifetime"),
        f"{duration_text(rest)} of it are left after rotate_at {fraction_text(issuer.rotate_at)}, and the longest leaf "
        f"({duration_text(leaf.max_lifetime)}) + rotation.propagation ({duration_text(rotation.propagation)}) + "
        f"rotation.skew ({duration_text(rotation.skew)}) take {duration_text(leaf.max_lifetime + margin)}: "
        f"write {' or '.join(remedies(config)) or 'shorter leaves and a shorter rotation.propagation'}",
        duration_text(issuer.lifetime),
    )


def rest_of(lifetime: timedelta, rotate_at: float) -> timedelta:
    """What an issuer has left when it is replaced. In integers, since 60s at 10% must leave 54s and not 53.999999s."""
    millionths = 1_000_000 - round(rotate_at * 1_000_000)
    return lifetime * millionths / 1_000_000


def remedies(config: Config) -> Iterator[str]:
    """The values, each of which alone would satisfy :func:`issuer_outlives_its_leaves`, in whole units."""
    issuer, longest = config.issuer, config.leaf.max_lifetime
    margin = config.rotation.propagation + config.rotation.skew
    needed = longest + margin
    lifetime = _rounded_up(needed / (1 - issuer.rotate_at))
    if lifetime <= LONGEST:
        yield f"issuer.lifetime of at least {duration_text(lifetime)}"
    percent = math.floor((1 - needed / issuer.lifetime) * 100)
    if percent >= 1:
        yield f"issuer.rotate_at of at most {percent}%"
    leaf = rest_of(issuer.lifetime, issuer.rotate_at) - margin
    leaf -= leaf % _SECOND
    if leaf >= _SECOND:
        yield f"leaf.max_lifetime of at most {duration_text(leaf)}"


def _rounded_up(duration: timedelta) -> timedelta:
    """To the largest unit of which it has at least ten, so that it is at most a tenth longer."""
    step = next((step for step in _STEPS if duration >= 10 * step), _SECOND)
    return -(-duration // step) * step


def _bound(path: Path, found: timedelta, wanted: str) -> Problem:
    return Problem(path, f"write {wanted}", duration_text(found))


RULES = (
    lifetime_within_bounds,
    jitter_at_most_half,
    rules_within_leaf_bounds,
    rule_bounds_in_order,
    issuer_outlives_its_leaves,
)
