"""Ztunnel takes what istiod answers and refuses everything that would leave a ztunnel without a certificate."""

from __future__ import annotations

import re
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from tests.clients.conftest import SERVER_NAME
from tests.clients.errors import AnswerRefused, AnswerUseless, CallFailed, NoAnswer, TokenUnusable
from tests.clients.reference_ca import ReferenceCa, new_key
from tests.clients.reference_front import TlsFront, serving_context, write_serving_pair
from tests.clients.reference_server import BACKDATE, Fault, ReferenceServer
from tests.clients.silence import Silence
from tests.clients.workload import pem_blocks
from tests.clients.ztunnel import Ztunnel

_IDENTITY = "spiffe://cluster.local/ns/bookinfo/sa/ratings"

Start = Callable[..., Ztunnel]


@pytest.fixture
def start(front: TlsFront, ca: ReferenceCa, token_file: Path) -> Iterator[Start]:
    """Make a ztunnel that asks the reference server; what a test gives takes precedence."""
    with ExitStack() as stack:

        def make(address: str = front.address, **more: object) -> Ztunnel:
            given: dict[str, object] = {
                "server_name": SERVER_NAME,
                "anchors": ca.anchors,
                "token_file": token_file,
                "namespace": "bookinfo",
                "service_account": "ratings",
            }
            return stack.enter_context(Ztunnel(address, **{**given, **more}))  # type: ignore[arg-type]

        yield make


def test_a_right_answer_is_taken_and_renewed_half_way_from_not_before(
    start: Start, server: ReferenceServer, ca: ReferenceCa
) -> None:
    server.lifetime = timedelta(hours=1)
    ztunnel = start()

    workload = ztunnel.fetch()

    assert workload.names == (_IDENTITY,)
    assert pem_blocks(workload.roots) == pem_blocks(ca.anchors)
    assert len(pem_blocks(workload.chain)) == len(ca.chain)
    assert ztunnel.next_refresh is not None
    middle = (timedelta(hours=1) - BACKDATE) / 2
    assert abs(ztunnel.next_refresh - datetime.now(UTC) - middle) < timedelta(seconds=10)
    workload.verify()


def test_the_call_looks_like_ztunnels(start: Start, server: ReferenceServer, front: TlsFront) -> None:
    ztunnel = start(cluster_id="east")

    first, second = ztunnel.fetch(), ztunnel.fetch()

    one, two = server.calls
    assert one.metadata["authorization"] == "Bearer a.b.c"
    assert one.metadata["clusterid"] == "east"
    assert str(one.metadata["user-agent"]).startswith("tonic/")
    assert not one.has_deadline
    assert one.request.validity_duration == 86400
    assert not one.request.HasField("metadata")
    assert one.peer == two.peer
    assert first.key != second.key
    assert front.seen == [("h2", SERVER_NAME, None)]


def test_a_token_file_that_ends_with_a_newline_makes_no_header(
    start: Start, server: ReferenceServer, token_file: Path
) -> None:
    token_file.write_text("a.b.c\n")

    with pytest.raises(TokenUnusable, match="newline"):
        start().fetch()

    assert server.calls == []


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        (Fault.EMPTY, AnswerRefused, "EmptyResponse"),
        (Fault.SINGLE, AnswerRefused, "EmptyResponse"),
        (Fault.EMPTY_ROOTS, AnswerRefused, "EmptyResponse"),
        (Fault.GARBAGE, AnswerRefused, "CertificateParseError"),
        (Fault.BROKEN_ROOT, AnswerRefused, "the chain does not parse"),
        (Fault.NO_ROOTS, AnswerUseless, "does not verify to the roots"),
        (Fault.SPLIT_ROOTS, AnswerUseless, "root CN=cluster.local root stands outside the last string"),
        (Fault.LEAF_WITH_CHAIN, AnswerUseless, "unable to get local issuer"),
        (Fault.INTERMEDIATES_TOGETHER, AnswerUseless, "at 1 depth lookup: unable to get local issuer"),
        (Fault.OTHER_NAME, AnswerRefused, "SanError"),
        (Fault.NO_SAN, AnswerRefused, "SanError"),
        (Fault.SECOND_URI, AnswerUseless, "mallory"),
        (Fault.OTHER_KEY, AnswerUseless, "not for the key"),
        (Fault.EXPIRED, AnswerUseless, "certificate has expired"),
        (Fault.NOT_YET_VALID, AnswerUseless, "not yet valid"),
        (Fault.BACKDATED, AnswerUseless, "renewal was due at"),
        (Fault.NO_INTERMEDIATES, AnswerUseless, "unable to get local issuer"),
        (Fault.FOREIGN_ISSUER, AnswerUseless, "signature failure"),
        (Fault.ONLY_SERVER_AUTH, AnswerUseless, "as sslclient"),
        (Fault.ONLY_CLIENT_AUTH, AnswerUseless, "as sslserver"),
        (Fault.CA_LEAF, AnswerUseless, "leaf is a CA"),
    ],
)
def test_a_wrong_answer_is_refused(
    start: Start, server: ReferenceServer, fault: Fault, kind: type[AnswerRefused], reason: str
) -> None:
    ztunnel = start()
    server.fault = fault

    with pytest.raises(AnswerRefused, match=reason) as refusal:
        ztunnel.fetch()

    assert refusal.type is kind
    assert (ztunnel.current, ztunnel.next_refresh) == (None, None)


