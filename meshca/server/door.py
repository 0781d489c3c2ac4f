"""What every service adapter does around the pipeline: prove, count, log, and answer in its wire's codes."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NoReturn, TypeVar

import grpc

from meshca.clock import Clock
from meshca.errors import MeshcaError, Refused, SignerFault
from meshca.issuance.ledger import serial_text
from meshca.issuance.pipeline import Issuance, Issued, Wish
from meshca.issuance.profile import Profile
from meshca.server.codes import Wire, code_of, message_of
from meshca.server.logs import Logger
from meshca.server.metrics import Metrics
from meshca.tokens.clusters import Clusters
from meshca.tokens.validator import Proven

Context = grpc.aio.ServicerContext[Any, Any]
Answer = TypeVar("Answer")


@dataclass(slots=True)
class Call:
    """One request on its way through, and what its one log line will say."""

    peer: str
    request_id: str = field(default_factory=lambda: os.urandom(8).hex())
    proven: Proven | None = None
    issued: Issued | None = None


class Door:
    """One service of one listener: whose clients come, which tokens they show, which leaves they get."""

    def __init__(
        self,
        *,
        wire: Wire,
        profile: Profile,
        audiences: frozenset[str],
        unbound: bool,
        clusters: Clusters,
        issuance: Issuance,
        metrics: Metrics,
        log: Logger,
        clock: Clock,
    ) -> None:
        self.profile = profile
        self._wire = wire
        self._audiences = audiences
        self._unbound = unbound
        self._clusters = clusters
        self._issuance = issuance
        self._metrics = metrics
        self._log = log.bind(service=profile.service)
        self._clock = clock

    async def prove(self, call: Call, token: str, named: Sequence[str] = ()) -> Proven:
        """Who bears this token; ``named`` are the clusters that the caller names.

        Raises NotProven, Denied and Unavailable.
        """
        started = perf_counter()
        call.proven = await self._clusters.prove(
            token,
            audiences=self._audiences,
            now=self._clock(),
            named=named,
            unbound=self._unbound,
        )
        self._metrics.stage_seconds.observe(perf_counter() - started, "prove")
        return call.proven

    async def issue(self, call: Call, proven: Proven, request: bytes, wish: Wish) -> Issued:
        """Raises what the pipeline raises."""
        call.issued = await self._issuance.issue(proven, request, self.profile, wish)
        return call.issued

    async def answer(self, context: Context, serve: Callable[[Call], Awaitable[Answer]]) -> Answer:
        """Run one request and answer it; every outcome is one log line and one count."""
        started = perf_counter()
        call = Call(peer=context.peer())
        try:
            answer = await serve(call)
        except MeshcaError as error:
            self._refused(call, error, started)
            await self._abort(context, code_of(error, self._wire), message_of(error, self._wire, call.request_id))
        except Exception as error:
            self._broken(call, error)
            await self._abort(
                context,
                grpc.StatusCode.INTERNAL,
                f"something is wrong with the server (request {call.request_id})",
            )
        self._released(call, started)
        return answer

    @staticmethod
    async def _abort(context: Context, code: grpc.StatusCode, message: str) -> NoReturn:
        await context.abort(code, message)
        raise AssertionError("abort raises")

    def _released(self, call: Call, started: float) -> None:
        seconds = perf_counter() - started
        service = self.profile.service
        if call.issued is None:
            return
        entry = call.issued.entry
        self._metrics.requests.inc(service, entry.namespace, "issued")
        self._metrics.request_seconds.observe(seconds, service)
        self._log.info(
            "issued",
            request=call.request_id,
            identity=entry.identity,
            serial=serial_text(entry.serial),
            until=entry.not_after.isoformat(),
            issuer=entry.issuer_id,
            cluster=entry.cluster,
            pod=entry.pod,
            pod_uid=entry.pod_uid,
            node=entry.node,
            proof=entry.proof,
            peer=call.peer,
            milliseconds=round(seconds * 1000, 3),
        )

    def _refused(self, call: Call, error: MeshcaError, started: float) -> None:
        service = self.profile.service
        result = type(error).__name__
        identity = call.proven.identity if call.proven else None
        self._metrics.requests.inc(service, identity.namespace if identity else "", result)
        if isinstance(error, Refused):
            self._metrics.refusals.inc(service, error.check)
        log = self._log.error if isinstance(error, SignerFault) else self._log.warning
        log(
            "refused" if isinstance(error, Refused) else "not issued",
            request=call.request_id,
            result=result,
            check=getattr(error, "check", ""),
            reason=str(error),
            identity=str(identity) if identity else "",
            pod_uid=identity.pod.uid if identity and identity.pod else "",
            peer=call.peer,
            milliseconds=round((perf_counter() - started) * 1000, 3),
        )

    def _broken(self, call: Call, error: Exception) -> None:
        self._metrics.requests.inc(self.profile.service, "", "error")
        # The class alone and where it was raised: the text of a foreign exception may hold what it was given.
        self._log.error("broken", request=call.request_id, error=type(error).__name__, peer=call.peer, at=_place(error))


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
