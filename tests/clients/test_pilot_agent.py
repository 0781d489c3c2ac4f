"""PilotAgent takes what istiod answers, and refuses what pilot-agent or its Envoy could not live with."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.clients.conftest import SERVER_NAME
from tests.clients.errors import AnswerRefused, AnswerUseless, CallFailed, NoAnswer
from tests.clients.pilot_agent import PilotAgent
from tests.clients.reference_ca import ReferenceCa
from tests.clients.reference_front import TlsFront, serving_context
from tests.clients.reference_server import Fault, ReferenceServer
from tests.clients.silence import Silence
from tests.clients.workload import pem_blocks

_IDENTITY = "spiffe://cluster.local/ns/bookinfo/sa/reviews"

Start = Callable[..., PilotAgent]


@pytest.fixture
def waits() -> list[float]:
    """The pauses between the attempts."""
    return []


@pytest.fixture
def start(front: TlsFront, ca: ReferenceCa, token_file: Path, waits: list[float]) -> Iterator[Start]:
    """Make an agent that asks the reference server; what a test gives takes precedence."""
    with ExitStack() as stack:

        def make(address: str = front.address, **more: object) -> PilotAgent:
            given: dict[str, object] = {
                "server_name": SERVER_NAME,
                "anchors": ca.anchors,
                "token_file": token_file,
                "namespace": "bookinfo",
                "service_account": "reviews",
                "key": "ec-p256",
                "pause": waits.append,
            }
            return stack.enter_context(PilotAgent(address, **{**given, **more}))  # type: ignore[arg-type]

        yield make


@pytest.mark.parametrize("kind", ["rsa-2048", "ec-p256", "ec-p384"])
def test_a_right_answer_is_taken_with_every_kind_of_key(start: Start, kind: str) -> None:
    workload = start(key=kind).fetch()

    key = workload.certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
    assert key.key_size == int(kind[-4:].strip("-p"))
    assert workload.names == (_IDENTITY,)
    workload.verify()


def test_the_last_string_is_the_roots_and_the_chain_is_all_strings(start: Start, ca: ReferenceCa) -> None:
    workload = start().fetch()

    assert workload.roots == ca.anchors
    assert len(pem_blocks(workload.chain)) == len(ca.chain) + len(ca.bundle)


def test_rotation_is_at_half_of_what_is_left_at_receipt(start: Start, server: ReferenceServer) -> None:
    now = datetime.now(UTC)
    server.fault = Fault.BACKDATED
    agent = start(clock=lambda: now)

    agent.fetch()

    assert agent.rotate_at is not None
    assert 29 <= (agent.rotate_at - now).total_seconds() <= 31


def test_the_call_looks_like_the_agents(start: Start, server: ReferenceServer, token_file: Path) -> None:
    agent = start(cluster_id="east")

    first = agent.fetch()
    token_file.write_text(" d.e.f \n")
    second = agent.fetch()

    one, two = server.calls
    assert (one.metadata["authorization"], two.metadata["authorization"]) == ("Bearer a.b.c", "Bearer d.e.f")
    assert one.metadata["clusterid"] == "east"
    assert str(one.metadata["user-agent"]).startswith("grpc-go/")
    assert not one.has_deadline
    assert one.request.validity_duration == 86400
    assert dict(one.request.metadata) == {"CertSigner": ""}
    assert one.peer == two.peer
    assert first.key != second.key


def test_without_a_token_file_no_header_is_sent(start: Start, server: ReferenceServer, token_file: Path) -> None:
    token_file.unlink()

    start().fetch()

    assert "authorization" not in server.calls[0].metadata


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        (Fault.EMPTY, AnswerRefused, "invalid empty CertChain"),
        (Fault.SINGLE, AnswerRefused, "invalid empty CertChain"),
        (Fault.GARBAGE, AnswerUseless, "leaf is a CA"),
        (Fault.NO_ROOTS, AnswerUseless, "does not verify to the roots"),
        (Fault.EMPTY_ROOTS, AnswerUseless, "the last string holds no root"),
        (Fault.SPLIT_ROOTS, AnswerUseless, "root CN=cluster.local root stands outside the last string"),
        (Fault.BROKEN_ROOT, AnswerUseless, "does not verify to the roots"),
        (Fault.OTHER_NAME, AnswerUseless, f"peers expect {_IDENTITY} and would see .*mallory"),
        (Fault.SECOND_URI, AnswerUseless, f"peers expect {_IDENTITY} and would see .*mallory"),
        (Fault.NO_SAN, AnswerUseless, f"peers expect {_IDENTITY}"),
        (Fault.OTHER_KEY, AnswerUseless, "not for the key"),
        (Fault.EXPIRED, AnswerUseless, "certificate has expired"),
        (Fault.NOT_YET_VALID, AnswerUseless, "not yet valid"),
        (Fault.NO_INTERMEDIATES, AnswerUseless, "unable to get local issuer"),
        (Fault.FOREIGN_ISSUER, AnswerUseless, "signature failure"),
        (Fault.ONLY_SERVER_AUTH, AnswerUseless, "as sslclient"),
        (Fault.ONLY_CLIENT_AUTH, AnswerUseless, "as sslserver"),
        (Fault.CA_LEAF, AnswerUseless, "leaf is a CA"),
        (Fault.UNKNOWN_CRITICAL, AnswerUseless, "unhandled critical extension"),
        (Fault.SAN_NOT_CRITICAL, AnswerUseless, "(?i)extension not critical"),
    ],
)
def test_a_wrong_answer_is_refused(
    start: Start, server: ReferenceServer, fault: Fault, kind: type[AnswerRefused], reason: str
) -> None:
    agent = start()
    server.fault = fault

    with pytest.raises(AnswerRefused, match=reason) as refusal:
        agent.fetch()

    assert refusal.type is kind
    assert agent.current is None


@pytest.mark.parametrize("fault", [Fault.LEAF_WITH_CHAIN, Fault.INTERMEDIATES_TOGETHER])
def test_certificates_that_share_a_string_do_not_mind_the_agent(
    start: Start, server: ReferenceServer, fault: Fault
) -> None:
    server.fault = fault

    start().fetch().verify()


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
    ],
)
def test_a_passing_trouble_is_tried_five_times_ever_later(
    start: Start, server: ReferenceServer, waits: list[float], code: grpc.StatusCode
) -> None:
    server.refusals = [(code, "later")] * 4

    start().fetch()

    assert len(server.calls) == 5
    assert all(base * 0.9 <= wait <= base * 1.1 for base, wait in zip([0.1, 0.2, 0.4, 0.8], waits, strict=True))


def test_after_five_attempts_the_agent_gives_up_and_dials_anew(start: Start, server: ReferenceServer) -> None:
    agent = start()
    server.refusals = [(grpc.StatusCode.UNAVAILABLE, "later")] * 5

    with pytest.raises(CallFailed, match="UNAVAILABLE: later"):
        agent.fetch()
    agent.fetch()

    assert len(server.calls) == 6
    assert server.calls[4].peer != server.calls[5].peer


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INVALID_ARGUMENT])
def test_a_refusal_is_not_tried_again(
    start: Start, server: ReferenceServer, waits: list[float], code: grpc.StatusCode
) -> None:
    server.refusals = [(code, "no")]

    with pytest.raises(CallFailed) as refusal:
        start().fetch()

    assert (refusal.value.code, refusal.value.message) == (code, "no")
    assert (len(server.calls), waits) == (1, [])


def test_a_server_under_another_name_gets_no_token(start: Start, server: ReferenceServer) -> None:
    with pytest.raises(CallFailed) as refusal:
        start(server_name="istiod.elsewhere.svc").fetch()

    assert refusal.value.code is grpc.StatusCode.UNAVAILABLE
    assert server.calls == []


def test_a_server_of_another_ca_gets_no_token(start: Start, server: ReferenceServer) -> None:
    with pytest.raises(CallFailed) as refusal:
        start(anchors=ReferenceCa().anchors).fetch()

    assert refusal.value.code is grpc.StatusCode.UNAVAILABLE
    assert server.calls == []


def test_tls_1_2_is_still_taken(start: Start, server: ReferenceServer, ca: ReferenceCa) -> None:
    context = serving_context(ca, SERVER_NAME)
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    with TlsFront(server.address, context) as front:
        start(front.address).fetch().verify()


def test_a_server_that_keeps_silent_does_not_keep_the_test_for_ever(start: Start, ca: ReferenceCa) -> None:
    with (
        Silence() as silence,
        TlsFront(silence.address, serving_context(ca, SERVER_NAME)) as front,
        pytest.raises(NoAnswer, match="no answer within"),
    ):
        start(front.address, patience=0.5).fetch()


def test_what_it_had_is_kept_when_a_later_answer_is_refused(start: Start, server: ReferenceServer) -> None:
    agent = start()
    kept = agent.fetch()
    server.fault = Fault.SINGLE

    with pytest.raises(AnswerRefused):
        agent.fetch()

    assert agent.current is kept


def test_credentials_do_not_show_their_key(start: Start) -> None:
    workload = start().fetch()

    assert "PRIVATE KEY" in workload.key
    assert "PRIVATE KEY" not in repr(workload)


def test_a_leaf_lives_as_long_as_the_server_says(start: Start, server: ReferenceServer) -> None:
    server.lifetime = timedelta(hours=1)
    agent = start()

    agent.fetch()

    assert agent.rotate_at is not None
    assert timedelta(minutes=29) < agent.rotate_at - datetime.now(UTC) < timedelta(minutes=31)
