"""A tiny server that answers as upstream does, or wrongly on purpose: what the judges are judged with.

Its CA is made of ``cryptography``'s CertificateBuilder and shares nothing with meshca's issuance. Upstream's
answers: ``linkerd.md`` §1.1, ``istio.md`` §0.1 and §1.2.
"""

from __future__ import annotations

import math
import subprocess
from collections.abc import Sequence
from concurrent import futures
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum, auto
from typing import Any, Self

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key

from meshca._pb.istio.ca_pb2 import IstioCertificateRequest, IstioCertificateResponse
from meshca._pb.linkerd.identity_pb2 import CertifyRequest, CertifyResponse
from tests.clients.reference_ca import BOTH_SIDES, LeafPlan, ReferenceCa, new_key, pem
from tests.clients.workload import Clock, wall_clock

BACKDATE = timedelta(seconds=20)
_A_YEAR = 365 * 86400
"""Seconds. grpcio says centuries for a call without a deadline."""


class Fault(StrEnum):
    """What is wrong with an answer."""

    NONE = auto()
    # the leaf, for every client
    OTHER_NAME = auto()
    OTHER_KEY = auto()
    EXPIRED = auto()
    NOT_YET_VALID = auto()
    BACKDATED = auto()
    ONLY_SERVER_AUTH = auto()
    ONLY_CLIENT_AUTH = auto()
    CA_LEAF = auto()
    UNKNOWN_CRITICAL = auto()
    NO_KEY_IDENTIFIER = auto()
    SAN_NOT_CRITICAL = auto()
    NO_SAN = auto()
    FOREIGN_ISSUER = auto()
    NO_INTERMEDIATES = auto()
    GARBAGE = auto()
    # Linkerd's
    PEM_LEAF = auto()
    PEM_INTERMEDIATES = auto()
    NO_VALID_UNTIL = auto()
    PAST_VALID_UNTIL = auto()
    LATE_VALID_UNTIL = auto()
    URI_FIRST = auto()
    URI_ONLY = auto()
    FINAL_DOT = auto()
    FINAL_DOT_TOO = auto()
    SHA224 = auto()
    URI_CONSTRAINTS = auto()
    MANY_INTERMEDIATES = auto()
    # Istio's
    EMPTY = auto()
    SINGLE = auto()
    NO_ROOTS = auto()
    EMPTY_ROOTS = auto()
    SPLIT_ROOTS = auto()
    BROKEN_ROOT = auto()
    LEAF_WITH_CHAIN = auto()
    INTERMEDIATES_TOGETHER = auto()
    SECOND_URI = auto()


@dataclass(frozen=True, slots=True)
class Call:
    """One call that came in."""

    metadata: dict[str, str | bytes]
    peer: str
    has_deadline: bool
    request: Any


class ReferenceServer:
    """Both services on plaintext HTTP/2 on a port of loopback.

    Every CSR must carry a good signature, every call is answered with ``fault``, and ``refusals`` are used up
    first, one a call.
    """

    def __init__(self, ca: ReferenceCa, *, clock: Clock = wall_clock) -> None:
        self.fault = Fault.NONE
        self.lifetime = timedelta(hours=24)
        self.refusals: list[tuple[grpc.StatusCode, str]] = []
        self.calls: list[Call] = []
        self._ca = ca
        self._clock = clock
        self._server = grpc.server(futures.ThreadPoolExecutor(2), options=(("grpc.so_reuseport", 0),))
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    "io.linkerd.proxy.identity.Identity",
                    {
                        "Certify": grpc.unary_unary_rpc_method_handler(
                            self._certify, CertifyRequest.FromString, CertifyResponse.SerializeToString
                        )
                    },
                ),
                grpc.method_handlers_generic_handler(
                    "istio.v1.auth.IstioCertificateService",
                    {
                        "CreateCertificate": grpc.unary_unary_rpc_method_handler(
                            self._create,
                            IstioCertificateRequest.FromString,
                            IstioCertificateResponse.SerializeToString,
                        )
                    },
                ),
            )
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(grace=None).wait()

    def _certify(self, request: CertifyRequest, context: grpc.ServicerContext) -> CertifyResponse:
        self._note(request, context)
        key = public_key(request.certificate_signing_request, "DER")
        account, namespace, *_ = request.identity.split(".")
        domain = request.identity.partition(".identity.")[2].partition(".")[2]
        names = [
            x509.DNSName(request.identity),
            x509.UniformResourceIdentifier(f"spiffe://{domain}/ns/{namespace}/sa/{account}"),
        ]
        now = self._clock()
        leaf, chain = self._issue(LeafPlan(key, names, now - BACKDATE, now + self.lifetime))
        answer = CertifyResponse(
            leaf_certificate=leaf.public_bytes(Encoding.DER),
            intermediate_certificates=[each.public_bytes(Encoding.DER) for each in chain],
        )
        answer.valid_until.FromDatetime(leaf.not_valid_after_utc)
        self._spoil_certify(answer, leaf, chain)
        return answer

    def _spoil_certify(
        self, answer: CertifyResponse, leaf: x509.Certificate, chain: Sequence[x509.Certificate]
    ) -> None:
        now = self._clock()
        match self.fault:
            case Fault.PEM_LEAF:
                answer.leaf_certificate = pem(leaf).encode()
            case Fault.GARBAGE:
                answer.leaf_certificate = b"\x30\x03abc"
            case Fault.PEM_INTERMEDIATES:
                answer.intermediate_certificates[:] = [pem(each).encode() for each in chain]
            case Fault.MANY_INTERMEDIATES:
                answer.intermediate_certificates.extend([chain[-1].public_bytes(Encoding.DER)] * 5)
            case Fault.NO_VALID_UNTIL:
                answer.ClearField("valid_until")
            case Fault.PAST_VALID_UNTIL:
                answer.valid_until.FromDatetime(now - timedelta(seconds=1))
            case Fault.LATE_VALID_UNTIL:
                answer.valid_until.FromDatetime(leaf.not_valid_after_utc + timedelta(hours=1))
            case Fault.EXPIRED | Fault.NOT_YET_VALID:
                answer.valid_until.FromDatetime(now + timedelta(hours=1))
            case _:
                pass

    def _create(self, request: IstioCertificateRequest, context: grpc.ServicerContext) -> IstioCertificateResponse:
        self._note(request, context)
        key = public_key(request.csr.encode(), "PEM")
        now = self._clock()
        names = [x509.UniformResourceIdentifier(_uri_of(request.csr))]
        leaf, chain = self._issue(LeafPlan(key, names, now - BACKDATE, now + self.lifetime))
        return IstioCertificateResponse(cert_chain=self._strings(leaf, chain))

    def _strings(self, leaf: x509.Certificate, chain: Sequence[x509.Certificate]) -> list[str]:
        between = [pem(each) for each in chain]
        roots = [pem(each) for each in self._ca.bundle]
        match self.fault:
            case Fault.EMPTY:
                return []
            case Fault.SINGLE:
                return [pem(leaf)]
            case Fault.NO_ROOTS:
                return [pem(leaf), *between]
            case Fault.EMPTY_ROOTS:
                return [pem(leaf), *between, ""]
            case Fault.SPLIT_ROOTS:
                return [pem(leaf), *between, *roots]
            case Fault.BROKEN_ROOT:
                return [pem(leaf), *between, roots[0].replace("MII", "MIx", 1)]
            case Fault.LEAF_WITH_CHAIN:
                return [pem(leaf) + "".join(between), "".join(roots)]
            case Fault.INTERMEDIATES_TOGETHER:
                return [pem(leaf), "".join(between), "".join(roots)]
            case Fault.GARBAGE:
                return ["leaf", *between, "".join(roots)]
            case _:
                return [pem(leaf), *between, "".join(roots)]

    def _issue(self, plan: LeafPlan) -> tuple[x509.Certificate, Sequence[x509.Certificate]]:
        leaf = self._ca.leaf(replace(plan, **_changes(self.fault, plan, self._clock())))
        if self.fault is Fault.NO_INTERMEDIATES:
            return leaf, ()
        return leaf, self._ca.constrained_chain if self.fault is Fault.URI_CONSTRAINTS else self._ca.chain

    def _note(self, request: object, context: grpc.ServicerContext) -> None:
        has_deadline = (context.time_remaining() or math.inf) < _A_YEAR
        metadata = {pair[0]: pair[1] for pair in context.invocation_metadata()}
        self.calls.append(Call(metadata, context.peer(), has_deadline, request))
        if self.refusals:
            context.abort(*self.refusals.pop(0))


