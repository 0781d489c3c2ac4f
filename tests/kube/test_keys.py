"""Keys fetched from where a cluster publishes them, and what is never followed (``ca-practice.md`` §6 case 67)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from meshca.errors import Misconfigured, NotProven, Unavailable
from meshca.kube.keys import url_keys
from meshca.names import TrustDomain
from meshca.tokens.jwks import JwksValidator
from meshca.tokens.keys import HeldKeys
from meshca.tokens.keyset import MAX_JWKS
from tests.faults.proxy import FaultProxy
from tests.kube.meshca import Workload
from tests.servers.kubernetes import ApiServer
from tests.tokens.mint import Mint, jwks

PATIENCE = timedelta(seconds=1)
KEY = Mint()


@pytest.fixture
def server() -> Iterator[FaultProxy]:
    """A server that answers what it is told; nothing is behind it."""
    with FaultProxy("https://127.0.0.1:1") as proxy:
        yield proxy


def fetched(server: FaultProxy, path: str = "/openid/v1/jwks", ca_file: Path | None = None) -> HeldKeys:
    return url_keys(
        server.url + path,
        ca_file=ca_file or server.ca_file,
        period=timedelta(minutes=5),
        timeout=PATIENCE,
        pause=timedelta(),
    )


async def test_the_published_keys_are_fetched(server: FaultProxy) -> None:
    server.answer(200, body=jwks(KEY))

    found = (await fetched(server, "/keys?tenant=a").keys()).find(KEY.kid)

    assert found is not None
    assert found.public_key == KEY.key.public_key()
    assert server.requests == [("GET", "/keys?tenant=a")]


def late(proxy: FaultProxy) -> None:
    proxy.delay = timedelta(seconds=5)


TROUBLE: list[tuple[str, Callable[[FaultProxy], object], str]] = [
    ("redirected", lambda p: p.answer(302, headers={"Location": "/other"}, body=jwks(KEY)), "the answer is 302"),
    ("not found", lambda p: p.answer(404), "the answer is 404"),
    ("not allowed", lambda p: p.answer(403), "system:service-account-issuer-discovery"),
    ("broken", lambda p: p.answer(500, body=jwks(KEY)), "the answer is 500"),
    ("no content", lambda p: p.answer(204), "the answer is 204"),
    ("a web page", lambda p: p.answer(200, body=b"<html>"), "not a JSON object"),
    ("too long", lambda p: p.answer(200, body=b" " * (MAX_JWKS + 1)), f"the answer has more than {MAX_JWKS} bytes"),
    ("late", late, "no whole answer within 1 s"),
    ("refused", FaultProxy.refuse, "Connection refused"),
    (
        "compressed",
        lambda p: p.answer(200, headers={"Content-Encoding": "gzip"}, body=b"\x1f\x8b\x08\0"),
        "JSON object",
    ),
]


@pytest.mark.parametrize(("trouble", "why"), [row[1:] for row in TROUBLE], ids=[row[0] for row in TROUBLE])
async def test_any_other_answer_is_unavailable_in_time_and_then_all_is_well(
    server: FaultProxy, trouble: Callable[[FaultProxy], object], why: str
) -> None:
    keys = fetched(server)
    trouble(server)

    started = time.monotonic()
    with pytest.raises(Unavailable, match=why):
        await keys.keys()

    assert time.monotonic() - started < PATIENCE.total_seconds() + 0.5
    assert len(server.requests) <= 1
    server.reset()
    server.answer(200, body=jwks(KEY))
    assert (await keys.keys()).find(KEY.kid) is not None


async def test_keys_from_a_server_of_another_ca_are_not_believed(server: FaultProxy) -> None:
    server.answer(200, body=jwks(KEY))
    with FaultProxy("https://127.0.0.1:1") as other, pytest.raises(Unavailable, match="no TLS: CERTIFICATE_VERIFY"):
        await fetched(server, ca_file=other.ca_file).keys()

    assert server.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "http://keys.example.com/jwks",
        "http://127.0.0.1.example.com/jwks",
        "http://169.254.169.254/jwks",
        "file:///etc/passwd",
        "ftp://127.0.0.1/jwks",
        "https://user:secret@keys.example.com/jwks",
        "https:///jwks",
        "https://keys.example.com/jwks#fragment",
        "keys.example.com/jwks",
        "",
    ],
)
def test_an_address_that_cannot_be_trusted_is_a_mistake(url: str) -> None:
    with pytest.raises(Misconfigured, match=r"address of the keys|by https") as refusal:
        url_keys(url, ca_file=None, period=PATIENCE, timeout=PATIENCE)

    assert "secret" not in str(refusal.value)


async def test_this_machine_may_be_asked_in_the_clear() -> None:
    with FaultProxy("http://127.0.0.1:1") as server:
        server.answer(200, body=jwks(KEY))
        keys = url_keys(server.url + "/jwks", ca_file=None, period=PATIENCE, timeout=PATIENCE)

        assert (await keys.keys()).find(KEY.kid) is not None


@pytest.mark.parametrize("content", [None, b"", b"two tokens", b"a\nb", b"\xff"])
async def test_a_token_file_that_holds_no_token_is_named_and_not_quoted(
    server: FaultProxy, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(Unavailable, match=str(path)) as failure:
        await from_cluster(server, path).keys()

    assert "two" not in str(failure.value)
    assert server.requests == []


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
async def test_a_ca_file_that_holds_no_certificate_is_named(
    server: FaultProxy, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "ca.crt"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(Unavailable, match=str(path)):
        await fetched(server, ca_file=path).keys()


async def test_a_query_does_not_stand_in_messages(server: FaultProxy) -> None:
    server.answer(500)

    with pytest.raises(Unavailable) as failure:
        await fetched(server, "/keys?secret=1").keys()

    assert "secret" not in str(failure.value)


# --- a real API server ---------------------------------------------------------------------------


@pytest.fixture
def proxied(api_server: ApiServer) -> Iterator[FaultProxy]:
    with FaultProxy(api_server.url, upstream_ca=api_server.ca_file) as proxy:
        yield proxy


@pytest.fixture
def token_file(api_server: ApiServer, namespace: str, tmp_path: Path) -> Path:
    """A service account's own token: Kubernetes lets each of them read the keys."""
    api_server.create_service_account(namespace, "meshca")
    path = tmp_path / "token"
    path.write_text(api_server.token(namespace, "meshca", audience=api_server.service_account_issuer) + "\n")
    return path


