"""The fault proxy in front of a small server of the standard library, over plain HTTP and over TLS."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.faults.proxy import FaultProxy
from tests.servers.loopback import ServingFiles, write_serving_files

TIMEOUT = 5.0


class Upstream:
    """Echoes what it is sent, and keeps what it was asked."""

    def __init__(self, files: ServingFiles | None) -> None:
        self.acted: list[str] = []
        self.watchers_gone = threading.Event()
        upstream = self

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                upstream.acted.append(self.path)
                if self.path == "/watch":
                    self.watch()
                elif self.path == "/chunked":
                    self.start({"Transfer-Encoding": "chunked"})
                    self.wfile.write(b"a\r\n0123456789\r\n0\r\n\r\n")
                else:
                    self.start({"Content-Length": "12"})
                    self.wfile.write(b"hello, world")

            def do_POST(self) -> None:
                upstream.acted.append(self.path)
                body = json.dumps({"read": len(self.read_body())}).encode()
                self.start({"Content-Length": str(len(body))})
                self.wfile.write(body)

            def read_body(self) -> bytes:
                if "Content-Length" in self.headers:
                    return self.rfile.read(int(self.headers["Content-Length"]))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def watch(self) -> None:
                self.start({"Connection": "close"})
                try:
                    for event in range(1000):
                        self.wfile.write(b"%d\n" % event)
                        self.wfile.flush()
                        time.sleep(0.02)
                except OSError:
                    upstream.watchers_gone.set()

            def start(self, headers: dict[str, str]) -> None:
                self.send_response(200)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name in the base class
                """Tests read what it did from `acted`."""

        context = files.server_context() if files else None

        class Server(ThreadingHTTPServer):
            def finish_request(self, request: Any, client_address: Any) -> None:
                if context is None:
                    super().finish_request(request, client_address)
                    return
                with context.wrap_socket(request, server_side=True) as encrypted:
                    super().finish_request(encrypted, client_address)

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that was reset is what these tests are about."""

        self._server = Server(("127.0.0.1", 0), Answer)
        self.url = f"{'https' if files else 'http'}://127.0.0.1:{self._server.server_port}"
        self.ca = files.ca if files else None
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(params=["http", "https"])
def upstream(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Upstream]:
    server = Upstream(write_serving_files(tmp_path) if request.param == "https" else None)
    yield server
    server.close()


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[FaultProxy]:
    with FaultProxy(upstream.url, upstream_ca=upstream.ca) as proxy:
        yield proxy


def connect(proxy: FaultProxy, *, timeout: float = TIMEOUT) -> http.client.HTTPConnection:
    url = urlsplit(proxy.url)
    assert url.hostname
    if url.scheme == "http":
        return http.client.HTTPConnection(url.hostname, url.port, timeout=timeout)
    context = ssl.create_default_context(cafile=str(proxy.ca_file))
    return http.client.HTTPSConnection(url.hostname, url.port, timeout=timeout, context=context)


def get(proxy: FaultProxy, path: str = "/", *, timeout: float = TIMEOUT) -> tuple[int, bytes]:
    """Ask once, on a connection of its own."""
    connection = connect(proxy, timeout=timeout)
    try:
        connection.request("GET", path)
        with connection.getresponse() as response:
            return response.status, response.read()
    finally:
        connection.close()


def assert_was_reset(answer: http.client.HTTPResponse) -> None:
    """The rest of the answer never comes.

    Over TLS the ssl module of Python 3.11.8 and older takes a reset for an end (CPython issue 115627).
    """
    with contextlib.suppress(ConnectionResetError):
        assert len(answer.read()) < 100
        assert sys.version_info < (3, 11, 9)


