"""The two wires, as their clients speak them."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from typing import Protocol, TypeVar

import grpc
from cryptography import x509

from meshca import pem
from meshca._pb.istio import ca_pb2, ca_pb2_grpc
from meshca._pb.linkerd import identity_pb2, identity_pb2_grpc
from meshca.cli.fetching.requests import PrivateKey, istio_csr, linkerd_csr
from meshca.cli.fetching.verdict import Delivery, NotAcceptable, verify_istio, verify_linkerd
from meshca.clock import Clock
from meshca.errors import Misconfigured

Value = TypeVar("Value")

_ISTIO_LIFETIME = 24 * 60 * 60
"""Seconds; what pilot-agent and ztunnel ask for (``istio.md`` §1.3–1.4)."""

_QUICK = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
]


class Client(Protocol):
    """One client with its key, its CSR and its connection."""

    def ask(self, token: str, timeout: float) -> Delivery:
        """Get a certificate. Raises grpc.RpcError, and NotAcceptable for an answer that cannot be read."""

    def verify(self, delivery: Delivery) -> None:
        """Judge it as this client does. Raises NotAcceptable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the service is, and how it shows that it is the one."""

    address: str
    server_name: str
    """The name in its certificate; empty connects in the clear."""
    roots_pem: bytes


class LinkerdClient:
    """As linkerd2-proxy: DER, the same CSR for ever; roots from its own configuration."""

    def __init__(self, target: Target, *, name: str, key: PrivateKey, clock: Clock) -> None:
        self._stub = identity_pb2_grpc.IdentityStub(connect(target))
        self._name = name
        self._key = key
        self._clock = clock
        self._csr = linkerd_csr(key, name)
        self._roots = tuple(read_pem(target.roots_pem))

    def ask(self, token: str, timeout: float) -> Delivery:
        request = identity_pb2.CertifyRequest(
            identity=self._name, token=token.encode(), certificate_signing_request=self._csr
        )
        answer = self._stub.Certify(request, timeout=timeout)
        with_end = answer.HasField("valid_until")
        return Delivery(
            leaf=_read(x509.load_der_x509_certificate, answer.leaf_certificate),
            chain=tuple(_read(x509.load_der_x509_certificate, each) for each in answer.intermediate_certificates),
            roots=self._roots,
            valid_until=answer.valid_until.ToDatetime(tzinfo=UTC) if with_end else None,
        )

    def verify(self, delivery: Delivery) -> None:
        verify_linkerd(delivery, name=self._name, key=self._key, now=self._clock())


class IstioClient:
    """As pilot-agent: PEM, the token in the metadata; roots from the answer's last string."""

    def __init__(self, target: Target, *, spiffe_id: str, cluster: str, key: PrivateKey, clock: Clock) -> None:
        self._stub = ca_pb2_grpc.IstioCertificateServiceStub(connect(target))
        self._spiffe_id = spiffe_id
        self._cluster = cluster
        self._key = key
        self._clock = clock
        self._request = ca_pb2.IstioCertificateRequest(
            csr=istio_csr(key, spiffe_id).decode(), validity_duration=_ISTIO_LIFETIME
        )
        self._request.metadata.fields["CertSigner"].string_value = ""

    def ask(self, token: str, timeout: float) -> Delivery:
        metadata = (("authorization", f"Bearer {token}"), ("clusterid", self._cluster))
        strings = self._stub.CreateCertificate(self._request, metadata=metadata, timeout=timeout).cert_chain
        if len(strings) < 2:
            raise NotAcceptable(
                f"invalid empty CertChain: {len(strings)} strings, where a leaf and the roots are needed"
            )
        leaf, *chain = (_one_block(each) for each in strings[:-1])
        return Delivery(leaf=leaf, chain=tuple(chain), roots=tuple(read_pem(strings[-1].encode())))

    def verify(self, delivery: Delivery) -> None:
        verify_istio(delivery, spiffe_id=self._spiffe_id, key=self._key, now=self._clock())


def connect(target: Target) -> grpc.Channel:
    """A channel, opened with its first call. Raises Misconfigured when a token would cross a network in the clear."""
    if not target.server_name:
        if not _is_loopback(target.address):
            raise Misconfigured(
                f"{target.address} is not on this machine, and a token is a password: "
                "say with --server-name which name the server's certificate has"
            )
        return grpc.insecure_channel(target.address, options=_QUICK)
    credentials = grpc.ssl_channel_credentials(root_certificates=target.roots_pem)
    options = [*_QUICK, ("grpc.ssl_target_name_override", target.server_name)]
    return grpc.secure_channel(target.address, credentials, options=options)


def read_pem(text: bytes) -> list[x509.Certificate]:
    """All certificates of a text. Raises NotAcceptable when there is none, or one cannot be read."""
    return _read(x509.load_pem_x509_certificates, text)


def _one_block(text: str) -> x509.Certificate:
    """ztunnel reads the first block of each string and loses the rest (``istio.md`` §1.4), so there may be no rest."""
    try:
        der = pem.decode(text.encode(), label="CERTIFICATE")
    except pem.BadPem as error:
        raise NotAcceptable(f"a string of the answer is not one certificate: {error}") from None
    return _read(x509.load_der_x509_certificate, der)


def _read(parse: Callable[[bytes], Value], content: bytes) -> Value:
    try:
        return parse(content)
    except ValueError:
        raise NotAcceptable("the answer holds something that is no certificate") from None


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return address.startswith("unix:") or host in {"localhost", "localhost."}
