"""An HTTP/2 server that takes one call and answers it as a test writes it, frame by frame."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded

Script = Callable[["ScriptedPeer"], None]


class ScriptedPeer:
    """Listens on a port of loopback; ``request`` and ``body`` are the call that came in."""

    def __init__(self, script: Script) -> None:
        self.request: dict[str, str] = {}
        self.body = b""
        self.stream = 0
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def headers(self, *pairs: tuple[str, str], end: bool = False) -> None:
        """Send headers or trailers on the call's stream."""
        self.h2.send_headers(self.stream, pairs, end_stream=end)
        self.flush()

    def data(self, data: bytes) -> None:
        """Send a part of the message."""
        self.h2.send_data(self.stream, data)
        self.flush()

    def flush(self, *, piece: int = 65536) -> None:
        """Send what h2 has written, in pieces of so many bytes."""
        written = self.h2.data_to_send()
        for start in range(0, len(written), piece):
            self._socket.sendall(written[start : start + piece])

    def raw(self, data: bytes) -> None:
        """Send bytes of which h2 knows nothing."""
        self._socket.sendall(data)

    def stay(self) -> None:
        """Say no more, and do not hang up either, until the test is over."""
        self._over.wait(20)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            self._socket, _ = self._listener.accept()
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.settimeout(20)
            with self._socket:
                self.h2.initiate_connection()
                while not self._heard_all(self._socket.recv(65536)):
                    self.flush()
                self.flush()
                self._script(self)
                self.flush()
                self._socket.shutdown(socket.SHUT_WR)
                while self._socket.recv(65536):
                    pass

    def _heard_all(self, data: bytes) -> bool:
        if not data:
            raise ConnectionError("the client hung up")
        for event in self.h2.receive_data(data):
            match event:
                case RequestReceived(stream_id=int(number), headers=headers):
                    self.stream, self.request = number, _texts(headers or ())
                case DataReceived(stream_id=int(number), data=bytes(part), flow_controlled_length=int(size)):
                    self.body += part
                    self.h2.acknowledge_received_data(size, number)
                case StreamEnded():
                    return True
                case _:
                    pass
        return False


def _texts(headers: Iterable[tuple[bytes | str, bytes | str]]) -> dict[str, str]:
    return {str(name): str(value) for name, value in headers}
