"""A moment is one integer, and comes back exactly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshca.store.times import micros, moment


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])))
def test_a_moment_comes_back_to_the_microsecond(when: datetime) -> None:
    assert moment(micros(when)) == when


@given(st.tuples(*[st.datetimes(timezones=st.just(UTC))] * 2))
def test_integers_have_the_order_of_their_moments(pair: tuple[datetime, datetime]) -> None:
    first, second = pair
    assert (micros(first) < micros(second)) == (first < second)


def test_the_unit_is_microseconds_since_1970() -> None:
    assert micros(datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC)) == 1_000_005


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no zone"):
        micros(datetime(2026, 11, 23))
