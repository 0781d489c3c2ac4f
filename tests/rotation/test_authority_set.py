"""The rules by which the authority set changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshca.errors import Conflict
from meshca.rotation.authority_set import (
    ON_ITS_WAY,
    AuthoritySet,
    Issuer,
    IssuerState,
    abandoned,
    activated,
    loaded,
    retired,
    signed,
    stage,
)

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def issuer(identifier: str, state: IssuerState = IssuerState.STAGED) -> Issuer:
    return Issuer(
        id=identifier,
        state=state,
        root_id="root",
        spki_sha256=identifier.encode().ljust(32, b"\0"),
        key_kind="sealed",
        sealed_key=b"sealed " + identifier.encode(),
        chain=(),
        because="a test",
        created=NOW,
    )


def first_set() -> AuthoritySet:
    return AuthoritySet(
        trust_domain="cluster.local",
        epoch=1,
        bundle_sequence=1,
        roots=(),
        issuers=(issuer("first", IssuerState.ACTIVE),),
    )


def test_an_issuer_becomes_active_by_way_of_staged_signed_and_loaded() -> None:
    present = stage(first_set(), issuer("second"))
    present = signed(present, "second", ())
    present = loaded(present, "second")
    present = activated(present, "second")
    assert [each.state for each in present.issuers] == [IssuerState.RETIRING, IssuerState.ACTIVE]
    assert present.epoch == 5


def test_activation_is_one_change_so_that_there_is_never_none_or_two_active() -> None:
    before = loaded(signed(stage(first_set(), issuer("second")), "second", ()), "second")
    after = activated(before, "second")
    assert after.epoch == before.epoch + 1
    assert after.active.id == "second"


def test_a_second_issuer_on_its_way_is_refused() -> None:
    present = stage(first_set(), issuer("second"))
    with pytest.raises(Conflict, match="second is already staged"):
        stage(present, issuer("third"))


@pytest.mark.parametrize(
    ("move", "state"),
    [
        (lambda present: signed(present, "first", ()), "active"),
        (lambda present: loaded(present, "first"), "active"),
        (lambda present: activated(present, "first"), "retiring"),
        (lambda present: retired(present, "first"), "active"),
        (lambda present: abandoned(present, "first"), "active"),
        (lambda present: loaded(present, "nobody"), "no issuer nobody"),
    ],
)
def test_a_step_out_of_order_is_refused(move: Callable[[AuthoritySet], AuthoritySet], state: str) -> None:
    with pytest.raises(Conflict, match=state):
        move(first_set())


def test_the_sealed_key_of_an_issuer_that_signs_no_more_is_forgotten() -> None:
    present = loaded(signed(stage(first_set(), issuer("second")), "second", ()), "second")
    present = retired(activated(present, "second"), "first")
    assert present.issuer("first").sealed_key == b""
    assert present.issuer("second").sealed_key == b"sealed second"


def test_an_abandoned_issuer_keeps_its_row_and_makes_room_for_another() -> None:
    present = abandoned(stage(first_set(), issuer("second")), "second")
    assert present.issuer("second").state is IssuerState.ABANDONED
    assert stage(present, issuer("third")).on_its_way == issuer("third")


MOVES = ("stage", "sign", "load", "activate", "retire", "abandon")


@given(moves=st.lists(st.tuples(st.sampled_from(MOVES), st.integers(0, 5)), max_size=60))
def test_whatever_is_asked_there_is_one_active_and_at_most_one_on_its_way(
    moves: list[tuple[str, int]],
) -> None:
    present = first_set()
    for number, (move, which) in enumerate(moves):
        target = present.issuers[which % len(present.issuers)].id
        steps: dict[str, Callable[[AuthoritySet], AuthoritySet]] = {
            "stage": lambda before, number=number: stage(before, issuer(f"issuer-{number}")),  # type: ignore[misc] # the default binds it now
            "sign": lambda before, target=target: signed(before, target, ()),  # type: ignore[misc] # as above
            "load": lambda before, target=target: loaded(before, target),  # type: ignore[misc] # as above
            "activate": lambda before, target=target: activated(before, target),  # type: ignore[misc] # as above
            "retire": lambda before, target=target: retired(before, target),  # type: ignore[misc] # as above
            "abandon": lambda before, target=target: abandoned(before, target),  # type: ignore[misc] # as above
        }
        try:
            after = steps[move](present)
        except Conflict:
            continue
        assert after.epoch == present.epoch + 1
        present = after
        assert [each.state for each in present.issuers].count(IssuerState.ACTIVE) == 1
        assert sum(each.state in ON_ITS_WAY for each in present.issuers) <= 1


def test_a_set_is_never_changed_in_place() -> None:
    before = first_set()
    kept = replace(before)
    stage(before, issuer("second"))
    assert before == kept
