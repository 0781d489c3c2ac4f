"""Hostile requests through the real listeners: the code that its client expects, a log line, and no trace."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from meshca._pb.istio.ca_pb2 import IstioCertificateRequest, IstioCertificateResponse
from meshca._pb.istio.ca_pb2_grpc import IstioCertificateServiceStub
from meshca._pb.linkerd.identity_pb2 import CertifyRequest, CertifyResponse
from meshca._pb.linkerd.identity_pb2_grpc import IdentityStub
from meshca.csr import Form
from tests.attacks import LINKERD_NAME, Attack, asking_for_key, blocked_hashes, csr_attacks
from tests.clients.csr import linkerd_csr, ztunnel_csr
from tests.world import World

ATTACKS = [attack for attack in csr_attacks() if attack.judged]
Code = grpc.StatusCode


@dataclass
class Doors:
    """Plain calls at both doors."""

    world: World
    linkerd: IdentityStub
    istio: IstioCertificateServiceStub
    linkerd_token: str
    istio_token: str
    issuer_spki: bytes
    """The key of the issuer that signs now."""

    def certify(self, csr: bytes, *, token: str | None = None, identity: str = LINKERD_NAME) -> CertifyResponse:
        token = self.linkerd_token if token is None else token
        request = CertifyRequest(identity=identity, token=token.encode(), certificate_signing_request=csr)
        answer: CertifyResponse = self.linkerd.Certify(request, timeout=10)
        return answer

    def create(
        self, csr: str, *, token: str | None = None, headers: tuple[tuple[str, str], ...] | None = None,
        metadata: dict[str, str] | None = None, seconds: int = 0,
    ) -> IstioCertificateResponse:  # fmt: skip
        request = IstioCertificateRequest(csr=csr, validity_duration=seconds)
        request.metadata.update(metadata or {})
        if headers is None:
            headers = (("authorization", f"Bearer {self.istio_token if token is None else token}"),)
        answer: IstioCertificateResponse = self.istio.CreateCertificate(request, metadata=headers, timeout=10)
        return answer


def spki_of_issuer(world: World) -> bytes:
    (issuer,) = world.ask("issuers", "list")
    key = x509.load_pem_x509_certificates(issuer["chain"].encode())[0].public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    folder = tmp_path_factory.mktemp("hostile")
    blocked = folder / "blocked"
    blocked.write_text("".join(f"{spki.hex()}\n" for spki in blocked_hashes()))
    with World(folder / "d", (f"csr.blocked_keys={blocked}", "leaf.max_lifetime=24h")) as world:
        environment = world.environment
        credentials = grpc.ssl_channel_credentials(world.roots.encode())
        name = (("grpc.ssl_target_name_override", environment["MESHCA_DEV_ISTIO_NAME"]),)
        with (
            grpc.insecure_channel(environment["MESHCA_DEV_LINKERD"]) as plain,
            grpc.secure_channel(environment["MESHCA_DEV_ISTIO"], credentials, options=name) as tls,
        ):
            yield Doors(
                world,
                IdentityStub(plain),
                IstioCertificateServiceStub(tls),
                world.token_file("identity.l5d.io").read_text(),
                world.token_file("istio-ca").read_text(),
                spki_of_issuer(world),
            )


WEB_KEY = ec.generate_private_key(ec.SECP256R1())
WEB_ID = "spiffe://cluster.local/ns/emojivoto/sa/web"
WEB_CSR = ztunnel_csr(WEB_KEY, WEB_ID)
PROXY_CSR = linkerd_csr(WEB_KEY, LINKERD_NAME)


def refused(doors: Doors, call: Callable[[], object]) -> grpc.RpcError:
    """The error of a call that must leave no row, and a log line under the request id that the caller was told."""
    before = doors.world.rows()
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert doors.world.rows() == before
    return caught.value


def said(error: grpc.RpcError) -> str:
    """What the caller was told."""
    return error.details() or ""


def log_line(doors: Doors, error: grpc.RpcError) -> dict[str, object]:
    """The log line of the request whose id the caller was told."""
    request_id = said(error).rpartition("(request ")[2].rstrip(")")
    (line,) = [line for line in doors.world.log() if line.get("request") == request_id]
    return line


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_a_hostile_csr_is_refused_at_its_door_and_leaves_no_trace(doors: Doors, attack: Attack) -> None:
    request = attack.request
    if attack.name.startswith("our-own-issuer"):
        request = asking_for_key(doors.issuer_spki, attack.form)
    if attack.form is Form.PEM:
        # A proto3 string holds no bytes beyond UTF-8: what is none arrives replaced.
        error = refused(doors, lambda: doors.create(request.decode("utf-8", "replace")))
    else:
        error = refused(doors, lambda: doors.certify(request))
    if error.code() is Code.RESOURCE_EXHAUSTED:
        assert len(attack.request) > 60_000  # gRPC's own cap on messages comes first
        return
    assert error.code() in {Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION}
    line = log_line(doors, error)
    assert line["event"] == "refused"
    assert line["check"]
    assert line["identity"] == WEB_ID


def test_the_honest_requests_beside_them_are_served(doors: Doors) -> None:
    assert len(doors.create(WEB_CSR).cert_chain) == 3
    assert doors.certify(PROXY_CSR).valid_until.seconds


@pytest.mark.parametrize("field", ["identity", "token", "csr"])
def test_an_empty_field_is_named(doors: Doors, field: str) -> None:
    values = {
        "identity": LINKERD_NAME,
        "token": doors.linkerd_token,
        "csr": PROXY_CSR,
        field: type(PROXY_CSR)() if field == "csr" else "",
    }
    error = refused(
        doors,
        lambda: doors.certify(values["csr"], token=values["token"], identity=values["identity"]),  # type: ignore[arg-type] # a table
    )
    assert error.code() is Code.INVALID_ARGUMENT
    assert "missing" in said(error)


def test_another_identity_than_the_tokens_is_refused_as_upstream_does(doors: Doors) -> None:
    name = LINKERD_NAME.replace("web", "admin")
    error = refused(doors, lambda: doors.certify(linkerd_csr(WEB_KEY, name), identity=name))
    assert error.code() is Code.FAILED_PRECONDITION
    assert "requested identity did not match provided token" in said(error)


def unsigned(token: str, **changes: object) -> str:
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims.update(changes)
    altered = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{header}.{altered}.{signature}"


BAD_TOKENS: dict[str, tuple[Callable[[Doors], str], str]] = {
    "none": (lambda doors: "", "shape"),
    "no token at all": (lambda doors: "hello", "shape"),
    "another service's": (lambda doors: doors.linkerd_token, "audience"),
    "altered": (lambda doors: unsigned(doors.istio_token, sub="system:serviceaccount:kube-system:admin"), "signature"),
    "truncated": (lambda doors: doors.istio_token[:-10], "signature"),
    "too long": (lambda doors: doors.istio_token + "A" * 17_000, "size"),
}


@pytest.mark.parametrize("name", BAD_TOKENS)
def test_a_token_that_proves_nothing_is_told_nothing(doors: Doors, name: str) -> None:
    make, check = BAD_TOKENS[name]
    error = refused(doors, lambda: doors.create(WEB_CSR, token=make(doors)))
    assert error.code() is Code.UNAUTHENTICATED
    assert said(error).startswith("request authenticate failure (request ")
    assert log_line(doors, error)["check"] == check


def test_a_token_for_istio_opens_nothing_at_linkerds_door(doors: Doors) -> None:
    error = refused(doors, lambda: doors.certify(PROXY_CSR, token=doors.istio_token))
    assert error.code() is Code.FAILED_PRECONDITION
    assert said(error).startswith("authentication token could not be authenticated")
    assert log_line(doors, error)["check"] == "audience"


@pytest.mark.parametrize(
    "headers",
    [(), (("authorization", "Basic d2ViOndlYg=="),), (("authorization", "Bearer a"), ("authorization", "Bearer b"))],
    ids=["absent", "another scheme", "two of them"],
)
def test_one_bearer_token_is_needed(doors: Doors, headers: tuple[tuple[str, str], ...]) -> None:
    error = refused(doors, lambda: doors.create(WEB_CSR, headers=headers))
    assert error.code() is Code.UNAUTHENTICATED


def test_an_unknown_cluster_is_refused_and_several_mean_the_local_one(doors: Doors) -> None:
    bearer = ("authorization", f"Bearer {doors.istio_token}")
    error = refused(doors, lambda: doors.create(WEB_CSR, headers=(bearer, ("clusterid", "elsewhere"))))
    assert error.code() is Code.UNAUTHENTICATED
    assert log_line(doors, error)["check"] == "cluster"
    doors.create(WEB_CSR, headers=(bearer, ("clusterid", "elsewhere"), ("clusterid", "nowhere")))


def test_a_cert_signer_is_refused_clearly_and_an_empty_one_is_fine(doors: Doors) -> None:
    error = refused(doors, lambda: doors.create(WEB_CSR, metadata={"CertSigner": "example.com/foo"}))
    assert error.code() is Code.INVALID_ARGUMENT
    assert "CertSigner 'example.com/foo'" in said(error)
    doors.create(WEB_CSR, metadata={"CertSigner": ""})


def test_impersonation_is_refused_while_it_is_not_built(doors: Doors) -> None:
    error = refused(doors, lambda: doors.create(WEB_CSR, metadata={"ImpersonatedIdentity": WEB_ID}))
    assert error.code() is Code.UNAUTHENTICATED


@pytest.mark.parametrize("seconds", [0, -5, 2**62, -(2**62), 10**10])
def test_whatever_lifetime_is_asked_a_leaf_of_a_day_at_most_comes_back(doors: Doors, seconds: int) -> None:
    (leaf, *_) = doors.create(WEB_CSR, seconds=seconds).cert_chain
    certificate = x509.load_pem_x509_certificate(leaf.encode())
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc <= timedelta(hours=24, minutes=2)


def test_junk_on_the_tls_port_hurts_nobody(doors: Doors) -> None:
    host, _, port = doors.world.environment["MESHCA_DEV_ISTIO"].rpartition(":")
    for junk in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + b"\xff" * 500, b"\0" * 10_000):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(junk)
    doors.create(WEB_CSR)


def test_a_message_over_the_cap_is_refused_by_grpc(doors: Doors) -> None:
    error = refused(doors, lambda: doors.create("A" * 200_000))
    assert error.code() is Code.RESOURCE_EXHAUSTED


def test_control_characters_from_outside_never_reach_the_log_as_they_are(doors: Doors) -> None:
    name = 'web\n{"level":"info","event":"issued"}\x1b[31m\u202e'
    error = refused(doors, lambda: doors.certify(PROXY_CSR, identity=name))
    assert "\\n" in log_line(doors, error)["reason"]  # type: ignore[operator] # it is text
    raw = (doors.world.folder / "serve.log").read_bytes()
    assert b"\x1b" not in raw
    assert raw.isascii()


def test_health_and_reflection_answer(doors: Doors) -> None:
    with grpc.insecure_channel(doors.world.environment["MESHCA_DEV_LINKERD"]) as channel:
        status = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=""), timeout=5)
        assert status.status == health_pb2.HealthCheckResponse.SERVING
        request = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        (answer,) = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(request, timeout=5)
    names = {service.name for service in answer.list_services_response.service}
    assert "io.linkerd.proxy.identity.Identity" in names
    assert "grpc.health.v1.Health" in names


@pytest.mark.parametrize(
    ("version", "accepted"),
    [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)],
)
def test_tls_is_1_2_or_later(doors: Doors, version: ssl.TLSVersion, accepted: bool) -> None:
    host, _, port = doors.world.environment["MESHCA_DEV_ISTIO"].rpartition(":")
    context = ssl.create_default_context(cadata=doors.world.roots)
    context.set_alpn_protocols(["h2"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    name = doors.world.environment["MESHCA_DEV_ISTIO_NAME"]
    with socket.create_connection((host, int(port)), timeout=5) as plain:
        if accepted:
            with context.wrap_socket(plain, server_hostname=name) as tls:
                assert tls.version() == version.name.replace("_", ".")
                assert "GCM" in (tls.cipher() or ("",))[0] or "CHACHA" in (tls.cipher() or ("",))[0]
        else:
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(plain, server_hostname=name)
