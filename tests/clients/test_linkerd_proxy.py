"""LinkerdProxy takes what upstream answers and refuses everything that linkerd2-proxy would."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from meshca._pb.linkerd.identity_pb2 import CertifyRequest
from tests.clients.errors import AnswerRefused, AnswerUseless, CallFailed, NoAnswer, TokenUnusable
from tests.clients.linkerd_proxy import LinkerdProxy
from tests.clients.reference_ca import ReferenceCa
from tests.clients.reference_front import TlsFront, serving_context
from tests.clients.reference_server import Fault, ReferenceServer

_NAME = "web.emojivoto.serviceaccount.identity.linkerd.cluster.local"
_IDENTITY_SERVICE = "linkerd-identity.linkerd.serviceaccount.identity.linkerd.cluster.local"

Start = Callable[..., LinkerdProxy]


@pytest.fixture
def start(server: ReferenceServer, ca: ReferenceCa, token_file: Path) -> Start:
    """Make a proxy that asks the reference server; what a test gives takes precedence."""

    def make(address: str = server.address, anchors: str = ca.anchors, **more: object) -> LinkerdProxy:
        account = {"namespace": "emojivoto", "service_account": "web"}
        return LinkerdProxy(address, anchors=anchors, token_file=token_file, **account, **more)  # type: ignore[arg-type]

    return make


def test_a_right_answer_is_taken_and_renewed_after_70_percent(start: Start) -> None:
    proxy = start()

    workload = proxy.certify()

    assert workload.identity == _NAME
    assert workload.names == (_NAME, "spiffe://cluster.local/ns/emojivoto/sa/web")
    assert timedelta(hours=16.7) < proxy.sleep < timedelta(hours=16.8)
    workload.verify()


def test_renewals_use_key_and_csr_again_and_read_the_token_again(
    start: Start, server: ReferenceServer, token_file: Path
) -> None:
    proxy = start()

    first = proxy.certify()
    token_file.write_bytes(b"d.e.f\n")
    second = proxy.certify()

    requests = [call.request for call in server.calls]
    assert all(isinstance(request, CertifyRequest) for request in requests)
    assert first.key == second.key
    assert first.leaf != second.leaf
    assert requests[0].certificate_signing_request == requests[1].certificate_signing_request
    assert [request.token for request in requests] == [b"a.b.c", b"d.e.f\n"]


def test_the_call_looks_like_tonics(start: Start, server: ReferenceServer) -> None:
    start().certify()

    (call,) = server.calls
    assert str(call.metadata["user-agent"]).startswith("tonic/")
    assert "authorization" not in call.metadata
    assert not call.has_deadline


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        (Fault.PEM_LEAF, AnswerRefused, "leaf is not a DER certificate"),
        (Fault.GARBAGE, AnswerRefused, "leaf is not a DER certificate"),
        (Fault.PEM_INTERMEDIATES, AnswerRefused, "intermediate is not a DER certificate"),
        (Fault.NO_VALID_UNTIL, AnswerRefused, "missing expiration"),
        (Fault.PAST_VALID_UNTIL, AnswerRefused, "already expired"),
        (Fault.LATE_VALID_UNTIL, AnswerUseless, "the leaf ends at"),
        (Fault.URI_FIRST, AnswerUseless, "first SAN, spiffe://"),
        (Fault.URI_ONLY, AnswerRefused, "does not match TLS identity"),
        (Fault.FINAL_DOT, AnswerRefused, "does not match TLS identity"),
        (Fault.OTHER_NAME, AnswerRefused, "does not match TLS identity"),
        (Fault.NO_SAN, AnswerRefused, "Subject name empty"),
        (Fault.OTHER_KEY, AnswerRefused, "not for the key"),
        (Fault.EXPIRED, AnswerRefused, "certificate has expired"),
        (Fault.NOT_YET_VALID, AnswerRefused, "not yet valid"),
        (Fault.NO_INTERMEDIATES, AnswerRefused, "unable to get local issuer"),
        (Fault.FOREIGN_ISSUER, AnswerRefused, "signature failure"),
        (Fault.ONLY_SERVER_AUTH, AnswerRefused, "as sslclient: .*(un|not )suit|purpose"),
        (Fault.ONLY_CLIENT_AUTH, AnswerRefused, "as sslserver: .*(un|not )suit|purpose"),
        (Fault.CA_LEAF, AnswerRefused, "leaf is a CA"),
        (Fault.UNKNOWN_CRITICAL, AnswerRefused, "unhandled critical extension"),
        (Fault.NO_KEY_IDENTIFIER, AnswerRefused, "(?i)missing authority key identifier"),
        (Fault.SAN_NOT_CRITICAL, AnswerRefused, "(?i)extension not critical"),
        (Fault.SHA224, AnswerRefused, "signature algorithm"),
        (Fault.URI_CONSTRAINTS, AnswerRefused, "URI name constraints"),
        (Fault.MANY_INTERMEDIATES, AnswerRefused, "7 intermediates"),
    ],
)
def test_a_wrong_answer_is_refused(
    start: Start, server: ReferenceServer, fault: Fault, kind: type[AnswerRefused], reason: str
) -> None:
    proxy = start()
    server.fault = fault

    with pytest.raises(AnswerRefused, match=reason) as refusal:
        proxy.certify()

    assert refusal.type is kind
    assert proxy.current is None


def test_a_dns_san_with_a_final_dot_is_passed_over(start: Start, server: ReferenceServer) -> None:
    server.fault = Fault.FINAL_DOT_TOO

    workload = start().certify()

    assert workload.names[:2] == (f"{_NAME}.", _NAME)


def test_a_chain_to_roots_that_are_not_the_anchors_is_refused(start: Start) -> None:
    proxy = start(anchors=ReferenceCa().anchors)

    with pytest.raises(AnswerRefused, match="does not verify to the anchors"):
        proxy.certify()


def test_an_answer_that_was_good_yesterday_is_refused_today(start: Start) -> None:
    proxy = start(clock=lambda: datetime.now(UTC) + timedelta(hours=25))

    with pytest.raises(AnswerRefused, match="already expired"):
        proxy.certify()


def test_an_empty_token_file_is_an_error_and_nothing_is_sent(
    start: Start, server: ReferenceServer, token_file: Path
) -> None:
    token_file.write_text("")

    with pytest.raises(TokenUnusable):
        start().certify()

    assert server.calls == []


def test_a_refusal_without_a_live_certificate_is_tried_again_after_min_refresh(
    start: Start, server: ReferenceServer
) -> None:
    proxy = start()
    server.refusals = [(grpc.StatusCode.FAILED_PRECONDITION, "könnte sein 100 %")]

    with pytest.raises(CallFailed) as refusal:
        proxy.certify()

    assert refusal.value.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.value.message == "könnte sein 100 %"
    assert proxy.sleep == timedelta(seconds=10)


def test_a_refusal_with_a_live_certificate_is_tried_again_after_70_percent_of_what_is_left(
    start: Start, server: ReferenceServer
) -> None:
    times = [datetime.now(UTC)]
    proxy = start(clock=lambda: times[-1])
    kept = proxy.certify()
    times.append(times[0] + timedelta(hours=17))
    server.refusals = [(grpc.StatusCode.UNAVAILABLE, "later")]

    with pytest.raises(CallFailed):
        proxy.certify()

    assert proxy.current is kept
    assert timedelta(hours=4.89) < proxy.sleep < timedelta(hours=4.91)


def test_refresh_stays_between_its_bounds(start: Start, server: ReferenceServer) -> None:
    proxy = start()

    server.lifetime = timedelta(seconds=12)
    proxy.certify()
    short = proxy.sleep
    server.lifetime = timedelta(days=7)
    proxy.certify()

    assert (short, proxy.sleep) == (timedelta(seconds=10), timedelta(hours=24))


def test_over_tls_it_offers_no_alpn_and_shows_no_certificate_until_it_has_one(
    start: Start, server: ReferenceServer, ca: ReferenceCa
) -> None:
    context = serving_context(ca, _IDENTITY_SERVICE)
    context.load_verify_locations(cadata=ca.anchors)
    context.verify_mode = ssl.CERT_OPTIONAL

    with TlsFront(server.address, context) as front:
        proxy = start(front.address, server_name=_IDENTITY_SERVICE)
        proxy.certify()
        proxy.certify()

    assert [(alpn, sni, bool(shown)) for alpn, sni, shown in front.seen] == [
        (None, _IDENTITY_SERVICE, False),
        (None, _IDENTITY_SERVICE, True),
    ]


def test_an_expired_certificate_is_still_shown_and_locks_it_out_where_one_is_verified(
    start: Start, ca: ReferenceCa
) -> None:
    def two_hours_ago() -> datetime:
        return datetime.now(UTC) - timedelta(hours=2)

    context = serving_context(ca, _IDENTITY_SERVICE)
    context.load_verify_locations(cadata=ca.anchors)
    context.verify_mode = ssl.CERT_OPTIONAL
    with ReferenceServer(ca, clock=two_hours_ago) as server, TlsFront(server.address, context) as front:
        server.lifetime = timedelta(hours=1)
        proxy = start(front.address, server_name=_IDENTITY_SERVICE, clock=two_hours_ago)
        proxy.certify()
        with pytest.raises(NoAnswer, match=r"the connection broke|alert"):
            proxy.certify()

    assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("name", "key", "reason"),
    [
        ("other.linkerd.serviceaccount.identity.linkerd.cluster.local", None, "the server is not"),
        ("*.linkerd.serviceaccount.identity.linkerd.cluster.local", None, "the server is not"),
        (_IDENTITY_SERVICE, rsa.generate_private_key(public_exponent=65537, key_size=2048), "neither ECDSA"),
    ],
    ids=["another name", "a wildcard", "an RSA key"],
)
def test_over_tls_a_server_that_it_would_not_take_gets_no_token(
    start: Start,
    server: ReferenceServer,
    ca: ReferenceCa,
    name: str,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None,
    reason: str,
) -> None:
    with (
        TlsFront(server.address, serving_context(ca, name, key=key)) as front,
        pytest.raises(NoAnswer, match=reason),
    ):
        start(front.address, server_name=_IDENTITY_SERVICE).certify()

    assert server.calls == []


def test_over_tls_a_server_of_another_ca_gets_no_token(start: Start, server: ReferenceServer) -> None:
    context = serving_context(ReferenceCa(), _IDENTITY_SERVICE)

    with TlsFront(server.address, context) as front, pytest.raises(NoAnswer, match="CERTIFICATE_VERIFY_FAILED"):
        start(front.address, server_name=_IDENTITY_SERVICE).certify()

    assert server.calls == []


def test_nobody_listening_is_no_answer(start: Start) -> None:
    with pytest.raises(NoAnswer, match="no connection"):
        start("127.0.0.1:1").certify()
