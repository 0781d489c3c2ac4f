"""Calls to an API server: whose credentials, how long, how much, and what an operator is told."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from meshca.errors import Misconfigured, Unavailable
from meshca.kube.client import MAX_ANSWER, ApiServerClient
from tests.faults.proxy import FaultProxy
from tests.tokens.mint import Mint

SECRET = Mint().token()
PATIENCE = timedelta(seconds=2)


def write_kubeconfig(path: Path, server: str, ca_file: Path | None = None, **cluster: Any) -> Path:
    """A kubeconfig for the bearer of SECRET."""
    if ca_file is not None:
        cluster["certificate-authority-data"] = base64.b64encode(ca_file.read_bytes()).decode()
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": {"token": SECRET}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def server() -> Iterator[FaultProxy]:
    """A server that answers what it is told; nothing is behind it."""
    with FaultProxy("https://127.0.0.1:1") as proxy:
        yield proxy


@pytest.fixture
def client(server: FaultProxy, tmp_path: Path) -> Iterator[ApiServerClient]:
    made = ApiServerClient(write_kubeconfig(tmp_path / "kubeconfig", server.url, server.ca_file))
    yield made
    made.close()


async def ask(client: ApiServerClient) -> dict[str, Any]:
    return await client.post("/apis/x", {"a": 1}, timeout=PATIENCE, needs="create on x")


def status(message: str) -> bytes:
    return json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message}).encode()


async def test_the_answers_object_is_returned(client: ApiServerClient, server: FaultProxy) -> None:
    server.answer(201, body=b'{"status": {"b": 2}}')

    assert await ask(client) == {"status": {"b": 2}}
    assert server.requests == [("POST", "/apis/x")]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (401, "401: it does not accept our own credentials"),
        (403, "403: grant create on x to our service account ('no, not you')"),
        (404, "says 404 ('no, not you')"),
        (409, "says 409"),
        (410, "says 410"),
        (418, "says 418"),
        (429, "429: it is asked too often"),
        (500, "says 500 ('no, not you')"),
        (503, "says 503"),
        (302, "says 302"),
    ],
)
async def test_every_other_answer_is_unavailable_and_says_what_was_seen(
    client: ApiServerClient, server: FaultProxy, code: int, said: str
) -> None:
    server.answer(code, times=None, body=status("no, not you"), headers={"Location": "/elsewhere"})

    with pytest.raises(Unavailable) as failure:
        await ask(client)

    assert said in str(failure.value)
    assert {path for _, path in server.requests} == {"/apis/x"}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'"a"', b"{", b"[" * 100_000, b"\xff"])
async def test_an_answer_that_is_no_object_is_unavailable(
    client: ApiServerClient, server: FaultProxy, body: bytes
) -> None:
    server.answer(200, body=body)

    with pytest.raises(Unavailable, match="is no JSON object"):
        await ask(client)


async def test_a_message_that_repeats_a_token_is_masked(client: ApiServerClient, server: FaultProxy) -> None:
    server.answer(400, body=status(f"cannot decode {SECRET}\nforged log line"))

    with pytest.raises(Unavailable) as failure:
        await ask(client)

    assert "cannot decode [...]" in str(failure.value)
    assert not any(part[:40] in str(failure.value) for part in SECRET.split("."))
    assert "\n" not in str(failure.value)


async def test_an_answer_as_long_as_the_limit_is_read_and_one_byte_more_is_not(
    client: ApiServerClient, server: FaultProxy
) -> None:
    """66: the limit at N and N+1."""
    longest = b'{"a":"' + b"a" * (MAX_ANSWER - 8) + b'"}'
    assert len(longest) == MAX_ANSWER

    server.answer(200, body=longest)
    assert len((await ask(client))["a"]) == MAX_ANSWER - 8
    server.answer(200, body=longest + b" ")
    with pytest.raises(Unavailable):
        await ask(client)


async def test_a_server_of_another_ca_is_shown_nothing(server: FaultProxy, tmp_path: Path) -> None:
    with FaultProxy("https://127.0.0.1:1") as other:
        client = ApiServerClient(write_kubeconfig(tmp_path / "kubeconfig", server.url, other.ca_file))
        with pytest.raises(Unavailable, match="certificate verify failed"):
            await ask(client)
        client.close()

    assert server.requests == []


async def test_a_ca_that_was_replaced_is_read_again(server: FaultProxy, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    with FaultProxy("https://127.0.0.1:1") as other:
        client = ApiServerClient(write_kubeconfig(path, server.url, other.ca_file))
    write_kubeconfig(path, server.url, server.ca_file)
    server.answer(200, body=b"{}")

    assert await ask(client) == {}
    client.close()


async def test_credentials_are_read_again_seldom_though_they_are_refused_often(
    server: FaultProxy, client: ApiServerClient
) -> None:
    server.answer(401, times=None)
    for _ in range(5):
        with pytest.raises(Unavailable, match="401"):
            await ask(client)

    # Once more for the one fresh start, then not again for a while.
    assert len(server.requests) == 6


async def test_a_proxy_of_the_environment_is_not_used(
    server: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server.answer(200, body=b"{}")
    client = ApiServerClient(write_kubeconfig(tmp_path / "kubeconfig", server.url, server.ca_file))

    assert await ask(client) == {}
    client.close()


async def test_closing_does_not_wait_for_a_call_that_hangs(client: ApiServerClient, server: FaultProxy) -> None:
    server.delay = timedelta(seconds=20)
    asking = asyncio.create_task(client.post("/apis/x", {}, timeout=timedelta(seconds=10), needs=""))
    while not server.requests:
        await asyncio.sleep(0.01)
    asking.cancel()

    started = time.monotonic()
    client.close()

    assert time.monotonic() - started < 1


async def test_the_service_account_of_our_own_pod_is_used_without_a_kubeconfig(
    server: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kubernetes.config import incluster_config

    (tmp_path / "token").write_text(SECRET)
    host, port = server.url.removeprefix("https://").split(":")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(server.ca_file))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    server.answer(200, body=b"{}")
    client = ApiServerClient(None)

    assert await ask(client) == {}
    client.close()


def test_the_operators_own_kubeconfig_is_never_looked_at(
    server: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".kube").mkdir()
    own = write_kubeconfig(tmp_path / ".kube" / "config", server.url, server.ca_file)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(own))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    with pytest.raises(Misconfigured, match="our pod's service account gives no access"):
        ApiServerClient(None)


def refusal_of(path: Path) -> str:
    with pytest.raises(Misconfigured) as refusal:
        ApiServerClient(path)
    assert not any(part in str(refusal.value) for part in SECRET.split("."))
    return str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        f'{{"users": [{{"user": {{"token": "{SECRET}"}}}}], "current-context": "x"}}',
        f"users:\n - user: {{token: {SECRET}\n   x: ]",
        "\0",
        "a: &a [*a]",
    ],
)
def test_a_malformed_kubeconfig_is_a_mistake_that_is_not_quoted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)

    assert f"kubeconfig {path}" in refusal_of(path)


def test_a_missing_kubeconfig_is_a_mistake(tmp_path: Path) -> None:
    assert "gives no access" in refusal_of(tmp_path / "nothing")


def test_an_api_server_in_the_clear_is_a_mistake(tmp_path: Path) -> None:
    assert "must be reached by https" in refusal_of(write_kubeconfig(tmp_path / "k", "http://127.0.0.1:8001"))


def test_an_api_server_that_is_not_verified_is_a_mistake(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "k", "https://127.0.0.1:1", None, **{"insecure-skip-tls-verify": True})

    assert "insecure-skip-tls-verify" in refusal_of(path)


def test_nothing_is_called_when_a_client_is_made(server: FaultProxy, tmp_path: Path) -> None:
    server.refuse()

    ApiServerClient(write_kubeconfig(tmp_path / "k", server.url, server.ca_file)).close()


def test_importing_the_adapters_does_not_load_the_kubernetes_package() -> None:
    """It costs a third of a second and tens of megabytes, which a process that asks no API server must not pay."""
    script = (
        "import sys, meshca.kube.client, meshca.kube.review, meshca.kube.keys, meshca.tokens.jwks\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'kubernetes', 'urllib3', 'yaml'}))"
    )

    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "[]"
