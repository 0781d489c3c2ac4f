"""How the store writes a moment: whole microseconds since 1970-01-01T00:00:00Z, in one integer.

An integer sorts and compares alike in every database, has no zone to get wrong, and gives back
exactly the ``datetime`` that went in.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(moment: datetime) -> int:
    """The integer. Raises ValueError for a moment without a zone: nobody could say when it was."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no zone")
    return (moment - _EPOCH) // _MICROSECOND


def moment(stored: int) -> datetime:
    """The moment again, in UTC."""
    return _EPOCH + timedelta(microseconds=stored)