def from_cluster(proxy: FaultProxy, token_file: Path | None) -> HeldKeys:
    return url_keys(
        f"{proxy.url}/openid/v1/jwks",
        ca_file=proxy.ca_file,
        period=timedelta(minutes=5),
        timeout=timedelta(seconds=5),
        token_file=token_file,
        pause=timedelta(),
    )


@pytest.mark.servers
async def test_a_real_clusters_tokens_are_proven_offline_with_the_keys_it_publishes(
    api_server: ApiServer, namespace: str, proxied: FaultProxy, token_file: Path
) -> None:
    workload = Workload.make(api_server, namespace)
    validator = JwksValidator(
        cluster="Kubernetes",
        trust_domain=TrustDomain("cluster.local"),
        issuer=ApiServer.service_account_issuer,
        keys=from_cluster(proxied, token_file),
    )
    ours, now = frozenset({"istio-ca"}), datetime.now(UTC)

    proven = await validator.prove(workload.token(["istio-ca"]), audiences=ours, now=now)

    assert (proven.identity.service_account, proven.identity.pod) == (workload.account, workload.pod)
    for wrong in (
        workload.token(["other"]),
        workload.expired("istio-ca"),
        workload.resigned(workload.token(["istio-ca"]), by_the_server=False),
        workload.without(workload.token(["istio-ca"]), "exp"),
    ):
        with pytest.raises(NotProven):
            await validator.prove(wrong, audiences=ours, now=now)


@pytest.mark.servers
async def test_a_real_api_server_that_does_not_let_us_read_the_keys_is_told_of_with_the_remedy(
    proxied: FaultProxy,
) -> None:
    with pytest.raises(Unavailable, match="system:service-account-issuer-discovery"):
        await from_cluster(proxied, None).keys()


@pytest.mark.servers
async def test_a_torn_or_cut_answer_is_no_key_set(proxied: FaultProxy, token_file: Path) -> None:
    keys = from_cluster(proxied, token_file)
    for tear in (proxied.truncate, proxied.cut_after_request):
        tear()
        with pytest.raises(Unavailable, match=r"torn|closed|reset"):
            await keys.keys()

    assert len(await keys.keys()) == 1
