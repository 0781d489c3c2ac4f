"""The reference server and its parts, for the tests of the look-alike clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.reference_ca import ReferenceCa
from tests.clients.reference_front import TlsFront, serving_context
from tests.clients.reference_server import ReferenceServer

SERVER_NAME = "istiod.istio-system.svc"


@pytest.fixture(scope="session")
def ca() -> ReferenceCa:
    return ReferenceCa()


@pytest.fixture
def server(ca: ReferenceCa) -> Iterator[ReferenceServer]:
    with ReferenceServer(ca) as started:
        yield started


@pytest.fixture
def front(ca: ReferenceCa, server: ReferenceServer) -> Iterator[TlsFront]:
    with TlsFront(server.address, serving_context(ca, SERVER_NAME)) as started:
        yield started


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("a.b.c")
    return path
