"""What the exit codes mean."""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """Fixed: scripts go by these numbers."""

    meaning: str

    def __new__(cls, number: int, meaning: str) -> ExitCode:
        code = int.__new__(cls, number)
        code._value_ = number
        code.meaning = meaning
        return code

    OK = 0, "done"
    FAILED = 1, "not done, or the answer is no; the reason is on standard error"
    USAGE = 2, "the command line is not understood"
    JOINED = 3, "rotate: a rotation was already under way, and this wish joined it"
    WAITING = 4, "rotate --wait: the time was over before the new issuer was active; the rotation goes on"
    INTERRUPTED = 130, "interrupted by Ctrl-C"
