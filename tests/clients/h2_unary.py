"""Unary gRPC over HTTP/2 by hand, on a socket that somebody else has opened.

grpcio is not used, since it neither writes ``:scheme http`` over TLS nor goes without ALPN, as
linkerd2-proxy does (``linkerd.md`` §1.5). Wire: gRPC's PROTOCOL-HTTP2 document; statuses come in the
trailers or in the only headers.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from tests.clients.errors import CallFailed, NoAnswer

USER_AGENT = "tonic/0.14.2"
"""Both proxies are built with tonic."""

_FRAME_HEAD = 9
_GOAWAY = 7
_PREFIX = struct.Struct(">BI")
_LARGEST_ANSWER = 4 * 1024 * 1024
"""Bytes of one message that tonic reads unless told otherwise."""


def dial(address: str, *, timeout: float) -> socket.socket:
    """A TCP connection to ``host:port``. Raises NoAnswer."""
    host, _, port = address.rpartition(":")
    try:
        return socket.create_connection((host.strip("[]"), int(port)), timeout=timeout)
    except OSError as error:
        raise NoAnswer(f"no connection to {address}: {error}") from error


def secure(sock: socket.socket, context: ssl.SSLContext, *, server_name: str) -> ssl.SSLSocket:
    """TLS on that connection, which is closed when the handshake fails. Raises NoAnswer."""
    try:
        return context.wrap_socket(sock, server_hostname=server_name)
    except OSError as error:
        sock.close()
        raise NoAnswer(f"no TLS with {server_name}: {error}") from error


@dataclass(slots=True)
class _Stream:
    """What has come in on one stream."""

    number: int
    unsent: memoryview
    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] | None = None
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False

    def message(self) -> bytes:
        """The one message of a call that went well. Raises CallFailed or NoAnswer."""
        if self.headers.get(":status") != "200":
            raise NoAnswer(f"HTTP status {self.headers.get(':status')}, not gRPC")
        if not self.headers.get("content-type", "").startswith("application/grpc"):
            raise NoAnswer(f"content-type {self.headers.get('content-type')!r}, not gRPC")
        last = self.headers if self.trailers is None else self.trailers
        status = last.get("grpc-status", "")
        if not (status.isascii() and status.isdigit()):
            raise NoAnswer(f"grpc-status {status!r} at the end of the stream")
        if status != "0":
            raise CallFailed.from_number(int(status), unquote(last.get("grpc-message", "")))
        if self.trailers is None:
            raise NoAnswer("status OK without a message")
        return self._framed()

    def _framed(self) -> bytes:
        if len(self.body) < _PREFIX.size:
            raise NoAnswer(f"{len(self.body)} bytes are not a gRPC message")
        compressed, size = _PREFIX.unpack_from(self.body)
        message = bytes(self.body[_PREFIX.size :])
        if compressed:
            raise NoAnswer("a compressed message, which was not asked for")
        if size != len(message):
            raise NoAnswer(f"a message of {size} bytes came as {len(message)}: torn, or more than one")
        return message


class GrpcConnection:
    """One HTTP/2 connection, one call at a time; it owns the socket and closes it."""

    def __init__(self, sock: socket.socket, *, timeout: float) -> None:
        self._socket = sock
        self._timeout = timeout
        self._raw = bytearray()
        self._last_stream: int | None = None
        self._send_error: OSError | None = None
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._h2.local_settings = Settings(client=True, initial_values={SettingCodes.ENABLE_PUSH: 0})
        self._h2.initiate_connection()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection without a farewell, as a process that exits does."""
        self._socket.close()

    def still_open(self) -> bool:
        """Whether another call may be tried: the server has neither hung up nor sent GOAWAY."""
        try:
            while self._readable():
                for _ in self._receive(time.monotonic() + self._timeout):
                    pass
        except NoAnswer:
            return False
        return self._last_stream is None and self._send_error is None

    def unary(
        self,
        path: str,
        message: bytes,
        *,
        scheme: str,
        authority: str,
        headers: Sequence[tuple[str, str]] = (),
    ) -> bytes:
        """Send one message and return the one that comes back.

        Raises CallFailed for a status other than OK, and NoAnswer for everything that is not a whole gRPC
        answer within the timeout. No deadline goes out: neither proxy's client sets one.
        """
        deadline = time.monotonic() + self._timeout
        stream = _Stream(
            self._h2.get_next_available_stream_id(),
            memoryview(_PREFIX.pack(0, len(message)) + message),
        )
        sent = [
            (":method", "POST"),
            (":scheme", scheme),
            (":authority", authority),
            (":path", path),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", USER_AGENT),
            *headers,
        ]
        try:
            self._h2.send_headers(stream.number, sent)
            self._converse(stream, deadline)
        except ProtocolError as error:
            raise NoAnswer(f"HTTP/2 broken: {error!r}") from error
        return stream.message()

    def _converse(self, stream: _Stream, deadline: float) -> None:
        while not stream.ended:
            self._send_what_fits(stream)
            self._flush()
            for event in self._receive(deadline):
                self._take(event, stream)
            if self._last_stream is not None and self._last_stream < stream.number:
                raise NoAnswer("the server is going away and has not taken this call")
        if stream.unsent:
            self._h2.reset_stream(stream.number, ErrorCodes.CANCEL)
        self._flush()

    def _send_what_fits(self, stream: _Stream) -> None:
        """As much of the message as both flow-control windows admit."""
        while stream.unsent:
            fits = min(self._h2.local_flow_control_window(stream.number), self._h2.max_outbound_frame_size)
            if fits <= 0:
                return
            part, stream.unsent = stream.unsent[:fits], stream.unsent[fits:]
            self._h2.send_data(stream.number, bytes(part), end_stream=not stream.unsent)

    def _take(self, event: Event, stream: _Stream) -> None:
        match event:
            case ResponseReceived(stream_id=stream.number, headers=headers):
                stream.headers = _texts(headers)
            case TrailersReceived(stream_id=stream.number, headers=headers):
                stream.trailers = _texts(headers)
            case DataReceived(stream_id=stream.number, data=data, flow_controlled_length=size):
                stream.body += data or b""
                if len(stream.body) > _LARGEST_ANSWER:
                    raise NoAnswer(f"more than {_LARGEST_ANSWER} bytes")
                self._h2.acknowledge_received_data(size or 0, stream.number)
            case StreamEnded(stream_id=stream.number):
                stream.ended = True
            case StreamReset(stream_id=stream.number, error_code=code) if not stream.ended:
                raise NoAnswer(f"the server reset the stream: {code!r}")
            case _:
                pass

    def _flush(self) -> None:
        """Send what h2 has to say. When that fails, an answer may still wait to be read: reading tells."""
        try:
            self._socket.sendall(self._h2.data_to_send())
        except OSError as error:
            self._send_error = error

    def _readable(self) -> bool:
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        return bool(select.select([self._socket], [], [], 0)[0])

    def _receive(self, deadline: float) -> Iterator[Event]:
        """One read's worth of events. Raises NoAnswer when it is late or the other side hung up."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise NoAnswer(f"no answer within {self._timeout} s")
        self._socket.settimeout(left)
        try:
            data = self._socket.recv(65536)
        except TimeoutError as error:
            raise NoAnswer(f"no answer within {self._timeout} s") from error
        except OSError as error:
            raise NoAnswer(f"the connection broke: {error}") from error
        if not data:
            raise NoAnswer(f"the server closed the connection before it answered ({self._send_error})")
        try:
            yield from self._h2.receive_data(self._without_goaway(data))
        except ProtocolError as error:
            raise NoAnswer(f"HTTP/2 broken: {error!r}") from error

    def _without_goaway(self, data: bytes) -> bytes:
        """The whole frames so far, GOAWAY noted and left out.

        h2 closes a connection on GOAWAY and then refuses the answers to the calls that the server has
        taken (RFC 9113 §6.8 has it finish them), which a server that drains is tested for.
        """
        self._raw += data
        passed = bytearray()
        while len(self._raw) >= _FRAME_HEAD:
            end = _FRAME_HEAD + int.from_bytes(self._raw[:3], "big")
            if end > _FRAME_HEAD + self._h2.max_inbound_frame_size:
                raise NoAnswer(f"not HTTP/2: {bytes(self._raw[:40])!r}")
            if len(self._raw) < end:
                break
            frame, self._raw = self._raw[:end], self._raw[end:]
            if frame[3] == _GOAWAY:
                self._last_stream = int.from_bytes(frame[9:13], "big") & 0x7FFFFFFF
            else:
                passed += frame
        return bytes(passed)


def _texts(headers: Sequence[tuple[bytes | str, bytes | str]] | None) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in headers or ()}


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
