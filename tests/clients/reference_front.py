"""TLS in front of the reference server: it ends TLS as a test wants it ended and relays the bytes inside."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.clients.reference_ca import LeafPlan, ReferenceCa, new_key, pem


def write_serving_pair(
    folder: Path, ca: ReferenceCa, name: str, *, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
) -> tuple[Path, Path]:
    """A serving certificate for this name with its chain, and its key, as files."""
    now = datetime.now(UTC)
    leaf = ca.leaf(
        LeafPlan(key.public_key(), [x509.DNSName(name)], now - timedelta(minutes=1), now + timedelta(hours=1))
    )
    chain, private = folder / "serving.pem", folder / "serving-key.pem"
    chain.write_text(pem(leaf) + "".join(map(pem, ca.chain)))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return chain, private


def serving_context(
    ca: ReferenceCa,
    name: str,
    *,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
    alpn: tuple[str, ...] = ("h2",),
) -> ssl.SSLContext:
    """A server's context with a leaf for this name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        context.load_cert_chain(*write_serving_pair(Path(folder), ca, name, key=key or new_key()))
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


class TlsFront:
    """Listens on a port of loopback; ``seen`` has (ALPN, SNI, client certificate in DER) of each handshake."""

    def __init__(self, target: str, context: ssl.SSLContext) -> None:
        self.seen: list[tuple[str | None, str | None, bytes | None]] = []
        self._target = target
        self._context = context
        self._names: list[str | None] = []
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        context.sni_callback = lambda _socket, name, _context: self._names.append(name)

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        self.cut()
        for thread in self._threads[1:]:
            thread.join()

    def cut(self) -> None:
        """End every connection, as a crash would."""
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                self._open.add(plain)
                self._threads.append(threading.Thread(target=self._serve, args=(plain,)))
                self._threads[-1].start()

    def _serve(self, outer: socket.socket) -> None:
        outer.settimeout(20)
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(self._open.discard, outer)
            stack.enter_context(outer)
            tls = stack.enter_context(self._context.wrap_socket(outer, server_side=True))
            self._open.add(tls)
            stack.callback(self._open.discard, tls)
            self.seen.append((tls.selected_alpn_protocol(), self._names[-1], tls.getpeercert(binary_form=True)))
            host, port = self._target.split(":")
            inner = stack.enter_context(socket.create_connection((host, int(port)), timeout=20))
            _relay(tls, inner)


def _relay(tls: ssl.SSLSocket, inner: socket.socket) -> None:
    """Until one side hangs up. One thread for both ways: an SSL object is not for two."""
    while True:
        ready = [tls] if tls.pending() else select.select([tls, inner], [], [])[0]
        for source, sink in ((tls, inner), (inner, tls)):
            if source in ready:
                data = source.recv(65536)
                if not data:
                    return
                sink.sendall(data)
