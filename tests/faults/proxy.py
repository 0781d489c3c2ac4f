"""A proxy on loopback that makes a real HTTP(S) server late, refused, cut, throttled or torn.

It ends the client's TLS with a certificate of its own and speaks TLS upstream, verified with the upstream's
CA. Each connection carries one request and its answer, streamed as it comes, so watches work. HTTP/1.1
only; no upgrades and no client certificates. It runs in a thread of its own, so synchronous and
asynchronous tests use it alike, and its verbs return when they are in force.

A fault takes the next request that its `where` matches (a regular expression searched in "METHOD target"), so
that a client's background watch does not use up the fault that was meant for its token review.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import urlsplit

from tests.faults.message import LARGEST_BODY, Head, Unreadable, read_head, read_request_body
from tests.servers.loopback import port_of, reserve_port, write_serving_files

_T = TypeVar("_T")
_LONGEST_EXCHANGE = 600.0
"""Seconds after which a connection is ended in any case, a watch or a silent one included."""
_STEP_WITHIN = 30.0
"""Seconds for a handshake, for a whole request to arrive, for an answer that is read to its end."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PIECE = 64 * 1024
_LINGER_ZERO = struct.pack("ii", 1, 0)


class Seen(NamedTuple):
    """A request that reached the proxy, whatever became of it. Compares equal to a plain pair."""

    method: str
    path: str
    """With its query, as the client wrote it."""


@dataclass
class _Exchange:
    """One request, and what is needed to answer it."""

    request: Head
    body: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def client_gone(self) -> None:
        """Returns when the client has hung up."""
        while await self.reader.read(_PIECE):
            pass


@dataclass
class _Fault:
    where: re.Pattern[str]
    left: int | None
    act: Callable[[_Exchange], Awaitable[None]]