def test_a_status_is_told_and_not_tried_again(start: Start, server: ReferenceServer) -> None:
    server.refusals = [(grpc.StatusCode.UNAVAILABLE, "later")]

    with pytest.raises(CallFailed, match="UNAVAILABLE: later"):
        start().fetch()

    assert len(server.calls) == 1


def test_a_connection_that_was_cut_is_dialled_anew(start: Start, server: ReferenceServer, front: TlsFront) -> None:
    ztunnel = start()
    ztunnel.fetch()

    front.cut()
    ztunnel.fetch()

    assert len(front.seen) == 2


def _without_tls_1_3(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2


def _without_h2(context: ssl.SSLContext) -> None:
    context.set_alpn_protocols(["http/1.1"])


@pytest.mark.parametrize(("spoil", "reason"), [(_without_tls_1_3, "no TLS with"), (_without_h2, "ALPN h2 was offered")])
def test_a_server_without_what_ztunnel_needs_gets_no_token(
    start: Start,
    server: ReferenceServer,
    ca: ReferenceCa,
    spoil: Callable[[ssl.SSLContext], None],
    reason: str,
) -> None:
    context = serving_context(ca, SERVER_NAME)
    spoil(context)

    with TlsFront(server.address, context) as front, pytest.raises(NoAnswer, match=reason):
        start(front.address).fetch()

    assert server.calls == []


def test_a_server_that_chooses_chacha_is_left(start: Start, ca: ReferenceCa, tmp_path: Path) -> None:
    chain, key = write_serving_pair(tmp_path, ca, SERVER_NAME, key=new_key())
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-tls1_3", "-alpn", "h2", "-naccept", "1"]
    command += ["-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256", "-cert_chain", str(chain)]
    command += ["-cert", str(chain), "-key", str(key)]

    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        listening = next(line for line in other.stdout if line.startswith("ACCEPT"))
        port = re.sub(r".*:", "", listening.strip())
        with pytest.raises(NoAnswer, match="TLS_CHACHA20_POLY1305_SHA256"):
            start(f"127.0.0.1:{port}").fetch()
        other.kill()


@pytest.mark.parametrize(
    "given", [{"server_name": "istiod.elsewhere.svc"}, {"anchors": ReferenceCa().anchors}], ids=["name", "ca"]
)
def test_a_server_that_is_not_the_one_expected_gets_no_token(
    start: Start, server: ReferenceServer, given: dict[str, str]
) -> None:
    with pytest.raises(NoAnswer, match="CERTIFICATE_VERIFY_FAILED"):
        start(**given).fetch()

    assert server.calls == []


def test_a_server_that_keeps_silent_is_given_up(start: Start, ca: ReferenceCa) -> None:
    with (
        Silence() as silence,
        TlsFront(silence.address, serving_context(ca, SERVER_NAME)) as front,
        pytest.raises(NoAnswer, match="no answer within"),
    ):
        start(front.address, timeout=0.5).fetch()
