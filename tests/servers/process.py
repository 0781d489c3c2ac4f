"""A server of another language as a child process that ends when the test run ends, however that happens."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_SHOWN_LOG_LINES = 20


class ServerFailed(Exception):
    """A server is not built, did not start, or ended by itself. The message holds the end of its log."""


def program(name: str) -> str:
    """Where `scripts/servers` has built a program. Raises ServerFailed with the remedy when it has not."""
    found = subprocess.run(
        [str(ROOT / "scripts" / "servers"), "path", name], capture_output=True, text=True, check=False
    )
    if found.returncode:
        raise ServerFailed(found.stderr.strip())
    return found.stdout.strip()


class Server:
    """One process, its output in a log file.

    It is killed with the thread that started it (PR_SET_PDEATHSIG), so that not even a killed pytest leaves
    one behind; so start servers from the thread that runs the tests. `setpriv` asks for that after the
    fork: Python's own preexec_fn may deadlock in a process with threads (gRPC has some). It has a session
    of its own, so that Ctrl-C reaches pytest alone, which ends it in order.
    """

    def __init__(self, command: Sequence[str], *, log: Path) -> None:
        guard = [shutil.which("setpriv") or "setpriv", "--pdeathsig", "KILL", "--"]
        self._log = log
        self._name = Path(command[0]).name
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*guard, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The server's own process id: setpriv becomes the server."""
        return self._process.pid

    def wait_until(self, ready: Callable[[], bool], *, within: timedelta) -> None:
        """Return when `ready` says so. Raises ServerFailed when the process ends first or the time is up."""
        deadline = time.monotonic() + within.total_seconds()
        while not ready():
            if self._process.poll() is not None:
                status = self._process.returncode
                raise ServerFailed(f"{self._name} ended with status {status}:\n{self.log()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self._name} is not ready after {within}:\n{self.log()}")
            time.sleep(0.05)

    def log(self) -> str:
        """The last lines of what it wrote."""
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-_SHOWN_LOG_LINES:])

    def kill(self) -> None:
        """End it at once, unasked: a drain would take a minute, and nothing here is worth one."""
        self._process.kill()
        self._process.wait()