class FaultProxy:
    """Stands in front of an HTTP(S) server on loopback, from construction until `close`.

    Clients use `url`, and trust `ca_file` when it is https. Without a fault set, everything passes through.
    """

    def __init__(self, upstream: str, *, upstream_ca: Path | None = None) -> None:
        """`upstream` is the server's address, `upstream_ca` the file of CA certificates to verify it with."""
        parts = urlsplit(upstream)
        if parts.scheme not in ("http", "https") or parts.hostname not in _LOOPBACK:
            raise ValueError(f"not an http(s) address on loopback: {upstream}")
        self._upstream_host = parts.hostname
        self._upstream_port = parts.port or (443 if parts.scheme == "https" else 80)
        self._folder = tempfile.TemporaryDirectory(prefix="meshca-faults-")
        self._ca_file: Path | None = None
        self._serving_tls: ssl.SSLContext | None = None
        self._upstream_tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            files = write_serving_files(Path(self._folder.name))
            self._serving_tls = files.server_context()
            self._ca_file = files.ca
            self._upstream_tls = ssl.create_default_context(cafile=str(upstream_ca) if upstream_ca else None)
        self._held = reserve_port()
        self.url = f"{parts.scheme}://127.0.0.1:{port_of(self._held)}{parts.path.rstrip('/')}"
        """The upstream's address as clients are to write it."""
        self._server: asyncio.Server | None = None
        self._faults: list[_Fault] = []
        self._delay = timedelta(0)
        self._seen: list[Seen] = []
        self._live: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._thread.start()
        self.accept()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up on everybody and give the port back. Doing it twice is harmless."""
        if self._loop.is_closed():
            return
        self.refuse()
        self._run(self._loop.shutdown_default_executor())  # it resolved "localhost"
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._held.close()
        self._folder.cleanup()

    @property
    def ca_file(self) -> Path:
        """The CA certificate to trust for `url`. Raises ValueError in front of an http:// server."""
        if self._ca_file is None:
            raise ValueError("this proxy speaks plain http")
        return self._ca_file

    @property
    def requests(self) -> list[Seen]:
        """Every request so far, in order of arrival, also those that never reached the server."""
        return list(self._seen)

    # The faults.

    @property
    def delay(self) -> timedelta:
        """How long each request waits before anything is done with it; zero at first."""
        return self._delay

    @delay.setter
    def delay(self, delay: timedelta) -> None:
        self._delay = delay

    def answer(
        self,
        status: int,
        *,
        times: int | None = 1,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        where: str = "",
    ) -> None:
        """Answer in the server's place, without asking it: 429 with Retry-After, 503, 403, 410 …

        `times=None` is until `reset`, here and below.
        """
        lines = [f"{name}: {value}" for name, value in (headers or {}).items()]
        start = f"HTTP/1.1 {status} {_reason(status)}"
        head = Head(start, (*lines, f"Content-Length: {len(body)}"))

        async def act(exchange: _Exchange) -> None:
            exchange.writer.write(head.last_of_connection() + body)
            await exchange.writer.drain()

        self._add(act, times=times, where=where)

    def cut_after_request(self, *, times: int | None = 1, silently: bool = False, where: str = "") -> None:
        """Forward the request, wait until the server has answered, and keep the answer from the client.

        The client's connection is reset; or, `silently`, left open until the client itself gives up.
        """

        async def act(exchange: _Exchange) -> None:
            async with asyncio.timeout(_STEP_WITHIN), self._forwarded(exchange) as upstream:
                await read_head(upstream)
            if silently:
                await exchange.client_gone()
            _reset(exchange.writer)

        self._add(act, times=times, where=where)

    def truncate(self, *, times: int | None = 1, where: str = "") -> None:
        """Pass on the head and half of the body (of a chunked one: of what comes first), then hang up.

        The head promises the whole body, so that a client can see that it is torn.
        """

        async def act(exchange: _Exchange) -> None:
            async with asyncio.timeout(_STEP_WITHIN), self._forwarded(exchange) as upstream:
                head = await read_head(upstream)
                body = await upstream.read(_PIECE if head.chunked else -1)
            if not head.chunked:
                head = head.without("Content-Length").having([f"Content-Length: {len(body)}"])
            exchange.writer.write(head.last_of_connection() + body[: len(body) // 2])
            await exchange.writer.drain()

        self._add(act, times=times, where=where)

    def refuse(self) -> None:
        """Refuse new connections and reset the open ones, as a machine does whose server has died."""
        self._run(self._stop_listening())

    def accept(self) -> None:
        """Listen (again), on the same port."""
        self._run(self._start_listening())

    def hang_up(self) -> int:
        """Reset every open connection, watches included, and go on listening. Returns how many there were."""
        return self._run(self._reset_all())

    def reset(self) -> None:
        """Forget all faults, the delay and the requests seen; listen."""
        self._faults.clear()
        self._delay = timedelta(0)
        self._seen.clear()
        self.accept()

    def _add(self, act: Callable[[_Exchange], Awaitable[None]], *, times: int | None, where: str) -> None:
        self._faults.append(_Fault(re.compile(where), times, act))

    # In the proxy's own thread.

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_STEP_WITHIN)

    async def _start_listening(self) -> None:
        if self._server is None:
            # No flow control below the largest body: in Python 3.11 it goes wrong after start_tls.
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", port_of(self._held), limit=LARGEST_BODY)

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._reset_all()

    async def _reset_all(self) -> int:
        live = dict(self._live)
        for task, writer in live.items():
            _reset(writer)
            task.cancel()
        await asyncio.gather(*live, return_exceptions=True)
        await asyncio.sleep(0.01)  # the transports close their sockets in the loop's next rounds
        return len(live)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection. Whatever goes wrong with it, its client sees a reset."""
        task = asyncio.current_task()
        assert task is not None
        self._live[task] = writer
        try:
            async with asyncio.timeout(_LONGEST_EXCHANGE):
                if self._serving_tls is not None:
                    await writer.start_tls(self._serving_tls, ssl_handshake_timeout=_STEP_WITHIN)
                await self._exchange(reader, writer)
                writer.close()
                await writer.wait_closed()
        except (OSError, EOFError, ValueError, Unreadable, asyncio.LimitOverrunError):
            _reset(writer)
        except asyncio.CancelledError:
            pass  # _reset_all has reset it
        finally:
            del self._live[task]

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_STEP_WITHIN):
            request = await read_head(reader)
            if request.get("Expect"):
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = await read_request_body(reader, request)
        exchange = _Exchange(request, body, reader, writer)
        seen = Seen(*request.words)
        self._seen.append(seen)
        await asyncio.sleep(self._delay.total_seconds())
        await self._act_for(seen)(exchange)

    def _act_for(self, seen: Seen) -> Callable[[_Exchange], Awaitable[None]]:
        """The first fault that is meant for this request, else to relay it."""
        for fault in self._faults:
            if fault.where.search(f"{seen.method} {seen.path}"):
                if fault.left is not None:
                    fault.left -= 1
                    if fault.left == 0:
                        self._faults.remove(fault)
                return fault.act
        return self._relay

    async def _relay(self, exchange: _Exchange) -> None:
        """Pass the answer on as it comes, until it ends or the client has gone."""
        async with self._forwarded(exchange) as upstream:
            copying = asyncio.create_task(_copy(upstream, exchange.writer))
            gone = asyncio.create_task(exchange.client_gone())
            try:
                await asyncio.wait({copying, gone}, return_when=asyncio.FIRST_COMPLETED)
                if copying.done():
                    copying.result()
            finally:
                copying.cancel()
                gone.cancel()
                await asyncio.gather(copying, gone, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def _forwarded(self, exchange: _Exchange) -> AsyncIterator[asyncio.StreamReader]:
        """Send the request upstream on a connection of its own; hang up there in the end."""
        async with asyncio.timeout(_STEP_WITHIN):
            reader, writer = await asyncio.open_connection(
                self._upstream_host, self._upstream_port, ssl=self._upstream_tls, limit=LARGEST_BODY
            )
        try:
            request = exchange.request.without("Expect", "Upgrade")
            writer.write(request.last_of_connection() + exchange.body)
            await writer.drain()
            yield reader
        finally:
            writer.transport.abort()


async def _copy(upstream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write((await read_head(upstream)).last_of_connection())
    while piece := await upstream.read(_PIECE):
        writer.write(piece)
        await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a TCP reset, dropping what is still to be sent."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):  # it is closed already
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    writer.transport.abort()


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
