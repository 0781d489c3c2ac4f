"""The workers: started, heard, given the keys that they need, and started again when they crash."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from meshca.config import Config
from meshca.errors import MeshcaError, Misconfigured
from meshca.keys.local import LocalSigner
from meshca.server.handoff import Line, pack
from meshca.server.logs import Logger
from meshca.server.metrics import Exposition
from meshca.server.plain import plain

_START = timedelta(seconds=30)
"""How long a worker may take to be ready."""

_AGAIN = timedelta(seconds=1)
"""Before a crashed worker is started again."""

_STOP = timedelta(seconds=15)
"""How long a worker may drain before it is killed."""


class Crew:
    """As many workers as are configured."""

    def __init__(
        self,
        config: Config,
        *,
        key: Callable[[str], LocalSigner],
        restarted: Callable[[], None],
        exposition: Exposition,
        log: Logger,
    ) -> None:
        """``key`` opens an issuer's key; it may wait for the store, so it is called in a thread."""
        self._config = config
        self._key = key
        self._restarted = restarted
        self._exposition = exposition
        self._log = log
        self._workers = [_Seat(number) for number in range(config.workers)]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Return when every worker serves. Raises Misconfigured with what the first failing one said."""
        for seat in self._workers:
            self._tasks.append(asyncio.create_task(self._keep(seat)))
        with contextlib.suppress(TimeoutError):  # a seat that has not settled is not ready
            async with asyncio.timeout(_START.total_seconds()):
                for seat in self._workers:
                    await seat.settled.wait()
        if not all(seat.ready for seat in self._workers):
            said = "; ".join(seat.trouble for seat in self._workers if seat.trouble) or "it did not say why"
            await self.stop()
            raise Misconfigured(f"a worker did not start: {said}")

    @property
    def trouble(self) -> str | None:
        """Why not every worker can issue now, or None."""
        return next((seat.trouble for seat in self._workers if seat.trouble), None)

    async def stop(self) -> None:
        """Have every worker drain and end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(seat.end() for seat in self._workers))

    async def _keep(self, seat: _Seat) -> None:
        """Run the worker of this seat, and the next one when it ends."""
        while True:
            line = await seat.spawn(self._config)
            while (message := await line.hear()) is not None:
                await self._hear(seat, line, message)
            line.close()
            status = await seat.reap()
            self._exposition.ended(seat.number)
            self._log.error("worker ended", worker=seat.number, status=status, reason=seat.trouble or "")
            self._restarted()
            await asyncio.sleep(_AGAIN.total_seconds())

    async def _hear(self, seat: _Seat, line: Line, message: dict[str, Any]) -> None:
        match message["kind"]:
            case "ready":
                seat.trouble = None
                seat.ready = True
                seat.settled.set()
            case "state":
                seat.trouble = message["trouble"]
                self._exposition.heard(seat.number, message["metrics"])
            case "failed":
                seat.trouble = message["error"]
                seat.settled.set()
            case "key":
                await self._hand_over(line, message["issuer"])

    async def _hand_over(self, line: Line, issuer_id: str) -> None:
        try:
            signer = await asyncio.to_thread(self._key, issuer_id)
        except MeshcaError as error:
            self._log.error("issuer key not opened", issuer=issuer_id, reason=str(error))
            line.say("key", issuer=issuer_id, error=str(error))
        else:
            line.say("key", issuer=issuer_id, pkcs8=pack(signer.pkcs8()))


class _Seat:
    """One worker's place: the process that has it now, and what it last said."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.ready = False
        self.settled = asyncio.Event()
        """Set once the first process of this seat serves, or has said why it cannot."""
        self.trouble: str | None = "it is starting"
        self._process: asyncio.subprocess.Process | None = None

    async def spawn(self, config: Config) -> Line:
        """Start a process and tell it what it needs; by exec, never by fork, so that nothing of ours is in it."""
        ours, theirs = socket.socketpair()
        self.trouble = "it is starting"
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "meshca.server.worker", str(theirs.fileno())),
            pass_fds=(theirs.fileno(),),
            stdin=asyncio.subprocess.DEVNULL,
        )
        theirs.close()
        line = await Line.open(ours)
        line.say(
            "start",
            config=plain(config),
            worker=f"{os.uname().nodename}-{self._process.pid}",
        )
        return line

    async def reap(self) -> int:
        assert self._process is not None
        status = await self._process.wait()
        self.trouble = self.trouble or f"it ended with status {status}"
        return status

    async def end(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP.total_seconds())
        except TimeoutError:
            process.kill()
            await process.wait()
