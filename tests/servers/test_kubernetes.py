"""What the other tests may rely on: the API server that we start answers as a cluster's does."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import jwt
import pytest

from tests.faults.proxy import FaultProxy
from tests.servers.kubernetes import ApiError, ApiServer
from tests.servers.process import ROOT, program

pytestmark = pytest.mark.servers

AUDIENCE = "meshca.test"
CERTIFICATES = "certificates.k8s.io"


def test_token_of_a_live_pod_is_reviewed_with_the_pod_it_is_bound_to(api_server: ApiServer, namespace: str) -> None:
    account = api_server.create_service_account(namespace, "web")
    pod = api_server.create_pod(namespace, "web-1", "web", node="node-7")
    token = api_server.token(namespace, "web", pod="web-1", audience=AUDIENCE)

    status = api_server.review(token, audiences=[AUDIENCE, "another"])

    assert status["authenticated"]
    assert status["audiences"] == [AUDIENCE]
    assert status["user"]["username"] == f"system:serviceaccount:{namespace}:web"
    assert status["user"]["uid"] == account["metadata"]["uid"]
    assert f"system:serviceaccounts:{namespace}" in status["user"]["groups"]
    extra = status["user"]["extra"]
    assert extra["authentication.kubernetes.io/pod-name"] == ["web-1"]
    assert extra["authentication.kubernetes.io/pod-uid"] == [pod["metadata"]["uid"]]
    assert extra["authentication.kubernetes.io/node-name"] == ["node-7"]


def test_token_for_another_audience_is_not_authenticated(api_server: ApiServer, namespace: str) -> None:
    api_server.create_service_account(namespace, "web")
    token = api_server.token(namespace, "web", audience="another")
    assert not api_server.review(token, audiences=[AUDIENCE]).get("authenticated")


@pytest.mark.slow
def test_token_of_a_deleted_pod_is_refused_once_the_servers_cache_has_forgotten_it(
    api_server: ApiServer, namespace: str
) -> None:
    api_server.create_service_account(namespace, "web")
    api_server.create_pod(namespace, "web-1", "web")
    token = api_server.token(namespace, "web", pod="web-1", audience=AUDIENCE)
    assert api_server.review(token, audiences=[AUDIENCE])["authenticated"]
    api_server.delete_pod(namespace, "web-1")
    deadline = time.monotonic() + 30
    while api_server.review(token, audiences=[AUDIENCE]).get("authenticated"):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_only_an_account_with_the_grant_may_ask_for_reviews(api_server: ApiServer, namespace: str) -> None:
    api_server.create_service_account(namespace, "ca")
    token = api_server.token(namespace, "ca", audience=api_server.service_account_issuer)
    with pytest.raises(ApiError, match="cannot create resource") as refused:
        api_server.review(token, audiences=[AUDIENCE], as_token=token)
    assert refused.value.status == 403
    api_server.grant_token_reviews(namespace, "ca")
    assert not api_server.review(token, audiences=[AUDIENCE], as_token=token).get("authenticated")


def assert_keys_verify_tokens(server: ApiServer, namespace: str, algorithm: str) -> None:
    server.create_service_account(namespace, "web")
    token = server.token(namespace, "web", audience=AUDIENCE, lifetime=timedelta(minutes=10))
    discovery = server.discovery()
    assert discovery["issuer"] == server.service_account_issuer
    assert discovery["jwks_uri"] == f"{server.url}/openid/v1/jwks"
    keys = jwt.PyJWKSet.from_dict(server.jwks())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, algorithms=[algorithm], audience=AUDIENCE, issuer=server.service_account_issuer)
    assert claims["sub"] == f"system:serviceaccount:{namespace}:web"
    assert claims["exp"] - claims["iat"] == 600


def test_published_keys_verify_tokens_offline(api_server: ApiServer, namespace: str) -> None:
    assert_keys_verify_tokens(api_server, namespace, "ES256")


def test_tokens_can_be_signed_with_rsa_and_a_stopped_server_leaves_nothing() -> None:
    with ApiServer(signing="RS256") as server:
        assert_keys_verify_tokens(server, server.create_namespace(), "RS256")
        pids, folder = server.pids, server.ca_file.parent
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert not folder.exists()


def test_servers_die_with_a_test_run_that_is_killed() -> None:
    script = (
        "import time; from tests.servers.kubernetes import ApiServer; server = ApiServer();"
        "print(*server.pids, server.ca_file.parent, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        *pids, folder = run.stdout.readline().split()
        run.send_signal(signal.SIGKILL)
    assert len(pids) == 2
    deadline = time.monotonic() + 10
    while any(_is_alive(int(pid)) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    subprocess.run(["rm", "-rf", folder], check=True)  # the one thing that a kill leaves behind


def _is_alive(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_apply_makes_and_changes_objects_of_any_kind(api_server: ApiServer, namespace: str) -> None:
    trust = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "trust", "namespace": namespace},
        "data": {"sequence": "1"},
    }
    api_server.apply(trust)
    api_server.apply(trust | {"data": {"sequence": "2"}})
    found = api_server.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/trust")
    assert found["data"] == {"sequence": "2"}
    bundle = {
        "apiVersion": f"{CERTIFICATES}/v1",
        "kind": "ClusterTrustBundle",
        "metadata": {"name": namespace},
        "spec": {"trustBundle": api_server.ca_file.read_text()},
    }
    assert api_server.apply(bundle)["spec"] == bundle["spec"]


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_pod_certificates_and_trust_bundles_are_served(api_server: ApiServer, version: str) -> None:
    served = {item["name"] for item in api_server.request("GET", f"/apis/{CERTIFICATES}/{version}")["resources"]}
    assert {"podcertificaterequests", "podcertificaterequests/status", "clustertrustbundles"} <= served


def test_kubeconfig_speaks_for_the_bearer_of_a_token(api_server: ApiServer, namespace: str, tmp_path: Path) -> None:
    api_server.create_service_account(namespace, "web")
    token = api_server.token(namespace, "web", audience=api_server.service_account_issuer)
    kubeconfig = api_server.kubeconfig(tmp_path / "kubeconfig", token)
    environment = {"PATH": os.defpath, "HOME": str(tmp_path), "KUBECONFIG": str(kubeconfig)}
    command = [program("kubectl"), "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout == f"system:serviceaccount:{namespace}:web"


def test_fault_proxy_throttles_reviews_and_cuts_watches_of_the_real_server(
    api_server: ApiServer, namespace: str, tmp_path: Path
) -> None:
    with FaultProxy(api_server.url, upstream_ca=api_server.ca_file) as proxy:
        kubeconfig = api_server.kubeconfig(tmp_path / "config", url=proxy.url, ca_file=proxy.ca_file)
        kubectl = [program("kubectl"), f"--kubeconfig={kubeconfig}", f"--cache-dir={tmp_path}"]
        proxy.answer(403, where="^POST .*tokenreviews")
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "x"}}
        command = [*kubectl, "create", "--validate=false", "-f", "-"]
        answers = [
            subprocess.run(command, input=json.dumps(review), capture_output=True, text=True, check=False)
            for _ in range(2)
        ]
        assert [answer.returncode for answer in answers] == [1, 0]
        assert ("POST", "/apis/authentication.k8s.io/v1/tokenreviews") in [
            (method, path.partition("?")[0]) for method, path in proxy.requests
        ]
        with _watch(proxy.url, proxy.ca_file, api_server, namespace) as events:
            api_server.create_service_account(namespace, "web")
            assert b"ADDED" in events.readline()
            assert proxy.hang_up() == 1


def test_watch_starts_at_once_though_the_latest_write_was_to_another_kind(
    api_server: ApiServer, namespace: str
) -> None:
    api_server.create_service_account(namespace, "web")
    for name in ("web-1", "web-2"):
        api_server.create_pod(namespace, name, "web")
        started = time.monotonic()
        with _watch(api_server.url, api_server.ca_file, api_server, namespace) as events:
            assert json.loads(events.readline())["type"] == "ADDED"
        assert time.monotonic() - started < 2


@contextlib.contextmanager
def _watch(url: str, ca_file: Path, server: ApiServer, namespace: str) -> Iterator[http.client.HTTPResponse]:
    """Service accounts from now on, and those that there are."""
    context = ssl.create_default_context(cafile=str(ca_file))
    port = int(url.rpartition(":")[2])
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts?watch=true"
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Authorization": f"Bearer {server.admin_token}"})
        with connection.getresponse() as events:
            yield events
