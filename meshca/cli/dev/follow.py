"""What `dev up` shows in the foreground: the server's log, readable."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from types import FrameType
from typing import BinaryIO

from meshca.cli.dev.process import stop
from meshca.cli.dev.world import World
from meshca.errors import MeshcaError

_LEVELS = {"warning": "WARNING ", "error": "ERROR ", "critical": "ERROR "}
_PAUSE = 0.1
_KNOWN = frozenset({"time", "level", "event", "process"})


def follow(world: World, server: subprocess.Popen[bytes], *, since: int) -> None:
    """Print what the server logs, from this byte of the log, until Ctrl-C or SIGTERM; then stop it.

    Raises MeshcaError when it ends by itself.
    """
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with world.log.open("rb") as log:
            log.seek(since if since <= world.log.stat().st_size else 0)
            while server.poll() is None and not asked.is_set():
                _print_lines(log)
                time.sleep(_PAUSE)
            stop(server.pid)
            server.wait()
            _print_lines(log)
    finally:
        for number, action in before.items():
            signal.signal(number, action)
    if not asked.is_set():
        raise MeshcaError(f"the server has ended by itself, with code {server.returncode}: see {world.log}")


def _print_lines(log: BinaryIO) -> None:
    """Print the whole lines that are there; the beginning of one is read again the next time."""
    while line := log.readline():
        if not line.endswith(b"\n"):
            log.seek(-len(line), os.SEEK_CUR)
            return
        print(readable(line.decode("utf-8", "backslashreplace")), flush=True)


def readable(line: str) -> str:
    """A JSON line of the log as ``12:00:01 event name=value …``; any other line as it is."""
    try:
        fields = json.loads(line)
        event, moment = str(fields["event"]), str(fields["time"])
    except (ValueError, KeyError, TypeError):
        return _printable(line.rstrip("\n"))
    rest = " ".join(f"{name}={_value(value)}" for name, value in fields.items() if name not in _KNOWN and value != "")
    return _printable(f"{moment[11:19]} {_LEVELS.get(str(fields.get('level')), '')}{event} {rest}".rstrip())


def _value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return json.dumps(text) if " " in text or not text.isprintable() else text


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)[1:-1]