def _changes(fault: Fault, plan: LeafPlan, now: datetime) -> dict[str, Any]:
    """What a fault changes in the leaf."""
    uris = [name for name in plan.names if isinstance(name, x509.UniformResourceIdentifier)]
    stranger = x509.UniformResourceIdentifier("spiffe://cluster.local/ns/evil/sa/mallory")
    dotted = [x509.DNSName(f"{name.value}.") for name in plan.names if isinstance(name, x509.DNSName)]
    hour = timedelta(hours=1)
    changes: dict[Fault, dict[str, Any]] = {
        Fault.OTHER_NAME: {"names": [x509.DNSName("mallory.evil"), stranger]},
        Fault.OTHER_KEY: {"public_key": new_key().public_key()},
        Fault.EXPIRED: {"begins": now - 2 * hour, "ends": now - hour},
        Fault.NOT_YET_VALID: {"begins": now + hour, "ends": now + 2 * hour},
        Fault.BACKDATED: {"begins": now - timedelta(minutes=2), "ends": now + timedelta(minutes=1)},
        Fault.ONLY_SERVER_AUTH: {"usages": BOTH_SIDES[:1]},
        Fault.ONLY_CLIENT_AUTH: {"usages": BOTH_SIDES[1:]},
        Fault.CA_LEAF: {"ca": True},
        Fault.UNKNOWN_CRITICAL: {"unknown_critical": True},
        Fault.NO_KEY_IDENTIFIER: {"key_identifier": False},
        Fault.SAN_NOT_CRITICAL: {"san_is_critical": False},
        Fault.NO_SAN: {"names": []},
        Fault.FOREIGN_ISSUER: {"foreign": True},
        Fault.URI_FIRST: {"names": list(reversed(plan.names))},
        Fault.URI_ONLY: {"names": uris},
        Fault.FINAL_DOT: {"names": dotted},
        Fault.FINAL_DOT_TOO: {"names": [*dotted, *plan.names]},
        Fault.SHA224: {"digest": hashes.SHA224()},
        Fault.SECOND_URI: {"names": [*plan.names, stranger]},
    }
    return changes.get(fault, {})


def public_key(csr: bytes, form: str) -> CertificateIssuerPublicKeyTypes:
    """The key of a CSR whose signature OpenSSL has verified. Raises ValueError."""
    command = ["openssl", "req", "-inform", form, "-verify", "-noout", "-pubkey"]
    done = subprocess.run(command, input=csr, capture_output=True, check=False, timeout=30)
    if done.returncode != 0 or b"verify OK" not in done.stderr:
        raise ValueError(done.stderr.decode(errors="replace"))
    key = load_pem_public_key(done.stdout)
    assert isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
    return key


def _uri_of(csr: str) -> str:
    san = x509.load_pem_x509_csr(csr.encode()).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    (uri,) = san.value.get_values_for_type(x509.UniformResourceIdentifier)
    return uri