def test_without_a_fault_everything_passes_through(proxy: FaultProxy, upstream: Upstream) -> None:
    assert get(proxy, "/a?b=c") == (200, b"hello, world")
    assert get(proxy, "/chunked") == (200, b"0123456789")
    assert proxy.requests == [("GET", "/a?b=c"), ("GET", "/chunked")]
    assert upstream.acted == ["/a?b=c", "/chunked"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_arrives_whole(proxy: FaultProxy, *, chunked: bool) -> None:
    piece, pieces = b"x" * 100_000, 20
    connection = connect(proxy)
    length = {} if chunked else {"Content-Length": str(len(piece) * pieces)}
    connection.request("POST", "/", iter([piece] * pieces), length, encode_chunked=chunked)
    assert json.loads(connection.getresponse().read()) == {"read": len(piece) * pieces}
    connection.close()


def test_one_client_connection_is_good_for_many_requests(proxy: FaultProxy) -> None:
    connection = connect(proxy)  # it connects anew whenever it was told that a connection is over
    for _ in range(5):
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"hello, world"
    connection.close()


def test_delay_makes_the_server_late_until_it_is_taken_back(proxy: FaultProxy) -> None:
    proxy.delay = timedelta(seconds=0.3)
    started = time.monotonic()
    assert get(proxy)[0] == 200
    assert time.monotonic() - started >= 0.3
    with pytest.raises(TimeoutError):
        get(proxy, timeout=0.1)
    proxy.delay = timedelta(0)
    assert get(proxy, timeout=0.25)[0] == 200


def test_an_answer_in_the_servers_place_never_reaches_the_server(proxy: FaultProxy, upstream: Upstream) -> None:
    proxy.answer(429, headers={"Retry-After": "7"}, body=b"slow down")
    connection = connect(proxy)
    connection.request("POST", "/sign", b"{}")
    response = connection.getresponse()
    assert (response.status, response.headers["Retry-After"], response.read()) == (429, "7", b"slow down")
    connection.close()
    assert upstream.acted == []
    assert proxy.requests == [("POST", "/sign")]
    assert get(proxy)[0] == 200


def test_answers_are_given_in_the_order_and_as_often_as_they_were_set(proxy: FaultProxy) -> None:
    proxy.answer(503, times=2)
    proxy.answer(403, times=None)
    assert [get(proxy)[0] for _ in range(5)] == [503, 503, 403, 403, 403]
    proxy.reset()
    assert get(proxy)[0] == 200
    assert proxy.requests == [("GET", "/")]


def test_a_fault_waits_for_the_request_that_it_is_meant_for(proxy: FaultProxy) -> None:
    proxy.answer(403, where=r"^GET /secret\b")
    assert [get(proxy, path)[0] for path in ("/", "/secrets", "/secret", "/secret")] == [200, 200, 403, 200]


def test_a_cut_request_was_acted_upon_though_its_client_sees_a_reset(proxy: FaultProxy, upstream: Upstream) -> None:
    proxy.cut_after_request()
    with pytest.raises(ConnectionResetError):
        get(proxy, "/sign")
    assert upstream.acted == ["/sign"]
    assert get(proxy)[0] == 200


def test_a_silently_cut_request_was_acted_upon_though_its_client_sees_a_timeout(
    proxy: FaultProxy, upstream: Upstream
) -> None:
    proxy.cut_after_request(silently=True)
    with pytest.raises(TimeoutError):
        get(proxy, "/sign", timeout=0.3)
    assert upstream.acted == ["/sign"]


@pytest.mark.parametrize("path", ["/", "/chunked"])
def test_a_torn_answer_is_seen_to_be_torn(proxy: FaultProxy, path: str) -> None:
    proxy.truncate()
    with pytest.raises(http.client.IncompleteRead) as torn:
        get(proxy, path)
    assert torn.value.partial in (b"hello,", b"01234", b"")
    assert get(proxy, path)[0] == 200


def test_a_refusing_proxy_resets_what_is_open_and_comes_back_on_its_port(proxy: FaultProxy, upstream: Upstream) -> None:
    watch = connect(proxy)
    watch.request("GET", "/watch")
    answer = watch.getresponse()
    assert answer.readline() == b"0\n"
    proxy.refuse()
    assert_was_reset(answer)
    answer.close()
    watch.close()
    assert upstream.watchers_gone.wait(TIMEOUT)
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            get(proxy)
    proxy.accept()
    assert get(proxy)[0] == 200


def test_watches_are_streamed_and_can_be_hung_up(proxy: FaultProxy) -> None:
    watch = connect(proxy)
    watch.request("GET", "/watch")
    answer = watch.getresponse()
    assert [answer.readline() for _ in range(3)] == [b"0\n", b"1\n", b"2\n"]
    assert proxy.hang_up() == 1
    assert_was_reset(answer)
    answer.close()
    watch.close()
    assert get(proxy)[0] == 200


def test_the_server_sees_that_a_watcher_has_gone(proxy: FaultProxy, upstream: Upstream) -> None:
    watch = connect(proxy)
    watch.request("GET", "/watch")
    answer = watch.getresponse()
    assert answer.readline() == b"0\n"
    answer.close()
    watch.close()
    assert upstream.watchers_gone.wait(TIMEOUT)


def test_a_client_that_says_nothing_neither_blocks_others_nor_the_end(proxy: FaultProxy) -> None:
    url = urlsplit(proxy.url)
    assert url.hostname
    assert url.port
    with socket.create_connection((url.hostname, url.port), timeout=TIMEOUT) as mute:
        assert get(proxy)[0] == 200
        started = time.monotonic()
        proxy.close()
        assert time.monotonic() - started < 1
        with pytest.raises(ConnectionResetError):
            mute.recv(1)


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x00\x04nonsense\r\n\r\n", b"GET\r\n\r\n", b"\r\n\r\n\r\n"])
def test_junk_ends_its_own_connection_only(proxy: FaultProxy, junk: bytes) -> None:
    url = urlsplit(proxy.url)
    assert url.hostname
    assert url.port
    client = socket.create_connection((url.hostname, url.port), timeout=TIMEOUT)
    with client, contextlib.suppress(ConnectionError):
        client.sendall(junk)
        while client.recv(1024):  # a TLS alert may come first
            pass
    assert get(proxy)[0] == 200


def test_a_dead_server_is_seen_as_a_reset(proxy: FaultProxy, upstream: Upstream) -> None:
    upstream.close()
    with pytest.raises(ConnectionResetError):
        get(proxy)


def test_the_server_is_verified_and_so_is_the_proxy(tmp_path: Path) -> None:
    folders = tmp_path / "server", tmp_path / "stranger"
    for folder in folders:
        folder.mkdir()
    files, stranger = map(write_serving_files, folders)
    server = Upstream(files)
    with FaultProxy(server.url, upstream_ca=stranger.ca) as proxy, pytest.raises(ConnectionResetError):
        get(proxy)
    with FaultProxy(server.url, upstream_ca=server.ca) as proxy:
        assert get(proxy)[0] == 200
        url = urlsplit(proxy.url)
        context = ssl.create_default_context(cafile=str(server.ca))
        connection = http.client.HTTPSConnection("127.0.0.1", url.port, timeout=TIMEOUT, context=context)
        with pytest.raises(ssl.SSLCertVerificationError):
            connection.request("GET", "/")
        connection.close()
    server.close()
    assert server.acted == ["/"]


@pytest.mark.parametrize("address", ["ftp://127.0.0.1", "http://192.0.2.1:80", "127.0.0.1:80"])
def test_only_web_servers_on_loopback_are_stood_in_for(address: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        FaultProxy(address)
