"""The two meshes' services on a door of their own: what is on the wire, and what is refused before the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import NoReturn, cast

import grpc
import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from structlog.testing import LogCapture

from meshca._pb.istio.ca_pb2 import IstioCertificateRequest, IstioCertificateResponse
from meshca._pb.linkerd.identity_pb2 import CertifyRequest, CertifyResponse
from meshca.csr import Rules
from meshca.identity import Pod
from meshca.issuance.authorities import Authority
from meshca.issuance.pipeline import Issuance
from meshca.issuance.policy import Policy, Rule
from meshca.issuance.profile import Lifetimes, Profile, istio_profile, linkerd_profile
from meshca.names import ServiceAccount
from meshca.server.codes import Wire
from meshca.server.door import Context, Door
from meshca.server.metrics import Metrics
from meshca.server.services.istio import IstioCertificateService
from meshca.server.services.linkerd import LinkerdIdentity
from meshca.tokens.clusters import Cluster, Clusters
from tests.clients.csr import linkerd_csr, ztunnel_csr
from tests.fakes.ledger import MemoryLedger
from tests.fakes.validator import FakeValidator
from tests.issuance.authority import NOW, make_authority

Code = grpc.StatusCode
Metadata = Sequence[tuple[str, str | bytes]]

KEY = ec.generate_private_key(ec.SECP256R1())
ACCOUNT = ServiceAccount("emojivoto", "web")
NAME = "web.emojivoto.serviceaccount.identity.linkerd.cluster.local"
OTHER_ROOT = make_authority().roots[0]
_ONE_ROOT = make_authority()
AUTHORITY = replace(_ONE_ROOT, roots=(*_ONE_ROOT.roots, OTHER_ROOT))
"""As in the middle of a root's rotation: two roots are published."""


class Aborted(Exception):
    """What a caller of gRPC sees."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details


@dataclass
class Caller:
    """gRPC's context of one call."""

    metadata: Metadata = ()

    def peer(self) -> str:
        return "ipv4:10.0.0.7:4711"

    def invocation_metadata(self) -> Metadata:
        return self.metadata

    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        raise Aborted(code, details)


class _Present:
    def current(self) -> Authority:
        return AUTHORITY

    async def refresh(self) -> None:
        raise AssertionError("the epoch never moves here")


@dataclass
class House:
    """Both services before one pipeline, with a ledger and a log that can be read."""

    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    log: LogCapture = field(default_factory=LogCapture)
    validator: FakeValidator = field(default_factory=FakeValidator)

    def door(self, wire: Wire, profile: Profile) -> Door:
        issuance = Issuance(
            authorities=_Present(),
            policy=Policy([Rule(effect="allow")]),
            rules=Rules(),
            lifetimes=Lifetimes(timedelta(hours=24), timedelta(minutes=5), timedelta(hours=24), jitter=0.0),
            ledger=self.ledger,
            clock=lambda: NOW,
        )
        return Door(
            wire=wire,
            profile=profile,
            audiences=frozenset({profile.service}),
            unbound=False,
            clusters=Clusters([Cluster("Kubernetes", self.validator)]),
            issuance=issuance,
            metrics=Metrics(),
            log=structlog.wrap_logger(
                structlog.PrintLogger(), processors=[self.log], wrapper_class=structlog.make_filtering_bound_logger(0)
            ),
            clock=lambda: NOW,
        )

    def token(self, audience: str) -> str:
        pod = Pod("web-1", "uid-1", "node-1")
        return self.validator.mint(ACCOUNT, audiences=[audience], expires=NOW + timedelta(hours=1), pod=pod)

    async def create(
        self, asked: dict[str, str] | None = None, *, metadata: Metadata | None = None
    ) -> IstioCertificateResponse:
        """Ask as ztunnel does; ``asked`` stands in the request's metadata."""
        request = IstioCertificateRequest(csr=ztunnel_csr(KEY, str(ACCOUNT.spiffe_id(self.validator.trust_domain))))
        request.metadata.update(asked or {})
        if metadata is None:
            metadata = (("authorization", f"Bearer {self.token('istio')}"),)
        service = IstioCertificateService(self.door(Wire.ISTIO, istio_profile()))
        return await service.CreateCertificate(request, cast(Context, Caller(metadata)))

    async def certify(self, *, identity: str = NAME) -> CertifyResponse:
        """Ask as linkerd2-proxy does."""
        request = CertifyRequest(
            identity=identity,
            token=self.token("linkerd").encode(),
            certificate_signing_request=linkerd_csr(KEY, identity),
        )
        service = LinkerdIdentity(self.door(Wire.LINKERD, linkerd_profile("linkerd")), "linkerd")
        return await service.Certify(request, cast(Context, Caller()))


