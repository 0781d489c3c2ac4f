"""The whole way with a real API server: a pod's token, reviewed, becomes a recorded certificate."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from tests.clients.errors import CallFailed
from tests.faults.proxy import FaultProxy
from tests.servers.kubernetes import ApiServer
from tests.world import World

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]


@pytest.fixture
def proxy(api_server: ApiServer) -> Iterator[FaultProxy]:
    with FaultProxy(api_server.url, upstream_ca=api_server.ca_file) as standing_between:
        yield standing_between


@pytest.fixture
def world(api_server: ApiServer, proxy: FaultProxy, tmp_path: Path) -> Iterator[World]:
    """A meshca that reviews tokens through the proxy, with the one permission that it needs."""
    home = api_server.create_namespace()
    api_server.create_service_account(home, "meshca")
    api_server.grant_token_reviews(home, "meshca")
    own = api_server.token(home, "meshca", audience="https://kubernetes.default.svc")
    kubeconfig = api_server.kubeconfig(tmp_path / "kubeconfig", own, url=proxy.url, ca_file=proxy.ca_file)
    settings = (
        "clusters.0.validate=review",
        "clusters.0.jwks=null",
        f"clusters.0.api_server.kubeconfig={kubeconfig}",
        "clusters.0.api_server.timeout=2s",
    )
    with World(tmp_path / "d", settings) as running:
        yield running


def pod_token(api_server: ApiServer, folder: Path, *, audience: str) -> Path:
    """The token of a live pod of emojivoto/web."""
    api_server.create_namespace("emojivoto")
    api_server.create_service_account("emojivoto", "web")
    api_server.create_pod("emojivoto", f"web-{audience}", "web")
    path = folder / audience
    path.write_text(api_server.token("emojivoto", "web", audience=audience, pod=f"web-{audience}"))
    return path


def test_a_pods_token_becomes_a_certificate_and_its_pod_stands_in_the_ledger(
    api_server: ApiServer, proxy: FaultProxy, world: World, tmp_path: Path
) -> None:
    for_linkerd = pod_token(api_server, tmp_path, audience="identity.l5d.io")
    workload = world.linkerd(for_linkerd).certify()
    workload.verify()
    row = world.ask("certs", "show", f"{workload.certificate.serial_number:032x}")
    assert (row["proof"], row["pod"], row["node"]) == ("review", "web-identity.l5d.io", "node-1")

    # A retry within a minute costs the API server nothing.
    asked = len(proxy.requests)
    world.linkerd(for_linkerd).certify()
    assert len(proxy.requests) == asked

    # Late, throttled and gone are told apart from refused, within the deadline.
    proxy.delay = timedelta(seconds=10)
    another = api_server.token("emojivoto", "web", audience="identity.l5d.io", pod="web-identity.l5d.io")
    fresh = tmp_path / "fresh"
    fresh.write_text(another)
    with pytest.raises(CallFailed) as caught:
        world.linkerd(fresh).certify()
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    proxy.reset()
    proxy.answer(429, times=1)
    with pytest.raises(CallFailed) as caught:
        world.linkerd(fresh).certify()
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    proxy.refuse()
    with pytest.raises(CallFailed) as caught:
        world.linkerd(fresh).certify()
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE

    # It recovers by itself, and Istio's door takes no token that is meant for Linkerd's.
    proxy.accept()
    world.linkerd(fresh).certify()
    with world.ztunnel(fresh) as tunnel, pytest.raises(CallFailed) as caught:
        tunnel.fetch()
    assert caught.value.code is grpc.StatusCode.UNAUTHENTICATED
