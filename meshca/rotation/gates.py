"""Gates: conditions that must hold, with evidence, before a rotation takes its next step (DESIGN §8).

A gate never holds silently: it says how much of what it needs it has, and why it waits.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from meshca.errors import Misconfigured
from meshca.keys.signer import Signer
from meshca.names import TrustDomain
from meshca.roots.judge import judge
from meshca.rotation.authority_set import AuthoritySet, Issuer


class GateState(enum.StrEnum):
    """What a gate says."""

    HOLDS = "holds"
    WAITS = "waits"


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition and its evidence: ``have`` of ``need``."""

    name: str
    state: GateState
    reason: str
    have: int
    need: int


@dataclass(frozen=True, slots=True)
class Replica:
    """A process that issues, and the epoch that it has loaded, as it last said itself."""

    id: str
    epoch: int
    seen: datetime


@dataclass(frozen=True, slots=True)
class Leaves:
    """What the ledger knows of an issuer's leaves."""

    live: int
    last_end: datetime | None
    """The latest ``not_after`` of all, live or not; None when it never signed one."""


class Evidence(Protocol):
    """Where gates look."""

    def replicas(self) -> Sequence[Replica]:
        """Every replica that was heard of and has not said that it ended. Raises Unavailable."""

    def leaves(self, issuer_id: str) -> Leaves:
        """Our own serving certificates are not counted: they are replaced by us. Raises Unavailable."""


SILENT_AFTER = timedelta(seconds=10)
"""A replica not heard of for so long is held to be gone. If it only slept, the fence stops it."""


def replicas_loaded(present: AuthoritySet, replicas: Sequence[Replica], now: datetime) -> Gate:
    """Every live replica has loaded the present epoch, and with it the new issuer's key."""
    live = [each for each in replicas if now - each.seen <= SILENT_AFTER]
    behind = [each for each in live if each.epoch < present.epoch]
    if not live:
        return Gate("replicas-loaded", GateState.WAITS, "no replica has been heard of", 0, 1)
    have = len(live) - len(behind)
    if behind:
        reason = "behind: " + ", ".join(f"{each.id} at epoch {each.epoch}" for each in behind)
        return Gate("replicas-loaded", GateState.WAITS, reason, have, len(live))
    return Gate("replicas-loaded", GateState.HOLDS, f"all have loaded epoch {present.epoch}", have, len(live))


def chain_verifies(
    issuer: Issuer, signer: Signer, trust_domain: TrustDomain, present: AuthoritySet, now: datetime
) -> Gate:
    """A throwaway leaf under the new issuer verifies against the published bundle."""
    try:
        judge(issuer.chain, signer=signer, trust_domain=trust_domain, roots=present.bundle, now=now)
    except Misconfigured as error:
        return Gate("chain-verifies", GateState.WAITS, str(error), 0, 1)
    return Gate("chain-verifies", GateState.HOLDS, "a throwaway leaf verifies to a published root", 1, 1)


def no_live_leaves(leaves: Leaves, *, skew: timedelta, now: datetime) -> Gate:
    """The last leaf of an issuer has ended, with some allowance for clocks."""
    if leaves.last_end is None:
        return Gate("no-live-leaves", GateState.HOLDS, "it never signed a leaf", 0, 0)
    free = leaves.last_end + skew
    if now < free:
        reason = f"{leaves.live} live, the last one until {leaves.last_end:%Y-%m-%d %H:%M:%S}Z, and {skew} for clocks"
        return Gate("no-live-leaves", GateState.WAITS, reason, 0, max(leaves.live, 1))
    return Gate("no-live-leaves", GateState.HOLDS, f"the last one ended at {leaves.last_end}", 0, 0)
