"""The control process: what `meshca serve` runs as.

It reads the configuration, opens the issuer keys once, starts the workers, serves HTTP and the
admin API, and runs rotation, pruning and the audit of the ledger on a schedule (DESIGN §4). It
issues nothing itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import grpc
from starlette.applications import Starlette

from meshca._pb.meshca import admin_pb2, admin_pb2_grpc
from meshca.clock import utc_now
from meshca.config import Address, Config
from meshca.errors import Misconfigured
from meshca.keys.local import LocalSigner
from meshca.roots.judge import fingerprint
from meshca.rotation.authority_set import AuthoritySet
from meshca.rotation.controller import Controller
from meshca.rotation.issuers import open_key
from meshca.server import build, logs
from meshca.server.crew import Crew
from meshca.server.http import application, serving
from meshca.server.listeners import Listener, drain
from meshca.server.logs import Logger
from meshca.server.metrics import Exposition, Metrics
from meshca.server.schedule import schedule
from meshca.server.services.admin import AdminService
from meshca.store import ControlStore

_DRAIN = timedelta(seconds=2)


class Control:
    """One deployment's control process."""

    def __init__(self, config: Config, log: Logger, bundle_file: Path | None = None) -> None:
        self._config = config
        self._log = log
        self._bundle_file = bundle_file
        self._metrics = Metrics()
        self._exposition = Exposition(self._metrics)
        self._store = ControlStore(config.store.url)
        self._kek = build.kek(config)
        self._keys: dict[str, LocalSigner] = {}
        self._controller = Controller(
            store=self._store.authorities,
            source=lambda: build.root_source(config),
            kek=self._kek,
            evidence=self._store.evidence(utc_now),
            plan=build.issuer_plan(config),
            clock=utc_now,
        )
        self._crew = Crew(
            config,
            key=self._key,
            restarted=self._metrics.worker_restarts.inc,
            exposition=self._exposition,
            log=log,
        )

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until SIGTERM or SIGINT; ``ready`` is called when we do. Raises Misconfigured when we cannot start."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        self._present()  # says what to do when there is no authority set, before anything is opened
        async with contextlib.AsyncExitStack() as stack:
            await self._serve(stack)
            await asyncio.to_thread(self._look_at_root)
            self._log.info("ready", epoch=self._present().epoch, workers=self._config.workers)
            ready()
            await stop.wait()
            self._log.info("draining")

    async def _serve(self, stack: contextlib.AsyncExitStack) -> None:
        stack.callback(self._store.close)
        host, port = _host_and_port(self._config.http.address)
        try:
            await stack.enter_async_context(serving(self._application(), host, port))
        except OSError as error:
            raise Misconfigured(f"http.address: {error}") from None
        stack.push_async_callback(self._crew.stop)
        await self._crew.start()
        await stack.enter_async_context(self._admin())
        stack.enter_context(
            schedule(
                self._config,
                controller=self._controller,
                store=self._store,
                metrics=self._metrics,
                log=self._log,
                bundle_file=self._bundle_file,
            )
        )

    def _application(self) -> Starlette:
        return application(trouble=lambda: self._crew.trouble, present=self._present, exposition=self._exposition)

    @contextlib.asynccontextmanager
    async def _admin(self) -> AsyncIterator[None]:
        service = AdminService(
            self._config, store=self._store, controller=self._controller, log=self._log, started=utc_now()
        )

        def register(server: grpc.aio.Server) -> str:
            admin_pb2_grpc.add_AdminServicer_to_server(service, server)
            return admin_pb2.DESCRIPTOR.services_by_name["Admin"].full_name

        listeners = [
            Listener(each.name, each.address, limits=build.limits(each.limits), services=[register])
            for each in self._config.listeners
            if "admin" in each.services
        ]
        try:
            for listener in listeners:
                await listener.start()
                await listener.say_healthy(True)
            yield
        finally:
            await drain(listeners, _DRAIN)
            await service.close()

    def _present(self) -> AuthoritySet:
        present = self._store.authorities.read()
        if present is None:
            raise Misconfigured(f"the store {self._config.store.url} holds no authority set: run `meshca init`")
        return present

    def _look_at_root(self) -> None:
        """Say at start what would hold up the next issuer; no reason not to serve: a root's key may be offline."""
        try:
            roots = build.root_source(self._config).roots()
        except Misconfigured as error:
            self._log.warning("root not usable", reason=str(error))
            return
        if roots[0] not in self._present().bundle:
            self._log.warning(
                "root not usable",
                reason=f"root.certificate is {fingerprint(roots[0])}, which is not the root of the store: "
                "set root.certificate and root.key to the one that it was initialised with",
            )

    def _key(self, issuer_id: str) -> LocalSigner:
        """An issuer's key for a worker, unsealed once; so a crashed worker is restarted without the KEK's keeper."""
        if issuer_id not in self._keys:
            self._keys[issuer_id] = open_key(self._present().issuer(issuer_id), self._kek)
        return self._keys[issuer_id]


def _host_and_port(text: str) -> tuple[str, int]:
    """Of an address that the configuration has judged."""
    address = Address.parse(text)
    return address.host, address.port


@contextlib.contextmanager
def _alone(store: str) -> Iterator[None]:
    """One control process for each SQLite file: several writers starve each other. Raises Misconfigured.

    The lock goes with the process, however it ends.
    """
    path = Path(store.removeprefix("sqlite:///") + ".lock")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Misconfigured(f"store.url: {path} cannot be made: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Misconfigured(
            f"another meshca serves the store {store}: stop it, or give this one a store of its own"
        ) from None
    else:
        yield
    finally:
        os.close(descriptor)


def serve(config: Config, *, ready: Callable[[], None] = lambda: None, bundle_file: Path | None = None) -> None:
    """Run the control process until it is told to end, keeping the trust bundle current in ``bundle_file``.

    Raises Misconfigured when it cannot start.
    """
    os.umask(0o077)
    # A core file would hold the issuer's key.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    log = logs.configure(config.log.level, process="control")
    with _alone(config.store.url):
        asyncio.run(Control(config, log, bundle_file).run(ready))
