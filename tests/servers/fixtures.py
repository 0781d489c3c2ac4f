"""Fixtures of real servers; `tests/conftest.py` names this module in `pytest_plugins`.

A server is started by the first test that asks for it, once for a run (with pytest-xdist: once in each
worker), and is shared from then on. So a test takes a fresh namespace, and marks itself with
`@pytest.mark.servers`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.kubernetes import ApiServer


@pytest.fixture(scope="session")
def api_server() -> Iterator[ApiServer]:
    """A Kubernetes API server whose service account tokens are signed with ES256."""
    with ApiServer() as server:
        yield server


@pytest.fixture
def namespace(api_server: ApiServer) -> str:
    """A namespace of this test's own in `api_server`."""
    return api_server.create_namespace()
