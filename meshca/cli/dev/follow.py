"""What `dev up` shows in the foreground: the server's log, readable."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from types import FrameType

from meshca.cli.dev.process import stop
from meshca.cli.dev.world import World
from meshca.errors import MeshcaError

_LEVELS = {"warning": "WARNING ", "error": "ERROR ", "critical": "ERROR "}
_KNOWN = frozenset({"time", "level", "event", "process"})


class _Stopped(Exception):
    """Somebody asked us to end."""


def follow(world: World, server: subprocess.Popen[bytes]) -> None:
    """Print what the server logs until Ctrl-C or SIGTERM, then stop it. Raises MeshcaError when it ends by itself."""

    def stopped(number: int, frame: FrameType | None) -> None:
        raise _Stopped

    before = {number: signal.signal(number, stopped) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        _print_until_end(world, server)
    except _Stopped:
        for number in before:
            signal.signal(number, signal.SIG_IGN)  # once is enough
        stop(server.pid)
        server.wait()
        return
    finally:
        for number, action in before.items():
            signal.signal(number, action)
    raise MeshcaError(f"the server ended with code {server.wait()}: see {world.log}")


def _print_until_end(world: World, server: subprocess.Popen[bytes]) -> None:
    with world.log.open(encoding="utf-8", errors="backslashreplace") as log:
        log.seek(0, 2)
        line = ""
        while True:
            line += log.readline()
            if line.endswith("\n"):
                print(readable(line), flush=True)
                line = ""
            elif server.poll() is not None:
                return
            else:
                time.sleep(0.1)


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
