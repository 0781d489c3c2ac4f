from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshca.config.notation import (
    LONGEST,
    duration_text,
    fraction_text,
    parse_duration,
    parse_fraction,
    parse_size,
)

DURATIONS = {
    "30d": timedelta(days=30),
    "24h": timedelta(hours=24),
    "10m": timedelta(minutes=10),
    "20s": timedelta(seconds=20),
    "500ms": timedelta(milliseconds=500),
    "1h30m": timedelta(minutes=90),
    "1d2h3m4s5ms": timedelta(days=1, hours=2, minutes=3, seconds=4, milliseconds=5),
    "0s": timedelta(),
    "36500d": LONGEST,
}


@pytest.mark.parametrize(("text", "duration"), DURATIONS.items())
def test_a_duration_is_read(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text",
    [
        *("", "5", "s", "1.5h", "-1s", "+1s", " 1s", "1s ", "1s\n", "1 s", "1S", "1M", "1w", "1s1h", "1h1h", "h1"),
        *("P30D", "１s", "1,000s", "36501d", "999999999999999d", "9999999999999999d", "1ms1s"),
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(days=1), "24h"),
        (timedelta(days=30), "30d"),
        (timedelta(hours=36), "36h"),
        (timedelta(hours=48), "2d"),
        (timedelta(minutes=90), "90m"),
        (timedelta(minutes=1447), "24h7m"),
        (timedelta(seconds=60), "1m"),
        (timedelta(milliseconds=1500), "1s500ms"),
        (timedelta(milliseconds=500), "500ms"),
        (timedelta(), "0s"),
        (timedelta(days=36500), "36500d"),
    ],
)
def test_a_duration_is_printed_as_people_write_it(duration: timedelta, text: str) -> None:
    assert duration_text(duration) == text


@given(st.integers(0, LONGEST // timedelta(milliseconds=1)))
def test_a_printed_duration_reads_back_the_same(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(duration_text(duration)) == duration


@pytest.mark.parametrize(
    ("written", "fraction"),
    [("50%", 0.5), ("0.5", 0.5), ("5%", 0.05), ("0", 0), ("1", 1), ("100%", 1), ("33.3%", 0.333), (0.25, 0.25), (1, 1)],
)
def test_a_fraction_is_read(written: object, fraction: float) -> None:
    assert parse_fraction(written) == fraction


@pytest.mark.parametrize(
    "written",
    [
        "",
        "5",
        "101%",
        "1.1",
        "-1%",
        "%",
        ".5",
        "50 %",
        "5e-1",
        "nan",
        "inf",
        "５%",
        True,
        None,
        float("nan"),
        2.0,
        [0.5],
    ],
)
def test_what_is_no_fraction_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        parse_fraction(written)


@given(st.integers(0, 1_000_000))
def test_a_printed_fraction_reads_back_the_same(millionths: int) -> None:
    fraction = parse_fraction(millionths / 1_000_000)
    assert fraction == millionths / 1_000_000
    assert parse_fraction(fraction_text(fraction)) == fraction


@pytest.mark.parametrize(
    ("written", "size"), [("65536", 65536), (65536, 65536), ("64KiB", 65536), ("1MiB", 1048576), ("0", 0)]
)
def test_a_size_is_read(written: object, size: int) -> None:
    assert parse_size(written) == size


@pytest.mark.parametrize("written", ["", "64KB", "64K", "64kib", "1.5MiB", "-1", "1 MiB", 1.0, True, None, "9" * 13])
def test_what_is_no_size_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="bytes"):
        parse_size(written)
