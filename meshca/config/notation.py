"""How values are written in the configuration: durations, fractions, sizes, and how they are printed back.

What is printed is read back as the same value. Every refusal is a ValueError whose text is the
remedy; what was seen stands beside it in the list of problems, masked where it may hold a secret.
"""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_DURATION = re.compile("".join(rf"(?:([0-9]{{1,15}}){unit}(?![a-z]))?" for unit in _UNITS))
_FRACTION = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)(%)?")
_SIZE = re.compile(r"([0-9]{1,12})(KiB|MiB)?")
_SIZES = {None: 1, "KiB": 1024, "MiB": 1024 * 1024}

LONGEST = timedelta(days=36500)
"""A hundred years: what is longer is a typing error, and would leave the calendar of certificates."""


def parse_duration(text: str) -> timedelta:
    """``30d``, ``24h``, ``10m``, ``20s``, ``500ms``, and such together in that order: ``1h30m``.

    Raises ValueError without a unit, since ``30`` would be seconds for one reader and minutes for
    another, for fractions of a unit, and for more than LONGEST.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError("write whole numbers with a unit of d, h, m, s or ms, such as 30d, 24h, 1h30m or 500ms")
    parts = zip(match.groups(), _UNITS.items(), strict=True)
    # In whole milliseconds: a timedelta of 15 digits of days would overflow before it is compared.
    total = sum(int(number) * (size // timedelta(milliseconds=1)) for number, (_, size) in parts if number)
    if total > LONGEST // timedelta(milliseconds=1):
        raise ValueError(f"write at most {duration_text(LONGEST)}")
    return timedelta(milliseconds=total)


def duration_text(duration: timedelta) -> str:
    """The duration as people write it: in one unit where that takes at most two digits (``90m``), else in several.

    A single day is ``24h``. What is below a millisecond is cut off.
    """
    for unit, size in _UNITS.items():
        count, rest = divmod(duration, size)
        if not rest and 0 < count < 100 and not (unit == "d" and count == 1):
            return f"{count}{unit}"
    parts = []
    for unit, size in _UNITS.items():
        count = duration // size
        if count and not (unit == "d" and count == 1):
            parts.append(f"{count}{unit}")
            duration -= count * size
    return "".join(parts) or "0s"


def parse_fraction(value: object) -> float:
    """``50%`` or ``0.5``: from 0 to 1, in steps of a millionth. Raises ValueError."""
    text = f"{value:.6f}" if isinstance(value, float) else str(value)
    match = _FRACTION.fullmatch(text)
    fraction = round(float(match[1]) / (100 if match[2] else 1), 6) if match else -1.0
    if not 0 <= fraction <= 1:
        raise ValueError("write a fraction from 0 to 1 such as 0.5, or the same in percent such as 50%")
    return fraction


def fraction_text(fraction: float) -> str:
    """In percent: what :func:`parse_fraction` reads back as the same number."""
    return f"{fraction * 100:.4f}".rstrip("0").rstrip(".") + "%"


def parse_size(value: object) -> int:
    """Bytes: a whole number, or one with KiB or MiB. Raises ValueError."""
    match = _SIZE.fullmatch(str(value))
    if match is None or isinstance(value, float | bool):
        raise ValueError("write a whole number of bytes, or one with a unit, such as 65536, 64KiB or 1MiB")
    return int(match[1]) * _SIZES[match[2]]
