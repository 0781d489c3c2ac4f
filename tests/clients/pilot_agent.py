"""A client that behaves as pilot-agent does, with the Envoy that it feeds (``istio.md`` §0, §1.1–1.3)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

import grpc
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from meshca._pb.istio.ca_pb2 import IstioCertificateRequest, IstioCertificateResponse
from tests.clients import istio_answer
from tests.clients.csr import Key, pilot_agent_csr
from tests.clients.errors import AnswerRefused, CallFailed, NoAnswer
from tests.clients.workload import Clock, Workload, pem_blocks, wall_clock

_METHOD = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
_ATTEMPTS = 5
_BACKOFF = 0.1
_JITTER = 0.1
_RETRIED = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
    }
)
_GRACE = 0.5
_GRACE_JITTER = 0.01
_CURVES = {"ec-p256": ec.SECP256R1, "ec-p384": ec.SECP384R1}


class PilotAgent:
    """One sidecar's agent. It keeps its connection until a call fails; end it with ``with`` or ``close``."""

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
        key: str = "rsa-2048",
        secret_ttl: timedelta = timedelta(hours=24),
        clock: Clock = wall_clock,
        pause: Callable[[float], None] = time.sleep,
        patience: float = 30.0,
    ) -> None:
        """``key`` is rsa-2048, ec-p256 or ec-p384; ``patience`` is the test's, since the agent has none."""
        self.identity = f"spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}"
        self.current: Workload | None = None
        self.rotate_at: datetime | None = None
        """When the next fetch is due."""
        self._address = address
        self._credentials = grpc.ssl_channel_credentials(root_certificates=anchors.encode())
        self._server_name = server_name
        self._token_file = token_file
        self._cluster_id = cluster_id
        self._key_kind = key
        self._ttl = secret_ttl
        self._clock = clock
        self._pause = pause
        self._patience = patience
        self._channel: grpc.Channel | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up. The next fetch dials again."""
        if self._channel is not None:
            self._channel.close()
        self._channel = None

    def fetch(self) -> Workload:
        """Ask with a new key, as often as the agent's retries do, and judge the answer.

        Raises ClientError, and then keeps what it had.
        """
        key = _new_key(self._key_kind)
        request = IstioCertificateRequest(
            csr=pilot_agent_csr(key, self.identity), validity_duration=int(self._ttl.total_seconds())
        )
        request.metadata.update({"CertSigner": ""})
        try:
            answer = self._call_with_retries(request)
            self._install(key, list(answer.cert_chain))
        except Exception:
            self.close()
            raise
        assert self.current is not None
        return self.current

    def _call_with_retries(self, request: IstioCertificateRequest) -> IstioCertificateResponse:
        ends = time.monotonic() + self._patience
        for attempt in range(_ATTEMPTS - 1):
            try:
                return self._call(request, ends)
            except CallFailed as error:
                if error.code not in _RETRIED:
                    raise
            self._pause(_BACKOFF * 2**attempt * random.uniform(1 - _JITTER, 1 + _JITTER))
        return self._call(request, ends)

    def _call(self, request: IstioCertificateRequest, ends: float) -> IstioCertificateResponse:
        """One attempt. The agent's call has no deadline, so none goes out; we give up on our own side."""
        call = self._method().future(request, metadata=self._metadata())
        try:
            answer = call.result(timeout=max(ends - time.monotonic(), 0.0))
        except grpc.FutureTimeoutError as error:
            call.cancel()
            raise NoAnswer(f"no answer within {self._patience} s") from error
        except grpc.FutureCancelledError as error:
            raise CallFailed(grpc.StatusCode.CANCELLED, "cancelled") from error
        except grpc.RpcError as error:
            raise CallFailed(error.code(), error.details() or "") from error
        assert isinstance(answer, IstioCertificateResponse)
        return answer

    def _method(self) -> grpc.UnaryUnaryMultiCallable[IstioCertificateRequest, IstioCertificateResponse]:
        if self._channel is None:
            self._channel = grpc.secure_channel(
                self._address,
                self._credentials,
                options=(
                    ("grpc.ssl_target_name_override", self._server_name),
                    ("grpc.primary_user_agent", "grpc-go/1.72.0"),
                    ("grpc.enable_retries", 0),
                    ("grpc.enable_http_proxy", 0),
                    # Each agent has a connection of its own, and a new one after a failure.
                    ("grpc.use_local_subchannel_pool", 1),
                    ("grpc.initial_reconnect_backoff_ms", 100),
                ),
            )
        return self._channel.unary_unary(
            _METHOD,
            request_serializer=IstioCertificateRequest.SerializeToString,
            response_deserializer=IstioCertificateResponse.FromString,
        )

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        metadata = [("clusterid", self._cluster_id)]
        token = self._token_file.read_text().strip() if self._token_file.exists() else ""
        if token:
            metadata.append(("authorization", f"Bearer {token}"))
        return tuple(metadata)

    def _install(self, key: Key, cert_chain: list[str]) -> None:
        received = self._clock()
        if len(cert_chain) <= 1:
            raise AnswerRefused("invalid empty CertChain")
        first, *rest = pem_blocks(_concatenated(cert_chain)) or [""]
        ends = istio_answer.parse(first, "first certificate").not_valid_after_utc
        grace = _GRACE + random.uniform(-_GRACE_JITTER, _GRACE_JITTER)
        workload = Workload(
            identity=self.identity,
            leaf=first,
            chain="".join(rest),
            key=key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode(),
            roots=cert_chain[-1],
        )
        istio_answer.judge_roots(cert_chain)
        istio_answer.judge(workload, key, now=received)
        self.current, self.rotate_at = workload, ends - (ends - received) * grace


def _concatenated(strings: list[str]) -> str:
    """Each on a new line, as the agent writes Envoy's chain file."""
    return "".join(string if string.endswith("\n") else f"{string}\n" for string in strings)


def _new_key(kind: str) -> Key:
    if kind == "rsa-2048":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(_CURVES[kind]())
