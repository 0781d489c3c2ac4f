from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from meshca.config import Config, Issuer, Leaf, Rotation
from meshca.config.rules.lifetimes import issuer_outlives_its_leaves, remedies
from tests.config.examined import accepted, only


def test_bounds_follow_the_lifetime_unless_set() -> None:
    for lifetime, shortest in [("24h", timedelta(minutes=5)), ("20s", timedelta(seconds=20))]:
        leaf = accepted(f"leaf.lifetime={lifetime}").leaf
        assert (leaf.min_lifetime, leaf.max_lifetime) == (shortest, leaf.lifetime)


def test_lives_of_seconds_are_possible() -> None:
    config = accepted(
        *("leaf.lifetime=2s", "leaf.jitter=0", "issuer.lifetime=60s", "rotation.propagation=1s", "rotation.skew=0s")
    )
    assert (config.leaf.lifetime, config.issuer.lifetime) == (timedelta(seconds=2), timedelta(seconds=60))


@pytest.mark.parametrize("field", ["leaf.lifetime", "leaf.min_lifetime", "leaf.max_lifetime", "issuer.lifetime"])
def test_a_life_below_a_second_is_refused(field: str) -> None:
    path, problem = only(f"{field}=999ms")
    assert (path, problem.seen, problem.remedy) == (field, "'999ms'", "write at least 1s")


def test_a_minimum_over_the_lifetime_is_refused() -> None:
    path, problem = only("leaf.min_lifetime=25h")
    assert (path, problem.seen, problem.remedy) == ("leaf.min_lifetime", "25h", "write at most leaf.lifetime, 24h")


def test_a_maximum_under_the_lifetime_is_refused() -> None:
    path, problem = only("leaf.max_lifetime=23h")
    assert (path, problem.seen, problem.remedy) == ("leaf.max_lifetime", "23h", "write at least leaf.lifetime, 24h")


def test_bounds_may_equal_the_lifetime() -> None:
    accepted("leaf.min_lifetime=24h", "leaf.max_lifetime=24h")


def test_jitter_of_more_than_half_is_refused() -> None:
    accepted("leaf.jitter=50%")
    assert only("leaf.jitter=50.1%")[0] == "leaf.jitter"


@pytest.mark.parametrize("share", ["0", "100%"])
def test_an_issuer_is_replaced_during_its_life(share: str) -> None:
    path, problem = only(f"issuer.rotate_at={share}")
    assert path == "issuer.rotate_at"
    assert "during its life" in problem.remedy


@pytest.mark.parametrize(("field", "value"), [("min_lifetime", "4m"), ("max_lifetime", "25h"), ("max_lifetime", "4m")])
def test_a_policy_rule_that_would_widen_the_bounds_is_refused(field: str, value: str) -> None:
    path, problem = only(f"policy.0.{field}={value}")
    assert path == f"policy.0.{field}"
    assert "5m to 24h" in problem.remedy


def test_a_policy_rule_may_narrow_the_bounds_to_one_life() -> None:
    accepted("policy.0.min_lifetime=1h", "policy.0.max_lifetime=1h")


def test_a_policy_rule_whose_minimum_is_over_its_maximum_is_refused() -> None:
    path, problem = only("policy.0.min_lifetime=2h", "policy.0.max_lifetime=1h")
    assert (path, problem.remedy) == ("policy.0.min_lifetime", "write at most this rule's max_lifetime, 1h")


def test_an_issuer_that_ends_before_its_last_leaves_is_refused() -> None:
    path, problem = only("issuer.lifetime=48h")
    assert (path, problem.seen) == ("issuer.lifetime", "2d")
    assert "take 24h7m" in problem.remedy


@pytest.mark.parametrize(
    ("lifetime", "fits"), [("120s", True), ("119s", False), ("119s999ms", False)], ids=["exact", "less", "hardly less"]
)
def test_the_rest_of_an_issuer_may_be_exactly_what_is_needed(lifetime: str, fits: bool) -> None:
    # 10 % of 120s are left for a leaf of 9s, 2s of propagation and 1s of skew.
    settings = [
        *(f"issuer.lifetime={lifetime}", "issuer.rotate_at=90%", "leaf.lifetime=9s"),
        *("rotation.propagation=2s", "rotation.skew=1s"),
    ]
    if fits:
        accepted(*settings)
    else:
        assert only(*settings)[0] == "issuer.lifetime"


def test_the_longest_leaf_counts_and_not_the_usual_one() -> None:
    accepted("issuer.lifetime=3d", "leaf.lifetime=1h")
    assert only("issuer.lifetime=3d", "leaf.lifetime=1h", "leaf.max_lifetime=48h")[0] == "issuer.lifetime"


def test_the_remedy_names_what_would_do() -> None:
    remedy = only("issuer.lifetime=10d", "issuer.rotate_at=95%")[1].remedy
    assert remedy.endswith(
        "write issuer.lifetime of at least 21d or issuer.rotate_at of at most 89% or "
        "leaf.max_lifetime of at most 11h53m"
    )


def test_where_no_value_would_do_the_remedy_says_so() -> None:
    remedy = only("issuer.lifetime=1s", "leaf.lifetime=1s", "rotation.propagation=36500d")[1].remedy
    assert remedy.endswith("write shorter leaves and a shorter rotation.propagation")


seconds = st.integers(1, 10_000_000).map(lambda number: timedelta(seconds=number))
pauses = st.integers(0, 1_000_000).map(lambda number: timedelta(milliseconds=number))


@given(issuer=seconds, leaf=seconds, share=st.integers(1, 99), propagation=pauses, skew=pauses)
def test_each_value_of_the_remedy_alone_would_do(
    issuer: timedelta, leaf: timedelta, share: int, propagation: timedelta, skew: timedelta
) -> None:
    config = Config(
        trust_domain="x",
        issuer=Issuer(lifetime=issuer, rotate_at=share / 100),
        leaf=Leaf(lifetime=leaf),
        rotation=Rotation(propagation=propagation, skew=skew),
    )
    assume(list(issuer_outlives_its_leaves.check(config)))
    for remedy in remedies(config):
        match = re.fullmatch(r"(issuer|leaf)\.(\w+) of at (?:least|most) (\S+)", remedy)
        assert match is not None, remedy
        changed = config.model_dump(mode="json")
        changed[match[1]][match[2]] = match[3]
        assert list(issuer_outlives_its_leaves.check(Config.model_validate(changed))) == [], remedy
