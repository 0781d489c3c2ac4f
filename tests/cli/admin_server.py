"""An admin service that answers what a test tells it to: for what the command line prints."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc

from meshca._pb.meshca import admin_pb2, admin_pb2_grpc

BEGIN = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@dataclass
class Answers(admin_pb2_grpc.AdminServicer):
    """Answers by the name of the call; several for one call are given in turn, the last one for ever.

    An answer that is a status code with a text is an error; one that is a list is a stream.
    """

    by_call: dict[str, list[Any]] = field(default_factory=dict)
    asked: list[Any] = field(default_factory=list)

    def answer(self, call: str, request: Any, context: grpc.ServicerContext) -> Any:
        self.asked.append(request)
        answers = self.by_call[call]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, tuple):
            context.abort(*answer)
        return answer

    def ListCertificates(self, request: Any, context: Any) -> Any:
        yield from self.answer("ListCertificates", request, context)

    def CheckLedger(self, request: Any, context: Any) -> Any:
        yield from self.answer("CheckLedger", request, context)

    def GetCertificate(self, request: Any, context: Any) -> Any:
        return self.answer("GetCertificate", request, context)

    def ListIssuers(self, request: Any, context: Any) -> Any:
        return self.answer("ListIssuers", request, context)

    def ListRoots(self, request: Any, context: Any) -> Any:
        return self.answer("ListRoots", request, context)

    def ExplainToken(self, request: Any, context: Any) -> Any:
        return self.answer("ExplainToken", request, context)

    def ExplainCsr(self, request: Any, context: Any) -> Any:
        return self.answer("ExplainCsr", request, context)

    def RotateIssuer(self, request: Any, context: Any) -> Any:
        return self.answer("RotateIssuer", request, context)

    def GetRotation(self, request: Any, context: Any) -> Any:
        return self.answer("GetRotation", request, context)


@contextlib.contextmanager
def serving(answers: Answers) -> Iterator[str]:
    """The address of a server that gives these answers."""
    folder = Path(tempfile.mkdtemp(prefix="mc-"))  # pytest's own folders are too long for a socket
    server = grpc.server(ThreadPoolExecutor(2))
    admin_pb2_grpc.add_AdminServicer_to_server(answers, server)
    address = f"unix:{folder}/admin.sock"
    server.add_insecure_port(address)
    server.start()
    try:
        yield address
    finally:
        server.stop(None).wait()
        shutil.rmtree(folder)


def certificate(serial: str = "0a" * 16, *, der: bytes = b"", **fields: Any) -> admin_pb2.Certificate:
    """A row of the ledger."""
    message = admin_pb2.Certificate(
        serial=serial,
        identity="spiffe://cluster.local/ns/shop/sa/cart",
        cluster="Kubernetes",
        namespace="shop",
        service_account="cart",
        service="istio",
        proof="jwks",
        issuer="00112233aabbccdd",
        spki_sha256=bytes(range(32)),
        counter=7,
        der=der,
        **fields,
    )
    message.not_before.FromDatetime(BEGIN)
    message.not_after.FromDatetime(BEGIN)
    message.issued.FromDatetime(BEGIN.replace(microsecond=250_000))
    return message
