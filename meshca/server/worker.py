"""A worker: the listeners, the pipeline and one ledger writer. Started by the control process alone.

``python -m meshca.server.worker FD`` inherits one end of a socket and finds there the effective
configuration and, when it asks, the issuer keys that it needs (DESIGN §4).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import uvloop

from meshca._pb.istio import ca_pb2, ca_pb2_grpc
from meshca._pb.linkerd import identity_pb2, identity_pb2_grpc
from meshca.clock import utc_now
from meshca.errors import MeshcaError, Misconfigured, Unavailable
from meshca.issuance.authorities import Authority
from meshca.issuance.pipeline import Issuance
from meshca.issuance.profile import istio_profile, linkerd_profile
from meshca.keys.local import LocalSigner
from meshca.names import TrustDomain
from meshca.rotation.authority_set import AuthoritySet
from meshca.server import build, logs, plain
from meshca.server.codes import Wire
from meshca.server.door import Door
from meshca.server.follow import Follower
from meshca.server.handoff import Line, unpack
from meshca.server.listeners import Listener, Register, drain
from meshca.server.metrics import Metrics
from meshca.server.services.istio import IstioCertificateService
from meshca.server.services.linkerd import LinkerdIdentity
from meshca.server.serving import ServingCertificate
from meshca.store import WorkerStore

if TYPE_CHECKING:
    from meshca.config import Config
    from meshca.config.doors import Listener as ListenerConfig

DRAIN = timedelta(seconds=10)
"""How long calls in flight have after SIGTERM."""

_REPORT = timedelta(milliseconds=500)
_COLLECT_AFTER = 20_000
"""Objects made before the garbage collector looks for cycles; a request makes few, and 700 would be every other one."""

_GONE = 70
"""The exit status of a worker that lost its control process (EX_SOFTWARE)."""


class Worker:
    """One worker process."""

    def __init__(self, config: Config, line: Line, worker_id: str) -> None:
        self._config = config
        self._line = line
        self._worker_id = worker_id
        self._log = logs.configure(config.log.level, process="worker", worker=worker_id)
        self._metrics = Metrics()
        self._keys: dict[str, asyncio.Future[LocalSigner]] = {}
        self._trust_domain = TrustDomain(config.trust_domain)
        self._store = WorkerStore(config.store.url, worker_id)
        self._own_keys = build.OwnKeys()
        self._follower = Follower(self._store, key=self._key, loaded=self._loaded, log=self._log)
        self._ledger = build.ledger_writer(config, self._store.store, self._metrics, self._log)
        self._issuance = Issuance(
            authorities=self._follower,
            policy=build.policy(config),
            rules=build.csr_rules(config, self._own_keys),
            lifetimes=build.lifetimes(config),
            ledger=self._ledger,
            clock=utc_now,
            took=lambda stage, seconds: self._metrics.stage_seconds.observe(seconds, stage),
        )
        self._callers = build.Callers(config, self._metrics)
        self._serving: list[ServingCertificate] = []
        self._listeners: list[Listener] = []

    async def run(self) -> None:
        """Serve until told to end, or until the control process is gone."""
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        tasks = [asyncio.create_task(self._listen())]
        try:
            await self._ledger.start()
            await self._follower.refresh()
            tasks.append(asyncio.create_task(self._follower.follow()))
            await self._open(tasks)
            # What start-up made stays: the collector need not look at it again and again.
            gc.collect()
            gc.freeze()
            gc.set_threshold(_COLLECT_AFTER)
            self._line.say("ready")
            tasks.append(asyncio.create_task(self._report()))
            await stop.wait()
        finally:
            await drain(self._listeners, DRAIN)
            for task in tasks:
                task.cancel()
            await self._callers.close()
            await self._ledger.close()
            self._follower.close()
            with contextlib.suppress(Unavailable):  # then its heartbeat grows old by itself
                await asyncio.to_thread(self._store.end)
            self._store.close()

    async def _open(self, tasks: list[asyncio.Task[None]]) -> None:
        for listener in self._config.listeners:
            services = [service for service in listener.services if service != "admin"]
            if not services:
                continue  # the control process serves it
            opened = await self._opened(listener, services, tasks)
            await opened.start()
            await opened.say_healthy(True)
            self._listeners.append(opened)
            self._log.info("listening", listener=listener.name, address=listener.address, kind=listener.kind)

    async def _opened(
        self, listener: ListenerConfig, services: Sequence[str], tasks: list[asyncio.Task[None]]
    ) -> Listener:
        serving = None
        if listener.kind == "tls":
            serving = ServingCertificate(
                listener.name,
                listener.names,
                trust_domain=self._trust_domain,
                issuance=self._issuance,
                clock=utc_now,
                log=self._log,
                renewed=partial(self._metrics.ends, "serving"),
            )
            await serving.renew()
            tasks.append(asyncio.create_task(serving.keep_fresh()))
        return Listener(
            listener.name,
            listener.address,
            limits=build.limits(listener.limits),
            services=[self._service(service, listener) for service in services],
            key_pair=serving.present if serving else None,
        )

    def _service(self, service: str, listener: ListenerConfig) -> Register:
        namespace = self._config.linkerd.control_namespace
        door = partial(
            Door,
            audiences=build.audiences(self._config, service),
            unbound=listener.unbound == "allow",
            clusters=self._callers.clusters,
            issuance=self._issuance,
            metrics=self._metrics,
            log=self._log,
            clock=utc_now,
        )

        def linkerd(server: grpc.aio.Server) -> str:
            adapter = LinkerdIdentity(door(wire=Wire.LINKERD, profile=linkerd_profile(namespace)), namespace)
            identity_pb2_grpc.add_IdentityServicer_to_server(adapter, server)
            return identity_pb2.DESCRIPTOR.services_by_name["Identity"].full_name

        def istio(server: grpc.aio.Server) -> str:
            adapter = IstioCertificateService(door(wire=Wire.ISTIO, profile=istio_profile()))
            ca_pb2_grpc.add_IstioCertificateServiceServicer_to_server(adapter, server)
            return ca_pb2.DESCRIPTOR.services_by_name["IstioCertificateService"].full_name

        registers: dict[str, Register] = {"linkerd": linkerd, "istio": istio}
        return registers[service]

    async def _listen(self) -> None:
        """Hear the control process; when it is gone, so are we, at once and without ceremony."""
        while (message := await self._line.hear()) is not None:
            if message["kind"] == "key":
                self._receive(message)
        os._exit(_GONE)

    def _receive(self, message: dict[str, Any]) -> None:
        waiting = self._keys.pop(message["issuer"], None)
        if waiting is None or waiting.done():
            return
        if "error" in message:
            waiting.set_exception(Unavailable(message["error"]))
        else:
            waiting.set_result(LocalSigner.from_pkcs8(unpack(message["pkcs8"])))

    async def _key(self, issuer_id: str) -> LocalSigner:
        """Ask the control process for an issuer's key. Raises Unavailable."""
        waiting = self._keys.setdefault(issuer_id, asyncio.get_running_loop().create_future())
        self._line.say("key", issuer=issuer_id)
        return await waiting

    def _loaded(self, present: AuthoritySet, authority: Authority) -> None:
        self._own_keys.replace(present)
        self._metrics.epoch.set(present.epoch, self._worker_id)
        self._metrics.bundle_sequence.set(present.bundle_sequence, self._worker_id)
        self._log.info(
            "loaded",
            epoch=present.epoch,
            issuer=authority.issuer_id,
            issuer_until=authority.issuer.not_valid_after_utc.isoformat(),
            bundle_sequence=present.bundle_sequence,
        )

    async def _report(self) -> None:
        """Tell the control process how we are, for its readiness, and the health service the same."""
        healthy = True
        while True:
            trouble = self._trouble()
            self._line.say("state", trouble=trouble, metrics=self._metrics.snapshot())
            if healthy is not (trouble is None):
                healthy = trouble is None
                for listener in self._listeners:
                    await listener.say_healthy(healthy)
            await asyncio.sleep(_REPORT.total_seconds())

    def _trouble(self) -> str | None:
        if self._follower.trouble is not None:
            return self._follower.trouble
        try:
            authority = self._follower.current()
        except Unavailable as error:
            return str(error)
        if utc_now() >= authority.not_after:
            return f"issuer {authority.issuer_id} ended at {authority.not_after}"
        return None


async def _main(descriptor: int) -> int:
    line = await Line.open(socket.socket(fileno=descriptor))
    start = await line.hear()
    if start is None:
        return _GONE
    try:
        await Worker(plain.read(start["config"]), line, start["worker"]).run()
    except MeshcaError as error:
        # The control process says it to the operator, once, and decides whether to try again.
        line.say("failed", error=str(error), final=isinstance(error, Misconfigured))
        await line.drain()
        return 1
    return 0


def main() -> None:
    """The entry point of the worker process."""
    sys.exit(uvloop.run(_main(int(sys.argv[1]))))


if __name__ == "__main__":
    main()
