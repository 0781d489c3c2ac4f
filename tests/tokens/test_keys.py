"""How long keys are believed: read seldom, read at once for an unknown key, kept while their source is away."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from meshca.errors import Unavailable
from meshca.tokens.keys import HOLD, PAUSE, HeldKeys, file_keys
from tests.tokens.mint import Mint, jwks

OLD, NEW = Mint(kid="old"), Mint(number=1, kid="new")
PERIOD = timedelta(minutes=5)


class Source:
    """A place that publishes keys, with a clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.document = jwks(OLD)
        self.failure: Exception | None = None
        self.reads = 0
        self.gate: asyncio.Event | None = None
        self.now = 1000.0
        self.held = HeldKeys(self.read, source="the test", period=PERIOD, monotonic=lambda: self.now)

    async def read(self) -> bytes:
        self.reads += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return self.document

    def wait(self, time: timedelta) -> None:
        self.now += time.total_seconds()

    async def names(self) -> set[str]:
        """Which of the two keys are among the present ones."""
        keys = await self.held.keys()
        return {mint.kid for mint in (OLD, NEW) if keys.find(mint.kid)}


async def settle() -> None:
    """Let what was started in the background come to its end."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def source() -> Source:
    return Source()


async def test_keys_are_read_once_for_a_period(source: Source) -> None:
    for _ in range(3):
        assert await source.names() == {"old"}
        source.wait(PERIOD / 4)

    assert source.reads == 1
    assert source.held.age == 3 * PERIOD / 4


async def test_after_a_period_they_are_read_again_while_nobody_waits(source: Source) -> None:
    await source.names()
    source.document = jwks(OLD, NEW)
    source.wait(PERIOD)

    assert await source.names() == {"old"}
    await settle()
    assert await source.names() == {"old", "new"}
    assert source.reads == 2


async def test_after_a_long_silence_they_are_read_again_before_they_are_used(source: Source) -> None:
    await source.names()
    source.document = jwks(NEW)
    source.wait(2 * PERIOD)

    assert await source.names() == {"new"}


async def test_the_last_good_keys_are_kept_while_their_source_is_away_but_not_for_ever(source: Source) -> None:
    await source.names()
    source.failure = Unavailable("no route")

    source.wait(HOLD - timedelta(seconds=1))
    assert await source.names() == {"old"}
    assert "no route" in source.held.failure
    source.wait(PAUSE)
    with pytest.raises(Unavailable, match="read from the test: no route"):
        await source.names()


async def test_when_the_source_is_back_the_keys_are(source: Source) -> None:
    source.failure = OSError(111, "Connection refused")
    with pytest.raises(Unavailable, match="Connection refused"):
        await source.names()

    source.failure = None
    source.wait(PAUSE)

    assert await source.names() == {"old"}
    assert source.held.failure == ""


async def test_a_document_that_is_no_key_set_leaves_the_last_good_keys(source: Source) -> None:
    await source.names()
    source.document = b"<html>sign in</html>"
    source.wait(2 * PERIOD)

    assert await source.names() == {"old"}
    assert "JSON object" in source.held.failure


async def test_for_an_unknown_key_they_are_read_at_once_and_then_not_for_a_while(source: Source) -> None:
    await source.names()
    source.wait(PAUSE)
    source.document = jwks(OLD, NEW)

    assert (await source.held.newer()).find("new")
    for _ in range(100):
        await source.held.newer()
    assert source.reads == 2
    source.wait(PAUSE)
    await source.held.newer()
    assert source.reads == 3


async def test_a_source_that_is_away_is_not_asked_again_and_again(source: Source) -> None:
    source.failure = Unavailable("away")

    for _ in range(50):
        with pytest.raises(Unavailable, match="away"):
            await source.held.keys()
        with pytest.raises(Unavailable, match="away"):
            await source.held.newer()

    assert source.reads == 1


async def test_an_unknown_key_while_the_source_is_away_is_unavailable(source: Source) -> None:
    await source.names()
    source.failure = Unavailable("away")
    source.wait(PAUSE)

    with pytest.raises(Unavailable, match="away"):
        await source.held.newer()
    assert await source.names() == {"old"}


async def test_callers_who_come_at_once_share_one_reading(source: Source) -> None:
    source.gate = asyncio.Event()
    waiting = [asyncio.create_task(source.names()) for _ in range(20)]
    await settle()

    source.gate.set()

    assert await asyncio.gather(*waiting) == [{"old"}] * 20
    assert source.reads == 1


async def test_a_caller_who_hangs_up_takes_the_keys_from_nobody(source: Source) -> None:
    source.gate = asyncio.Event()
    first, second = asyncio.create_task(source.names()), asyncio.create_task(source.names())
    await settle()

    first.cancel()
    await settle()
    source.gate.set()

    assert await second == {"old"}
    assert first.cancelled()


async def test_an_unchanged_document_keeps_what_was_learnt_with_it(source: Source) -> None:
    before = await source.held.keys()
    source.wait(2 * PERIOD)

    assert await source.held.keys() is before
    assert source.reads == 2


async def test_keys_read_seldom_are_held_for_three_periods() -> None:
    source = Source()
    source.held = HeldKeys(source.read, source="x", period=timedelta(hours=2), monotonic=lambda: source.now)
    await source.names()
    source.failure = Unavailable("away")

    source.wait(timedelta(hours=6) - timedelta(seconds=1))
    assert await source.names() == {"old"}
    source.wait(PAUSE)
    with pytest.raises(Unavailable):
        await source.names()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_changed_file_is_noticed_within_a_second_of_use(tmp_path: Path) -> None:
    path, clock = tmp_path / "jwks.json", Clock()
    path.write_bytes(jwks(OLD))
    keys = file_keys(path, monotonic=clock)
    await keys.keys()

    path.write_bytes(jwks(NEW))

    assert (await keys.keys()).find("old")
    clock.now += 1
    await keys.keys()
    await settle()
    assert (await keys.keys()).find("new")


async def test_an_unknown_key_is_looked_for_in_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks(OLD))
    keys = file_keys(path, monotonic=Clock())
    await keys.keys()

    path.write_bytes(jwks(OLD, NEW))

    assert (await keys.newer()).find("new")


async def test_a_file_replaced_by_renaming_is_noticed(tmp_path: Path) -> None:
    """As Kubernetes replaces a mounted ConfigMap: the folder behind a symbolic link changes."""
    for name, mint in (("one", OLD), ("two", NEW)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "jwks.json").write_bytes(jwks(mint))
    (tmp_path / "data").symlink_to("one")
    keys = file_keys(tmp_path / "data" / "jwks.json")
    await keys.keys()

    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").rename(tmp_path / "data")

    assert (await keys.newer()).find("new")


async def test_a_missing_file_is_named_and_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"jwks\.json: No such file"):
        await file_keys(tmp_path / "jwks.json").keys()


@pytest.mark.parametrize("content", [b"", b"{}", b" " * 70_000])
async def test_a_file_that_holds_no_keys_is_unavailable(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(content)

    with pytest.raises(Unavailable):
        await file_keys(path).keys()


async def test_a_file_that_is_emptied_leaves_the_last_good_keys(tmp_path: Path) -> None:
    """Somebody writes it in place: for a moment it is empty."""
    path, clock = tmp_path / "jwks.json", Clock()
    path.write_bytes(jwks(OLD))
    keys = file_keys(path, monotonic=clock)
    await keys.keys()

    path.write_bytes(b"")
    clock.now += 10

    assert (await keys.keys()).find("old")
    assert "empty" in keys.failure