@pytest.fixture
def house() -> House:
    return House()


async def test_istio_gets_all_roots_in_the_last_string(house: House) -> None:
    answer = await house.create()

    assert len(answer.cert_chain) == 3
    leaf, issuer, roots = answer.cert_chain
    assert x509.load_pem_x509_certificates(leaf.encode())[0].public_key() == KEY.public_key()
    assert x509.load_pem_x509_certificates(issuer.encode()) == list(AUTHORITY.chain)
    assert x509.load_pem_x509_certificates(roots.encode()) == list(AUTHORITY.roots)
    assert len(AUTHORITY.roots) == 2


async def test_linkerd_gets_the_end_of_its_leaf(house: House) -> None:
    answer = await house.certify()

    leaf = x509.load_der_x509_certificate(answer.leaf_certificate)
    assert answer.valid_until.seconds == int(leaf.not_valid_after_utc.timestamp())


async def test_linkerd_gets_the_chain_without_any_root(house: House) -> None:
    answer = await house.certify()

    assert list(answer.intermediate_certificates) == [each.public_bytes(Encoding.DER) for each in AUTHORITY.chain]


async def test_linkerd_is_refused_another_identity_than_the_tokens(house: House) -> None:
    # The CSR names the proven identity here, so that nothing but the field can be the reason.
    service = LinkerdIdentity(house.door(Wire.LINKERD, linkerd_profile("linkerd")), "linkerd")
    request = CertifyRequest(
        identity=NAME.replace("web", "admin"),
        token=house.token("linkerd").encode(),
        certificate_signing_request=linkerd_csr(KEY, NAME),
    )

    with pytest.raises(Aborted, match="requested identity did not match provided token") as seen:
        await service.Certify(request, cast(Context, Caller()))

    assert seen.value.code is Code.FAILED_PRECONDITION
    assert house.ledger.entries == []


@pytest.mark.parametrize(
    ("asked", "code", "check"),
    [
        ({"CertSigner": "example.com/foo"}, Code.INVALID_ARGUMENT, "signer"),
        ({"ImpersonatedIdentity": str(ACCOUNT)}, Code.UNAUTHENTICATED, "impersonation"),
    ],
    ids=["another signer", "another's identity"],
)
async def test_istio_is_refused_what_only_another_ca_could_do(
    house: House, asked: dict[str, str], code: grpc.StatusCode, check: str
) -> None:
    with pytest.raises(Aborted) as seen:
        await house.create(asked)

    assert seen.value.code is code
    assert house.log.entries[0]["check"] == check
    assert house.ledger.entries == []


@pytest.mark.parametrize("name", ["CertSigner", "ImpersonatedIdentity"])
async def test_istio_may_leave_them_empty(house: House, name: str) -> None:
    await house.create({name: ""})

    assert len(house.ledger.entries) == 1


@pytest.mark.parametrize("count", [0, 2])
async def test_istio_must_show_exactly_one_bearer_token(house: House, count: int) -> None:
    headers = [("authorization", f"Bearer {house.token('istio')}") for _ in range(count)]

    with pytest.raises(Aborted) as seen:
        await house.create(metadata=headers)

    assert seen.value.code is Code.UNAUTHENTICATED
    assert house.ledger.entries == []


async def test_who_proved_nothing_is_told_nothing(house: House) -> None:
    headers = (("authorization", f"Bearer {house.token('linkerd')}"),)

    with pytest.raises(Aborted) as seen:
        await house.create(metadata=headers)

    (line,) = house.log.entries
    assert seen.value.details == f"request authenticate failure (request {line['request']})"
    assert line["check"] == "audience"
