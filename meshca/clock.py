"""The clock as a value, so that rules take ``now`` and tests can say what time it is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Gives the present time with a zone. One request asks once."""


def utc_now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)
