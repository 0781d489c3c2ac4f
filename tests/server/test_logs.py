"""What a line of the log may look like, whatever is put into it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HOSTILE = 'web\n{"level": "info", "event": "issued"}\r\x1b[31m\u202e\u2028\u0085\x00 é'
PROGRAM = """
import sys
from meshca.server import logs
logs.configure("info", process="worker").warning("refused", reason=sys.stdin.buffer.read().decode())
"""


def logged(text: str) -> bytes:
    """What a process of its own writes: how logging is configured is a process's whole."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=text.encode(), capture_output=True, check=True, timeout=60,
        env={"PYTHONPATH": ":".join(sys.path), "PYTHONUTF8": "1"},
    )  # fmt: skip
    return done.stderr


@pytest.fixture(scope="module")
def line() -> bytes:
    return logged(HOSTILE)


def test_whatever_is_logged_is_one_line_of_ascii(line: bytes) -> None:
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert all(byte >= 0x20 for byte in line[:-1])


def test_what_was_logged_can_be_read_again(line: bytes) -> None:
    read = json.loads(line)
    assert read["reason"] == HOSTILE
    assert (read["level"], read["event"], read["process"]) == ("warning", "refused", "worker")
