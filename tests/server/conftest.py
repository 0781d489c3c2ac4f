"""A world that many tests share: each takes what it needs and leaves it running."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world import World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world") / "d") as running:
        yield running


@pytest.fixture
def own_world(tmp_path: Path) -> World:
    """A world of a test's own, not started yet."""
    return World(tmp_path / "d")
