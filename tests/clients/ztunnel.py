"""A client that behaves as ztunnel does in dedicated mode (``istio.md`` §0.3, §0.4, §1.4)."""

from __future__ import annotations

import re
import ssl
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.protobuf.message import DecodeError

from meshca._pb.istio.ca_pb2 import IstioCertificateRequest, IstioCertificateResponse
from tests.clients import istio_answer
from tests.clients.csr import Key, ztunnel_csr
from tests.clients.errors import AnswerRefused, AnswerUseless, ClientError, NoAnswer, TokenUnusable
from tests.clients.h2_unary import GrpcConnection, dial, secure
from tests.clients.workload import Clock, Workload, pem_blocks, wall_clock

_PATH = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
_SUITES = frozenset({"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"})
_NOT_IN_A_HEADER = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Ztunnel:
    """One ztunnel that serves one workload. It keeps its connection; end it with ``with`` or ``close``.

    The SAN check is shared mode's. It is made here, too, since a certificate for somebody else is as useless
    in dedicated mode.
    """

    def __init__(
        self,
        address: str,
        *,
        server_name: str,
        anchors: str,
        token_file: Path,
        namespace: str,
        service_account: str,
        trust_domain: str = "cluster.local",
        cluster_id: str = "Kubernetes",
        secret_ttl: timedelta = timedelta(hours=24),
        clock: Clock = wall_clock,
        timeout: float = 10.0,
    ) -> None:
        self.identity = f"spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}"
        self.current: Workload | None = None
        self.next_refresh: datetime | None = None
        """When the next fetch is due: half-way through the leaf's validity."""
        self._address = address
        self._server_name = server_name
        self._anchors = anchors
        self._token_file = token_file
        self._cluster_id = cluster_id
        self._ttl = secret_ttl
        self._clock = clock
        self._timeout = timeout
        self._connection: GrpcConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up. The next fetch dials again."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def fetch(self) -> Workload:
        """Ask once with a new key, judge the answer, and take it.

        Raises ClientError, and then keeps what it had. A leaf whose renewal would already be due is refused
        as useless: ztunnel would fetch in a loop (§0.4).
        """
        key = ec.generate_private_key(ec.SECP256R1())
        answer = self._call(key, self._authorization())
        workload, next_refresh = self._judge(key, list(answer.cert_chain))
        self.current, self.next_refresh = workload, next_refresh
        return workload

    def _authorization(self) -> str:
        """The file as it is: nothing is trimmed, and what cannot stand in a header is an error."""
        try:
            token = self._token_file.read_bytes()
        except OSError as error:
            raise TokenUnusable(f"no token: {error}") from error
        if not token or _NOT_IN_A_HEADER.search(token) or not token.isascii():
            raise TokenUnusable(f"{self._token_file} does not make a header: is there a newline at its end?")
        return f"Bearer {token.decode('ascii')}"

    def _call(self, key: Key, authorization: str) -> IstioCertificateResponse:
        request = IstioCertificateRequest(
            csr=ztunnel_csr(key, self.identity), validity_duration=int(self._ttl.total_seconds())
        )
        connection = self._connected()
        try:
            body = connection.unary(
                _PATH,
                request.SerializeToString(),
                scheme="https",
                authority=self._address,
                headers=[("authorization", authorization), ("clusterid", self._cluster_id)],
            )
        except NoAnswer:
            self.close()
            raise
        try:
            return IstioCertificateResponse.FromString(body)
        except DecodeError as error:
            raise NoAnswer(f"{len(body)} bytes are not an IstioCertificateResponse") from error

    def _connected(self) -> GrpcConnection:
        if self._connection is not None and not self._connection.still_open():
            self.close()
        if self._connection is None:
            self._connection = GrpcConnection(self._dial(), timeout=self._timeout)
        return self._connection

    def _dial(self) -> ssl.SSLSocket:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.hostname_checks_common_name = False
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["h2"])
        context.load_verify_locations(cadata=self._anchors)
        sock = dial(self._address, timeout=self._timeout)
        tls = secure(sock, context, server_name=self._server_name)
        try:
            _judge_tls(tls)
        except ClientError:
            tls.close()
            raise
        return tls

    def _judge(self, key: Key, cert_chain: list[str]) -> tuple[Workload, datetime]:
        received = self._clock()
        if len(cert_chain) < 2:
            raise AnswerRefused("EmptyResponse: a leaf and roots are needed")
        leaf, *intermediates = [_first(string) for string in cert_chain[:-1]]
        roots = pem_blocks(cert_chain[-1])
        if not roots:
            raise AnswerRefused("EmptyResponse: no root certificate in the last string")
        for certificate in (*intermediates, *roots):
            istio_answer.parse(certificate, "chain")
        workload = Workload(
            identity=self.identity,
            leaf=leaf,
            chain="".join(intermediates),
            key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            roots="".join(roots),
        )
        parsed = istio_answer.parse(leaf, "leaf")
        uris = [name for name in workload.names if "://" in name]
        if uris[:1] != [self.identity]:
            raise AnswerRefused(f"SanError: asked for {self.identity}, got {uris}")
        istio_answer.judge_roots(cert_chain)
        istio_answer.judge(workload, key, now=received)
        begins, ends = parsed.not_valid_before_utc, parsed.not_valid_after_utc
        refresh = begins + (ends - begins) / 2
        if refresh <= received:
            raise AnswerUseless(f"renewal was due at {refresh}, and it is {received}: a loop")
        return workload, refresh


def _first(string: str) -> str:
    """The one PEM block that ztunnel reads of a string."""
    blocks = pem_blocks(string)
    if not blocks:
        raise AnswerRefused("CertificateParseError: no certificate in a string of the chain")
    return blocks[0]


def _judge_tls(tls: ssl.SSLSocket) -> None:
    """ztunnel offers AES-GCM only; Python 3.11 cannot narrow TLS 1.3's suites, so it is seen afterwards."""
    cipher = tls.cipher()
    if cipher is None or cipher[0] not in _SUITES:
        raise NoAnswer(f"the server chose {cipher}, which ztunnel does not offer")
    if tls.selected_alpn_protocol() != "h2":
        raise NoAnswer(f"ALPN h2 was offered, the server chose {tls.selected_alpn_protocol()}")
