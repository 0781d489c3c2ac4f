"""A rotation takes its steps in order, and waits where a gate does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from meshca.rotation.authority_set import AuthoritySet, Issuer, IssuerState
from meshca.rotation.controller import Controller, IssuerPlan
from meshca.rotation.gates import Leaves, Replica
from tests.fakes.authority_store import MemoryAuthorityStore
from tests.rotation.authorities import KEK, KEY_TYPE, LIFETIME, NOW, TRUST_DOMAIN, active_set, new_root

SKEW = timedelta(minutes=2)


@dataclass
class Evidence:
    """What replicas and the ledger say, as a test sets it."""

    epoch: int = 1
    last_end: datetime | None = NOW + timedelta(hours=24)

    def replicas(self) -> Sequence[Replica]:
        return [Replica("a", self.epoch, NOW)]

    def leaves(self, issuer_id: str) -> Leaves:
        return Leaves(1 if self.last_end else 0, self.last_end)


@dataclass
class Rotation:
    """A controller over a set in memory, and the clock that it reads."""

    evidence: Evidence = field(default_factory=Evidence)
    now: datetime = NOW

    def __post_init__(self) -> None:
        root = new_root()
        self.store = MemoryAuthorityStore(active_set(root))
        plan = IssuerPlan(trust_domain=TRUST_DOMAIN, key_type=KEY_TYPE, lifetime=LIFETIME, rotate_at=0.66, skew=SKEW)
        self.controller = Controller(
            store=self.store,
            source=lambda: root,
            kek=KEK,
            evidence=self.evidence,
            plan=plan,
            clock=lambda: self.now,
        )

    @property
    def present(self) -> AuthoritySet:
        return self.store.written[-1]

    @property
    def states(self) -> list[IssuerState]:
        return [issuer.state for issuer in self.present.issuers]

    def step(self) -> list[IssuerState]:
        self.controller.step()
        return self.states

    def until_loaded(self) -> None:
        self.controller.wish("a test")
        self.step()
        assert self.step() == [IssuerState.ACTIVE, IssuerState.LOADED]


@pytest.fixture
def rotation() -> Rotation:
    return Rotation()


def test_a_wish_goes_by_way_of_staged_signed_and_loaded_to_active(rotation: Rotation) -> None:
    rotation.controller.wish("a test")
    assert rotation.states == [IssuerState.ACTIVE, IssuerState.STAGED]
    assert rotation.step() == [IssuerState.ACTIVE, IssuerState.SIGNED]
    assert rotation.step() == [IssuerState.ACTIVE, IssuerState.LOADED]
    rotation.evidence.epoch = rotation.present.epoch
    assert rotation.step() == [IssuerState.RETIRING, IssuerState.ACTIVE]


def test_an_issuer_is_not_activated_while_a_gate_waits(rotation: Rotation) -> None:
    rotation.until_loaded()
    rotation.evidence.epoch = rotation.present.epoch - 1
    assert rotation.step() == [IssuerState.ACTIVE, IssuerState.LOADED]


def test_an_issuer_is_retired_only_when_its_last_leaf_has_ended(rotation: Rotation) -> None:
    rotation.until_loaded()
    rotation.evidence.epoch = rotation.present.epoch
    rotation.step()
    assert rotation.evidence.last_end is not None
    rotation.now = rotation.evidence.last_end + SKEW - timedelta(seconds=1)
    assert rotation.step() == [IssuerState.RETIRING, IssuerState.ACTIVE]
    rotation.now += timedelta(seconds=1)
    assert rotation.step() == [IssuerState.RETIRED, IssuerState.ACTIVE]
    assert rotation.present.issuers[0].sealed_key == b""


def test_a_second_wish_joins_the_first(rotation: Rotation) -> None:
    _, joined_first = rotation.controller.wish("one")
    _, joined_second = rotation.controller.wish("two")
    assert (joined_first, joined_second) == (False, True)
    assert len(rotation.present.issuers) == 2


def issuer_life(issuer: Issuer) -> tuple[datetime, timedelta]:
    certificate = issuer.chain[0]
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc - certificate.not_valid_before_utc


def test_an_issuer_is_replaced_unasked_after_its_share_of_life(rotation: Rotation) -> None:
    begins, life = issuer_life(rotation.present.active)
    rotation.now = begins + life * 0.66 - timedelta(seconds=1)
    assert rotation.step() == [IssuerState.ACTIVE]
    rotation.now += timedelta(seconds=2)
    assert rotation.step() == [IssuerState.ACTIVE, IssuerState.STAGED]


class _Behind(MemoryAuthorityStore):
    """A store into which another controller writes between our reading and our writing."""

    def __init__(self, present: AuthoritySet, others: AuthoritySet) -> None:
        super().__init__(present)
        self._others = others

    def replace(self, before: AuthoritySet, after: AuthoritySet) -> None:
        self.written.append(self._others)
        super().replace(before, after)


def test_who_comes_late_goes_on_with_what_the_other_wrote(rotation: Rotation) -> None:
    rotation.controller.wish("a test")
    staged = rotation.present
    rotation.controller.step()
    signed_by_the_other = rotation.present

    rotation.controller._store = late = _Behind(staged, signed_by_the_other)

    assert rotation.controller.step() == signed_by_the_other
    assert late.written == [staged, signed_by_the_other]
