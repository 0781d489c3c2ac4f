"""Which identities get certificates here, and how long these may live at most and at least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from meshca.errors import Denied, Misconfigured, shown
from meshca.identity import Identity
from meshca.patterns import ANY, Pattern


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a rule says of lifetimes; None leaves it to the listener's profile."""

    minimum: timedelta | None = None
    maximum: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One line of the policy: whom it speaks of, and what it says."""

    effect: Literal["allow", "deny"]
    cluster: Pattern = ANY
    namespace: Pattern = ANY
    service_account: Pattern = ANY
    bounds: Bounds = Bounds()

    def __post_init__(self) -> None:
        low, high = self.bounds.minimum, self.bounds.maximum
        if self.effect == "deny" and (low, high) != (None, None):
            raise Misconfigured(f"a rule of the policy denies and has lifetimes ({self}); leave them out")
        for name, value in (("min_lifetime", low), ("max_lifetime", high)):
            if value is not None and value <= timedelta():
                raise Misconfigured(f"{name} of a rule of the policy is {value} ({self}); it must be longer than zero")
        if low is not None and high is not None and low > high:
            raise Misconfigured(f"min_lifetime {low} is over max_lifetime {high} in a rule of the policy ({self})")

    def __str__(self) -> str:
        return (
            f"{self.effect} cluster {self.cluster}, namespace {self.namespace}, service account {self.service_account}"
        )

    def speaks_of(self, identity: Identity) -> bool:
        return (
            self.namespace.matches(identity.namespace)
            and self.service_account.matches(identity.account)
            and self.cluster.matches(identity.cluster)
        )


class Policy:
    """Ordered rules: the first that speaks of an identity decides; whom none speaks of is denied."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)

    def allow(self, identity: Identity) -> Bounds:
        """The bounds of the rule that allows this identity. Raises Denied (check ``policy``)."""
        for number, rule in enumerate(self._rules, start=1):
            if rule.speaks_of(identity):
                if rule.effect == "allow":
                    return rule.bounds
                raise Denied(f"rule {number} of the policy denies {_who(identity)} ({rule})", check="policy")
        raise Denied(
            f"no rule of the policy speaks of {_who(identity)}, so it is denied; add an allow rule for it",
            check="policy",
        )


def _who(identity: Identity) -> str:
    return f"{identity} of cluster {shown(identity.cluster)}"
