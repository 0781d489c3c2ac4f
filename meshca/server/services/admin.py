"""``meshca.admin.v1.Admin``: what an operator may ask of a running meshca."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import NoReturn, TypeVar

from meshca import __version__
from meshca._pb.meshca import admin_pb2, admin_pb2_grpc
from meshca.clock import utc_now
from meshca.config import Config
from meshca.errors import Conflict, MeshcaError, shown
from meshca.rotation.authority_set import AuthoritySet
from meshca.rotation.controller import Controller, Progress
from meshca.server.codes import Wire, code_of, message_of
from meshca.server.door import Context
from meshca.server.explain import Explainer
from meshca.server.logs import Logger
from meshca.server.services import admin_messages as messages
from meshca.store import CertificateFilter, ControlStore

Answer = TypeVar("Answer")
_BATCH = 256


class AdminService(admin_pb2_grpc.AdminServicer):
    """Reads wait for the database, so they run in a thread; every wish is a line of the audit log."""

    def __init__(
        self, config: Config, *, store: ControlStore, controller: Controller, log: Logger, started: datetime
    ) -> None:
        self._config = config
        self._store = store
        self._controller = controller
        self._log = log
        self._started = started
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="admin")
        self._explainer = Explainer(config, self._present)

    async def close(self) -> None:
        await self._explainer.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def GetServer(self, request: admin_pb2.GetServerRequest, context: Context) -> admin_pb2.Server:
        present = await self._read(context, self._present)
        answer = admin_pb2.Server(
            version=__version__,
            trust_domain=present.trust_domain,
            epoch=present.epoch,
            bundle_sequence=present.bundle_sequence,
            active_issuer=present.active.id,
        )
        answer.started.FromDatetime(self._started)
        return answer

    async def ListCertificates(
        self, request: admin_pb2.ListCertificatesRequest, context: Context
    ) -> AsyncIterator[admin_pb2.Certificate]:
        chosen = CertificateFilter(
            namespace=request.namespace,
            service_account=request.service_account,
            pod=request.pod,
            issuer=request.issuer,
            service=request.service,
            cluster=request.cluster,
            live_at=utc_now() if request.live else None,
            limit=request.limit,
        )
        async for row in self._stream(context, lambda: self._store.certificates(chosen)):
            yield messages.certificate(row, der=False)

    async def GetCertificate(self, request: admin_pb2.GetCertificateRequest, context: Context) -> admin_pb2.Certificate:
        row = await self._read(context, lambda: self._store.certificate(request.serial))
        if row is None:
            await self._abort(context, Conflict(f"the ledger has no certificate with serial {shown(request.serial)}"))
        return messages.certificate(row, der=True)

    async def ListIssuers(
        self, request: admin_pb2.ListIssuersRequest, context: Context
    ) -> admin_pb2.ListIssuersResponse:
        def read() -> list[admin_pb2.Issuer]:
            evidence = self._store.evidence(utc_now)
            return [messages.issuer(each, evidence.leaves(each.id)) for each in self._present().issuers]

        return admin_pb2.ListIssuersResponse(issuers=await self._read(context, read))

    async def ListRoots(self, request: admin_pb2.ListRootsRequest, context: Context) -> admin_pb2.ListRootsResponse:
        present = await self._read(context, self._present)
        return admin_pb2.ListRootsResponse(
            roots=[messages.root(each) for each in present.roots], bundle_sequence=present.bundle_sequence
        )

    async def ExplainToken(self, request: admin_pb2.ExplainTokenRequest, context: Context) -> admin_pb2.Explanation:
        return await self._answered(
            context,
            self._explainer.token(request.token, service=request.service, cluster=request.cluster or None),
        )

    async def ExplainCsr(self, request: admin_pb2.ExplainCsrRequest, context: Context) -> admin_pb2.Explanation:
        return await self._answered(
            context,
            self._explainer.csr(request.csr, service=request.service, account=request.service_account),
        )

    async def CheckLedger(
        self, request: admin_pb2.CheckLedgerRequest, context: Context
    ) -> AsyncIterator[admin_pb2.LedgerFinding]:
        async for finding in self._stream(context, self._store.walk):
            yield admin_pb2.LedgerFinding(writer=finding.writer, rows=finding.rows, fault=finding.fault)

    async def RotateIssuer(self, request: admin_pb2.RotateIssuerRequest, context: Context) -> admin_pb2.Rotation:
        because = request.because or "an operator asked"
        progress, joined = await self._read(context, lambda: self._controller.wish(because))
        self._log.info("rotation wished", because=because, joined=joined, peer=context.peer())
        return messages.rotation(progress, joined=joined)

    async def GetRotation(self, request: admin_pb2.GetRotationRequest, context: Context) -> admin_pb2.Rotation:
        progress: Progress = await self._read(context, self._controller.progress)
        return messages.rotation(progress, joined=False)

    def _present(self) -> AuthoritySet:
        return self._controller.progress().present

    async def _read(self, context: Context, call: Callable[[], Answer]) -> Answer:
        loop = asyncio.get_running_loop()
        return await self._answered(context, loop.run_in_executor(self._threads, call))

    async def _answered(self, context: Context, answer: Awaitable[Answer]) -> Answer:
        try:
            return await answer
        except MeshcaError as error:
            await self._abort(context, error)

    async def _abort(self, context: Context, error: MeshcaError) -> NoReturn:
        self._log.warning("not answered", result=type(error).__name__, reason=str(error))
        await context.abort(code_of(error, Wire.ADMIN), message_of(error, Wire.ADMIN, ""))
        raise AssertionError("abort raises")

    async def _stream(self, context: Context, open_rows: Callable[[], Iterable[Answer]]) -> AsyncIterator[Answer]:
        """Rows, read in batches off the event loop; a client that is gone ends the reading."""
        rows: Iterator[Answer] = iter(await self._read(context, open_rows))
        while batch := await self._read(context, lambda: [row for _, row in zip(range(_BATCH), rows, strict=False)]):
            for row in batch:
                yield row
