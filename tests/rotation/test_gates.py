"""Gates hold on evidence, and say what they wait for."""

from __future__ import annotations

from datetime import timedelta

import pytest

from meshca.rotation.gates import (
    SILENT_AFTER,
    GateState,
    Leaves,
    Replica,
    chain_verifies,
    no_live_leaves,
    replicas_loaded,
)
from tests.rotation.authorities import NOW, TRUST_DOMAIN, loaded_set
from tests.rotation.test_authority_set import first_set

EPOCH = first_set().epoch
SKEW = timedelta(minutes=2)


def replica(name: str, *, epoch: int = EPOCH, silent: timedelta = timedelta()) -> Replica:
    return Replica(name, epoch, NOW - silent)


def test_replicas_that_have_all_loaded_the_epoch_let_it_pass() -> None:
    gate = replicas_loaded(first_set(), [replica("a"), replica("b", epoch=EPOCH + 1)], NOW)
    assert (gate.state, gate.have, gate.need) == (GateState.HOLDS, 2, 2)


def test_a_replica_that_is_behind_holds_the_activation_up() -> None:
    gate = replicas_loaded(first_set(), [replica("a"), replica("b", epoch=EPOCH - 1)], NOW)
    assert (gate.state, gate.have, gate.need) == (GateState.WAITS, 1, 2)
    assert f"b at epoch {EPOCH - 1}" in gate.reason


def test_a_replica_that_is_gone_is_not_waited_for() -> None:
    gone = replica("b", epoch=EPOCH - 1, silent=SILENT_AFTER + timedelta(seconds=1))
    assert replicas_loaded(first_set(), [replica("a"), gone], NOW).state is GateState.HOLDS


def test_a_replica_is_waited_for_as_long_as_it_may_be_there() -> None:
    slow = replica("b", epoch=EPOCH - 1, silent=SILENT_AFTER)
    assert replicas_loaded(first_set(), [replica("a"), slow], NOW).state is GateState.WAITS


@pytest.mark.parametrize("silent", [None, timedelta(hours=1)], ids=["never one", "none since an hour"])
def test_without_any_replica_the_gate_waits(silent: timedelta | None) -> None:
    heard = [] if silent is None else [replica("a", silent=silent)]
    gate = replicas_loaded(first_set(), heard, NOW)
    assert (gate.state, gate.have, gate.need) == (GateState.WAITS, 0, 1)


@pytest.mark.parametrize(
    ("since_the_end", "state"),
    [
        (timedelta(minutes=-5), GateState.WAITS),
        (timedelta(), GateState.WAITS),
        (SKEW - timedelta(seconds=1), GateState.WAITS),
        (SKEW, GateState.HOLDS),
    ],
)
def test_an_issuer_is_needed_until_its_last_leaf_has_ended_on_the_slowest_clock(
    since_the_end: timedelta, state: GateState
) -> None:
    live = int(since_the_end < timedelta())
    assert no_live_leaves(Leaves(live, NOW - since_the_end), skew=SKEW, now=NOW).state is state


def test_an_issuer_that_never_signed_is_not_needed() -> None:
    assert no_live_leaves(Leaves(0, None), skew=SKEW, now=NOW).state is GateState.HOLDS


def test_a_chain_to_a_published_root_verifies() -> None:
    present, signer = loaded_set()
    assert present.on_its_way is not None
    gate = chain_verifies(present.on_its_way, signer, TRUST_DOMAIN, present, NOW)
    assert gate.state is GateState.HOLDS


def test_a_chain_to_a_root_that_is_not_published_holds_the_activation_up() -> None:
    present, signer = loaded_set(publish=False)
    assert present.on_its_way is not None
    gate = chain_verifies(present.on_its_way, signer, TRUST_DOMAIN, present, NOW)
    assert gate.state is GateState.WAITS
    assert "none of the configured roots" in gate.reason
