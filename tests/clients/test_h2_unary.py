"""The hand-made gRPC client writes what tonic writes and takes nothing for an answer that is none."""

from __future__ import annotations

import time

import grpc
import pytest
from h2.errors import ErrorCodes

from tests.clients.errors import CallFailed, NoAnswer
from tests.clients.h2_unary import GrpcConnection, dial
from tests.clients.scripted_peer import Script, ScriptedPeer
from tests.clients.silence import Silence

_OK = ((":status", "200"), ("content-type", "application/grpc"))
_HELLO = b"\0\0\0\0\5hello"


def _call(peer: ScriptedPeer, message: bytes = b"question", *, timeout: float = 5.0) -> bytes:
    with GrpcConnection(dial(peer.address, timeout=timeout), timeout=timeout) as connection:
        return connection.unary("/a.B/C", message, scheme="http", authority="b.example:1", headers=[("x-y", "z")])


def _answer(peer: ScriptedPeer) -> None:
    peer.headers(*_OK)
    peer.data(_HELLO)
    peer.headers(("grpc-status", "0"), end=True)


def test_one_framed_message_goes_out_with_the_headers_of_tonic() -> None:
    with ScriptedPeer(_answer) as peer:
        assert _call(peer) == b"hello"

    assert peer.body == b"\0\0\0\0\x08question"
    assert peer.request == {
        ":method": "POST",
        ":scheme": "http",
        ":authority": "b.example:1",
        ":path": "/a.B/C",
        "te": "trailers",
        "content-type": "application/grpc",
        "user-agent": "tonic/0.14.2",
        "x-y": "z",
    }


def test_a_message_larger_than_every_window_arrives_whole() -> None:
    with ScriptedPeer(_answer) as peer:
        assert _call(peer, b"x" * 300_000) == b"hello"

    assert len(peer.body) == 300_005


def test_an_answer_in_pieces_of_one_byte_is_read_whole() -> None:
    def script(peer: ScriptedPeer) -> None:
        peer.h2.send_headers(peer.stream, _OK)
        peer.h2.send_data(peer.stream, _HELLO)
        peer.h2.send_headers(peer.stream, [("grpc-status", "0")], end_stream=True)
        peer.flush(piece=1)

    with ScriptedPeer(script) as peer:
        assert _call(peer) == b"hello"


def test_a_call_that_the_server_took_is_finished_while_it_drains() -> None:
    def script(peer: ScriptedPeer) -> None:
        peer.headers(*_OK)
        peer.raw(bytes.fromhex("000008 07 00 00000000 00000001 00000000"))
        time.sleep(0.05)
        peer.data(_HELLO)
        peer.headers(("grpc-status", "0"), end=True)

    with ScriptedPeer(script) as peer:
        assert _call(peer) == b"hello"


def test_a_connection_that_the_server_is_leaving_is_not_used_again() -> None:
    def script(peer: ScriptedPeer) -> None:
        _answer(peer)
        peer.raw(bytes.fromhex("000008 07 00 00000000 00000001 00000000"))
        peer.stay()

    with (
        ScriptedPeer(script) as peer,
        GrpcConnection(dial(peer.address, timeout=5), timeout=5) as connection,
    ):
        connection.unary("/a.B/C", b"", scheme="http", authority="b")
        ends = time.monotonic() + 5
        while connection.still_open() and time.monotonic() < ends:
            time.sleep(0.01)

        assert not connection.still_open()


@pytest.mark.parametrize(
    ("number", "code"),
    [("16", grpc.StatusCode.UNAUTHENTICATED), ("14", grpc.StatusCode.UNAVAILABLE), ("99", grpc.StatusCode.UNKNOWN)],
)
@pytest.mark.parametrize("trailers_only", [True, False], ids=["in the only headers", "in the trailers"])
def test_a_status_is_read_wherever_it_stands(number: str, code: grpc.StatusCode, trailers_only: bool) -> None:
    status = (("grpc-status", number), ("grpc-message", "50%25 sch%C3%B6n"))

    def script(peer: ScriptedPeer) -> None:
        if trailers_only:
            peer.headers(*_OK, *status, end=True)
        else:
            peer.headers(*_OK)
            peer.headers(*status, end=True)

    with ScriptedPeer(script) as peer, pytest.raises(CallFailed) as refusal:
        _call(peer)

    assert (refusal.value.code, refusal.value.message) == (code, "50% schön")


def _ends_with(body: bytes, *trailers: tuple[str, str]) -> Script:
    def script(peer: ScriptedPeer) -> None:
        peer.headers(*_OK)
        peer.data(body)
        peer.headers(*trailers, end=True)

    return script


def _resets(peer: ScriptedPeer) -> None:
    peer.headers(*_OK)
    peer.h2.reset_stream(peer.stream, ErrorCodes.REFUSED_STREAM)
    peer.flush()
    peer.stay()


def _never_took_it(peer: ScriptedPeer) -> None:
    peer.raw(bytes.fromhex("000008 07 00 00000000 00000000 00000000"))
    peer.stay()


def _is_not_http2(peer: ScriptedPeer) -> None:
    peer.raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    peer.stay()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (_ends_with(_HELLO, ("x-y", "z")), "grpc-status ''"),
        (_ends_with(_HELLO, ("grpc-status", "fine")), "grpc-status 'fine'"),
        (_ends_with(b"\1" + _HELLO[1:], ("grpc-status", "0")), "compressed"),
        (_ends_with(_HELLO + _HELLO, ("grpc-status", "0")), "torn, or more than one"),
        (_ends_with(_HELLO[:-1], ("grpc-status", "0")), "torn, or more than one"),
        (_ends_with(b"\0\0", ("grpc-status", "0")), "2 bytes are not"),
        (lambda peer: peer.headers(*_OK, ("grpc-status", "0"), end=True), "OK without a message"),
        (lambda peer: peer.headers((":status", "404"), end=True), "HTTP status 404"),
        (lambda peer: peer.headers((":status", "200"), ("content-type", "text/html"), end=True), "text/html"),
        (lambda _: None, "closed the connection before"),
        (_resets, "reset the stream"),
        (_never_took_it, "going away"),
        (_is_not_http2, "not HTTP/2"),
    ],
)
def test_what_is_no_answer_is_not_taken_for_one(script: Script, reason: str) -> None:
    with ScriptedPeer(script) as peer, pytest.raises(NoAnswer, match=reason):
        _call(peer)


def test_silence_is_not_waited_for_longer_than_the_timeout() -> None:
    began = time.monotonic()
    with (
        Silence() as silence,
        GrpcConnection(dial(silence.address, timeout=5), timeout=0.3) as connection,
        pytest.raises(NoAnswer, match="no answer within"),
    ):
        connection.unary("/a.B/C", b"", scheme="http", authority="b")

    assert 0.3 <= time.monotonic() - began < 3


def test_a_server_that_dribbles_does_not_get_more_than_the_timeout() -> None:
    def script(peer: ScriptedPeer) -> None:
        peer.headers(*_OK)
        for _ in range(40):
            peer.data(b"\0")
            time.sleep(0.05)

    with ScriptedPeer(script) as peer, pytest.raises(NoAnswer, match="no answer within"):
        _call(peer, timeout=0.4)
