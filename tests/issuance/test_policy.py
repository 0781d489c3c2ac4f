"""The policy: the first rule that speaks of an identity decides, and whom none speaks of is denied."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import pytest

from meshca.errors import Denied, Misconfigured
from meshca.identity import Identity
from meshca.issuance.policy import Bounds, Policy, Rule
from meshca.names import ServiceAccount, TrustDomain
from meshca.patterns import Pattern

TD = TrustDomain("cluster.local")
HOUR = timedelta(hours=1)
OPEN = Bounds()


def who(namespace: str = "shop", name: str = "cart", cluster: str = "Kubernetes") -> Identity:
    account = ServiceAccount(namespace, name)
    return Identity(account.spiffe_id(TD), cluster, account)


def rule(effect: Literal["allow", "deny"], bounds: Bounds = OPEN, /, **patterns: str) -> Rule:
    return Rule(effect=effect, bounds=bounds, **{name: Pattern(text) for name, text in patterns.items()})


def test_the_rule_that_allows_gives_its_bounds() -> None:
    bounds = Bounds(minimum=HOUR, maximum=2 * HOUR)

    assert Policy([rule("allow", bounds)]).allow(who()) == bounds


def test_a_rule_without_bounds_leaves_them_open() -> None:
    assert Policy([rule("allow")]).allow(who()) == Bounds(None, None)


def test_without_rules_everybody_is_denied() -> None:
    with pytest.raises(Denied, match=r"no rule .* speaks of spiffe://cluster.local/ns/shop/sa/cart") as refusal:
        Policy([]).allow(who())

    assert refusal.value.check == "policy"


@pytest.mark.parametrize(
    "patterns",
    [
        {"cluster": "east"},
        {"namespace": "pay"},
        {"namespace": "shop-*"},
        {"service_account": "car"},
        {"cluster": "Kubernetes", "namespace": "shop", "service_account": "till"},
        {"cluster": "east", "namespace": "shop", "service_account": "cart"},
    ],
)
def test_a_rule_counts_only_when_all_of_its_patterns_match(patterns: dict[str, str]) -> None:
    with pytest.raises(Denied, match="no rule"):
        Policy([rule("allow", **patterns)]).allow(who())


def test_the_first_rule_that_matches_decides() -> None:
    policy = Policy(
        [
            rule("allow", Bounds(maximum=HOUR), namespace="kube-system", service_account="ok"),
            rule("deny", namespace="kube-*"),
            rule("allow", Bounds(maximum=2 * HOUR)),
        ]
    )

    assert policy.allow(who("kube-system", "ok")).maximum == HOUR
    assert policy.allow(who("shop")).maximum == 2 * HOUR
    with pytest.raises(Denied, match=r"rule 2 of the policy denies .* \(deny cluster \*, namespace kube-\*") as refusal:
        policy.allow(who("kube-system", "other"))
    assert refusal.value.check == "policy"


def test_a_deny_behind_an_allow_that_matches_changes_nothing() -> None:
    assert Policy([rule("allow"), rule("deny")]).allow(who()) == Bounds()


def test_who_is_no_service_account_is_not_meant_by_a_star() -> None:
    machine = Identity(TD.spiffe_id, "Kubernetes")

    with pytest.raises(Denied, match="no rule"):
        Policy([rule("allow")]).allow(machine)


@pytest.mark.parametrize(
    ("effect", "bounds", "why"),
    [
        ("deny", Bounds(maximum=HOUR), "leave them out"),
        ("deny", Bounds(minimum=HOUR), "leave them out"),
        ("allow", Bounds(maximum=timedelta()), "longer than zero"),
        ("allow", Bounds(minimum=-HOUR), "longer than zero"),
        ("allow", Bounds(minimum=2 * HOUR, maximum=HOUR), "over max_lifetime"),
    ],
)
def test_a_rule_that_contradicts_itself_is_refused(effect: Literal["allow", "deny"], bounds: Bounds, why: str) -> None:
    with pytest.raises(Misconfigured, match=why):
        rule(effect, bounds)


def test_equal_bounds_are_no_contradiction() -> None:
    assert rule("allow", Bounds(minimum=HOUR, maximum=HOUR)).bounds.maximum == HOUR
