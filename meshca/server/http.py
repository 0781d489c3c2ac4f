"""The HTTP side of the control process: health, metrics and the trust bundle. Anybody may ask; nothing is secret."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from meshca.errors import MeshcaError
from meshca.roots.bundle import bundle_document, bundle_pem
from meshca.rotation.authority_set import AuthoritySet
from meshca.server.metrics import Exposition

if TYPE_CHECKING:
    from starlette.requests import Request


def application(
    *, trouble: Callable[[], str | None], present: Callable[[], AuthoritySet], exposition: Exposition
) -> Starlette:
    """``trouble`` says why we are not ready; ``present`` reads the authority set and may wait for the store."""

    async def alive(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(request: Request) -> Response:
        reason = trouble()
        return PlainTextResponse("ok\n") if reason is None else PlainTextResponse(f"{reason}\n", status_code=503)

    async def metrics(request: Request) -> Response:
        return Response(exposition.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def bundle(request: Request) -> Response:
        authority_set = await asyncio.to_thread(present)
        return JSONResponse(bundle_document(authority_set.bundle, sequence=authority_set.bundle_sequence))

    async def pem(request: Request) -> Response:
        authority_set = await asyncio.to_thread(present)
        return Response(bundle_pem(authority_set.bundle), media_type="application/x-pem-file")

    async def unavailable(request: Request, error: Exception) -> Response:
        return PlainTextResponse(f"{error}\n", status_code=503)

    return Starlette(
        routes=[
            Route("/livez", alive),
            Route("/readyz", ready),
            Route("/metrics", metrics),
            Route("/bundle", bundle),
            Route("/bundle.pem", pem),
        ],
        exception_handlers={MeshcaError: unavailable},
    )


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers: the control process has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(app: Starlette, host: str, port: int) -> AsyncIterator[None]:
    """Serve the application for the length of the block. Raises OSError when the address cannot be had."""
    server = _Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            limit_concurrency=100,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=16 * 1024,
        )
    )
    task = asyncio.create_task(server.serve())
    try:
        while not server.started and not task.done():
            await asyncio.sleep(0.01)
        if task.done():
            raise OSError(f"{host}:{port} cannot be had: it is taken, or not an address here")
        yield
    finally:
        server.should_exit = True
        with contextlib.suppress(SystemExit):
            await task
