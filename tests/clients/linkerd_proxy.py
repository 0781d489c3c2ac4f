"""A client that behaves as linkerd2-proxy does towards the identity service (``linkerd.md`` §1.2–1.5, §7)."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import SignatureAlgorithmOID
from google.protobuf.message import DecodeError

from meshca._pb.linkerd.identity_pb2 import CertifyRequest, CertifyResponse
from tests.clients.csr import linkerd_csr
from tests.clients.errors import (
    AnswerRefused,
    AnswerUseless,
    ChainRefused,
    ClientError,
    NoAnswer,
    TokenUnusable,
)
from tests.clients.h2_unary import GrpcConnection, dial, secure
from tests.clients.workload import Clock, Workload, has_key, load_pair, names, openssl_verify, wall_clock

_PATH = "/io.linkerd.proxy.identity.Identity/Certify"
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
_REFRESH = 0.7
_MOST_INTERMEDIATES = 6
_SIGNATURES = frozenset(
    {
        SignatureAlgorithmOID.ECDSA_WITH_SHA256,
        SignatureAlgorithmOID.ECDSA_WITH_SHA384,
        SignatureAlgorithmOID.ECDSA_WITH_SHA512,
        SignatureAlgorithmOID.ED25519,
        SignatureAlgorithmOID.RSA_WITH_SHA256,
        SignatureAlgorithmOID.RSA_WITH_SHA384,
        SignatureAlgorithmOID.RSA_WITH_SHA512,
    }
)


class LinkerdProxy:
    """One proxy, with the key and the CSR that it was started with.

    Upstream dials plaintext exactly when the address is loopback; our tests know no other address, so here
    ``server_name`` decides: none means plaintext, a name means TLS with that name as SNI and as the SAN
    that the server must show.
    """

    def __init__(
        self,
        address: str,
        *,
        token_file: Path,
        anchors: str,
        namespace: str,
        service_account: str,
        control_namespace: str = "linkerd",
        trust_domain: str = "cluster.local",
        server_name: str | None = None,
        clock: Clock = wall_clock,
        min_refresh: timedelta = timedelta(seconds=10),
        max_refresh: timedelta = timedelta(hours=24),
        timeout: float = 10.0,
    ) -> None:
        self.local_name = f"{service_account}.{namespace}.serviceaccount.identity.{control_namespace}.{trust_domain}"
        self.current: Workload | None = None
        self.valid_until: datetime | None = None
        self.sleep = timedelta()
        """How long until the next try, once there was one."""
        self._address = address
        self._token_file = token_file
        self._anchors = anchors
        self._server_name = server_name
        self._clock = clock
        self._min_refresh = min_refresh
        self._max_refresh = max_refresh
        self._timeout = timeout
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._csr = linkerd_csr(self._key, self.local_name)

    def certify(self) -> Workload:
        """Ask once, judge the answer, and install it.

        Raises ClientError, and then keeps what it had; :attr:`sleep` is set in both cases.
        """
        try:
            answer = self._call(self._token())
            now = self._clock()
            valid_until = _valid_until(answer, now)
            self.current, self.valid_until = self._judge(answer, valid_until, now), valid_until
        finally:
            self.sleep = self._refresh_in(self._clock())
        return self.current

    def _refresh_in(self, now: datetime) -> timedelta:
        left = self.valid_until - now if self.valid_until else timedelta()
        return min(max(left * _REFRESH, self._min_refresh), self._max_refresh)

    def _token(self) -> bytes:
        try:
            token = self._token_file.read_bytes()
        except OSError as error:
            raise TokenUnusable(f"no token: {error}") from error
        if not token:
            raise TokenUnusable(f"{self._token_file} is empty")
        return token

    def _call(self, token: bytes) -> CertifyResponse:
        request = CertifyRequest(identity=self.local_name, token=token, certificate_signing_request=self._csr)
        with self._connect() as connection:
            body = connection.unary(
                _PATH,
                request.SerializeToString(),
                scheme="http",
                authority=self._address.replace(".:", ":"),
            )
        try:
            return CertifyResponse.FromString(body)
        except DecodeError as error:
            raise NoAnswer(f"{len(body)} bytes are not a CertifyResponse") from error

    def _connect(self) -> GrpcConnection:
        sock = dial(self._address, timeout=self._timeout)
        if self._server_name is None:
            return GrpcConnection(sock, timeout=self._timeout)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False  # done below: OpenSSL would take wildcards, the proxy does not
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(cadata=self._anchors)
        if self.current is not None:
            load_pair(context, self.current)
        tls = secure(sock, context, server_name=self._server_name)
        try:
            _judge_server(tls, self._server_name)
        except ClientError:
            tls.close()
            raise
        return GrpcConnection(tls, timeout=self._timeout)

    def _judge(self, answer: CertifyResponse, valid_until: datetime, now: datetime) -> Workload:
        leaf = _parse(answer.leaf_certificate, "leaf")
        intermediates = [_parse(each, "intermediate") for each in answer.intermediate_certificates]
        _judge_shape(leaf, intermediates)
        workload = Workload(
            identity=self.local_name,
            leaf=_pem(leaf),
            chain="".join(map(_pem, intermediates)),
            key=self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            roots=self._anchors,
        )
        try:
            openssl_verify(workload.leaf, workload.chain, self._anchors, at=now)
        except ChainRefused as error:
            raise AnswerRefused(f"the chain does not verify to the anchors: {error}") from error
        if not has_key(leaf, self._key):
            raise AnswerRefused("the leaf is not for the key of the CSR")
        self._judge_names(leaf)
        if leaf.not_valid_after_utc < valid_until:
            raise AnswerUseless(f"valid_until is {valid_until}, the leaf ends at {leaf.not_valid_after_utc}")
        return workload

    def _judge_names(self, leaf: x509.Certificate) -> None:
        found = _identities(leaf)
        if self.local_name not in found:
            raise AnswerRefused(f"certificate does not match TLS identity {self.local_name}: {found}")
        if found[0] != self.local_name:
            raise AnswerUseless(f"peers would take it for the first SAN, {found[0]}")


def _valid_until(answer: CertifyResponse, now: datetime) -> datetime:
    if not answer.HasField("valid_until"):
        raise AnswerRefused("identity certification missing expiration")
    valid_until = answer.valid_until.ToDatetime(UTC)
    if valid_until <= now:
        raise AnswerRefused(f"certificate already expired: valid_until is {valid_until}, it is {now}")
    return valid_until


def _parse(der: bytes, what: str) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise AnswerRefused(f"the {what} is not a DER certificate: {der[:12]!r}…") from error


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _identities(certificate: x509.Certificate) -> list[str]:
    """DNS and URI SANs in their order, but for names with a final dot, which the proxy ignores."""
    return [name for name in names(certificate) if not name.endswith(".")]


def _judge_shape(leaf: x509.Certificate, intermediates: list[x509.Certificate]) -> None:
    """What rustls-webpki refuses and OpenSSL would not (§1.4)."""
    if len(intermediates) > _MOST_INTERMEDIATES:
        raise AnswerRefused(f"{len(intermediates)} intermediates are over {_MOST_INTERMEDIATES}")
    for certificate in (leaf, *intermediates):
        if certificate.version is not x509.Version.v3:
            raise AnswerRefused(f"an X.509 certificate of version {certificate.version}")
        if certificate.signature_algorithm_oid not in _SIGNATURES:
            raise AnswerRefused(f"signature algorithm {certificate.signature_algorithm_oid} is not offered")
    constraints = _extension(leaf, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise AnswerRefused("the leaf is a CA certificate")
    has_uri = any("://" in name for name in names(leaf))
    if has_uri and any(_constrains_uris(each) for each in intermediates):
        raise AnswerRefused("an issuer has URI name constraints, which fail closed when there is a URI SAN")


def _constrains_uris(issuer: x509.Certificate) -> bool:
    constraints = _extension(issuer, x509.NameConstraints)
    if constraints is None:
        return False
    subtrees = [*(constraints.permitted_subtrees or ()), *(constraints.excluded_subtrees or ())]
    return any(isinstance(subtree, x509.UniformResourceIdentifier) for subtree in subtrees)


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _judge_server(tls: ssl.SSLSocket, server_name: str) -> None:
    """The name must be among the SANs, and RSA is out, since TLS 1.3 would need RSA-PSS (§1.5)."""
    certificate = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")
    if server_name not in _identities(certificate):
        raise NoAnswer(f"the server is not {server_name}, but {names(certificate)}")
    if not isinstance(certificate.public_key(), ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        raise NoAnswer("the server's key is neither ECDSA nor Ed25519")
