"""TokenReview with a real API server: whom it vouches for, and what happens while it is late, cut, throttled or torn.

Issue 4, "It must have" 15; ``ca-practice.md`` §6 cases 49–52 and 56.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest

from meshca.errors import NotProven, Unavailable
from meshca.tokens.cache import CachedValidator
from meshca.tokens.validator import Proven, Validator
from tests.faults.proxy import FaultProxy
from tests.kube.meshca import Meshca, Workload
from tests.servers.kubernetes import ApiServer

pytestmark = pytest.mark.servers

OURS = "istio-ca"
PATIENCE = timedelta(seconds=1)
"""The deadline of a proof in these tests."""
REVIEWS = ("POST", "/apis/authentication.k8s.io/v1/tokenreviews")


async def prove(validator: Validator, token: str, *, audience: str = OURS, unbound: bool = False) -> Proven:
    return await validator.prove(token, audiences=frozenset({audience}), now=datetime.now(UTC), unbound=unbound)


async def refusal_of(validator: Validator, token: str, *, audience: str = OURS, unbound: bool = False) -> NotProven:
    with pytest.raises(NotProven) as refusal:
        await prove(validator, token, audience=audience, unbound=unbound)
    return refusal.value


@pytest.fixture
def workload(api_server: ApiServer, namespace: str) -> Workload:
    return Workload.make(api_server, namespace)


@pytest.fixture
def meshca(api_server: ApiServer, namespace: str, tmp_path: Path) -> Iterator[Meshca]:
    with Meshca.make(api_server, namespace, tmp_path, timeout=PATIENCE) as meshca:
        yield meshca


# --- whom it vouches for -------------------------------------------------------------------------


async def test_a_live_pods_token_is_proven_with_its_pod(workload: Workload, meshca: Meshca) -> None:
    proven = await prove(meshca.validator, workload.token([OURS]))

    assert proven.identity.service_account == workload.account
    assert proven.identity.pod == workload.pod
    assert proven.kind == "review"
    assert timedelta(minutes=59) < proven.expires - datetime.now(UTC) <= timedelta(hours=1)


async def test_the_credential_is_the_one_in_the_api_servers_audit_log(workload: Workload, meshca: Meshca) -> None:
    token = workload.token([OURS])

    proven = await prove(meshca.validator, token)

    assert proven.credential == f"JTI={jwt.decode(token, options={'verify_signature': False})['jti']}"


async def test_one_proof_is_one_call_and_a_remembered_one_is_none(workload: Workload, meshca: Meshca) -> None:
    cached, token = CachedValidator(meshca.validator), workload.token([OURS])

    for _ in range(5):
        await prove(cached, token)

    assert meshca.proxy.requests == [REVIEWS]


@pytest.mark.slow
async def test_the_token_of_a_deleted_pod_is_refused(workload: Workload, meshca: Meshca) -> None:
    """52. For ten seconds the API server itself goes on accepting it, out of its own cache."""
    token = workload.token([OURS])
    await prove(meshca.validator, token)
    workload.server.delete_pod(workload.account.namespace, workload.pod.name)
    deleted = time.monotonic()

    refusal: NotProven | None = None
    while refusal is None and time.monotonic() < deleted + 30:
        try:
            await prove(meshca.validator, token)
            await asyncio.sleep(0.5)
        except NotProven as error:
            refusal = error

    assert refusal is not None
    assert (refusal.check, time.monotonic() - deleted < 15) == ("authenticated", True)


async def test_the_token_of_an_earlier_pod_of_the_same_name_is_refused(workload: Workload, meshca: Meshca) -> None:
    claims = jwt.decode(token := workload.token([OURS]), options={"verify_signature": False})
    earlier = claims["kubernetes.io"] | {
        "pod": {"name": workload.pod.name, "uid": "00000000-0000-4000-8000-000000000000"}
    }

    refusal = await refusal_of(
        meshca.validator, workload.resigned(token, by_the_server=True, **{"kubernetes.io": earlier})
    )

    assert refusal.check == "authenticated"
    assert "UID" in str(refusal)


async def test_a_token_for_another_audience_is_refused(workload: Workload, meshca: Meshca) -> None:
    """49. One for the API server itself opens nothing either."""
    for audience in ("identity.l5d.io", ApiServer.service_account_issuer):
        refusal = await refusal_of(meshca.validator, workload.token([audience]))
        assert refusal.check == "audience"


async def test_an_expired_token_is_refused(workload: Workload, meshca: Meshca) -> None:
    refusal = await refusal_of(meshca.validator, workload.expired(OURS))

    assert refusal.check == "authenticated"
    assert "expired" in str(refusal)


async def test_a_token_that_the_api_server_forgives_for_being_late_is_never_remembered(
    workload: Workload, meshca: Meshca
) -> None:
    """52: it accepts one for a minute past its end; our cache must not make that two."""
    cached, late = CachedValidator(meshca.validator), workload.expired(OURS, since=timedelta(seconds=10))

    proven = [await prove(cached, late) for _ in range(2)]

    assert proven[0].expires < datetime.now(UTC)
    assert meshca.proxy.requests == [REVIEWS, REVIEWS]


async def test_a_legacy_token_without_an_end_is_refused_even_where_unbound_tokens_are_taken(
    workload: Workload, meshca: Meshca
) -> None:
    """51. The API server vouches for it; we do not."""
    good = workload.token([OURS], bound=False)
    endless = workload.without(good, "exp")

    refusal = await refusal_of(meshca.validator, endless, unbound=True)

    assert refusal.check == "expiry"


async def test_a_user_is_no_service_account(api_server: ApiServer, meshca: Meshca) -> None:
    """50. The API server vouches for the bearer of its static token: an administrator, no workload."""
    refusal = await refusal_of(
        meshca.validator, api_server.admin_token, audience=ApiServer.service_account_issuer, unbound=True
    )

    assert refusal.check == "account"
    assert "admin" in str(refusal)


# --- our own access ------------------------------------------------------------------------------


async def test_a_meshca_without_the_permission_says_which_one_to_grant(
    api_server: ApiServer, namespace: str, workload: Workload, tmp_path: Path
) -> None:
    with (
        Meshca.make(api_server, namespace, tmp_path, may_review=False) as meshca,
        pytest.raises(Unavailable) as failure,
    ):
        await prove(meshca.validator, workload.token([OURS]))

    assert "grant create on tokenreviews.authentication.k8s.io" in str(failure.value)
    assert f"system:serviceaccount:{namespace}:meshca" in str(failure.value)


async def test_a_meshca_whose_own_token_is_not_accepted_says_so(
    api_server: ApiServer, workload: Workload, meshca: Meshca
) -> None:
    wrong = workload.resigned(workload.token([api_server.service_account_issuer]), by_the_server=False)
    client = meshca.another(api_server.kubeconfig(meshca.kubeconfig, wrong))

    with pytest.raises(Unavailable, match="401: it does not accept our own credentials") as failure:
        await prove(client, workload.token([OURS]))

    assert wrong not in str(failure.value)


async def test_credentials_that_were_replaced_are_read_again_within_the_same_proof(
    api_server: ApiServer, workload: Workload, meshca: Meshca
) -> None:
    good = meshca.kubeconfig.read_text()
    wrong = workload.resigned(workload.token([api_server.service_account_issuer]), by_the_server=False)
    validator = meshca.another(api_server.kubeconfig(meshca.kubeconfig, wrong))
    meshca.kubeconfig.write_text(good)

    proven = await prove(validator, workload.token([OURS]))

    assert proven.identity.pod == workload.pod


# --- an API server in trouble --------------------------------------------------------------------


def late(proxy: FaultProxy) -> None:
    proxy.delay = timedelta(seconds=5)


def redirected(proxy: FaultProxy) -> None:
    proxy.answer(307, times=None, headers={"Location": "https://127.0.0.1:1/elsewhere"})


FAULTS: dict[str, Callable[[FaultProxy], object]] = {
    "late": late,
    "refused": FaultProxy.refuse,
    "throttled": lambda proxy: proxy.answer(429, times=None, headers={"Retry-After": "1"}),
    "overloaded": lambda proxy: proxy.answer(503, times=None, headers={"Retry-After": "1"}),
    "broken": lambda proxy: proxy.answer(500, times=None, body=b'{"kind":"Status","message":"boom"}'),
    "forbidden in between": lambda proxy: proxy.answer(403, times=None, body=b"<html>"),
    "unauthorized": lambda proxy: proxy.answer(401, times=None),
    "cut after the request": lambda proxy: proxy.cut_after_request(times=None),
    "silent after the request": lambda proxy: proxy.cut_after_request(times=None, silently=True),
    "torn": lambda proxy: proxy.truncate(times=None),
    "redirected": redirected,
    "a web page": lambda proxy: proxy.answer(200, times=None, body=b"<html>sign in</html>"),
    "an empty answer": lambda proxy: proxy.answer(200, times=None),
    "an endless answer": lambda proxy: proxy.answer(200, times=None, body=b'{"a":"' + b"a" * 2_000_000 + b'"}'),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_an_api_server_in_trouble_is_unavailable_within_the_deadline_and_then_all_is_well(
    fault: Callable[[FaultProxy], object], workload: Workload, meshca: Meshca
) -> None:
    token = workload.token([OURS])
    fault(meshca.proxy)

    started = time.monotonic()
    with pytest.raises(Unavailable, match="cluster 'Kubernetes'") as failure:
        await prove(meshca.validator, token)
    took = time.monotonic() - started

    assert took < PATIENCE.total_seconds() + 0.5
    assert not any(part in str(failure.value) for part in token.split("."))
    meshca.proxy.reset()
    proven = await prove(meshca.validator, token)
    assert proven.identity.pod == workload.pod


async def test_a_bad_token_is_not_refused_while_the_api_server_is_in_trouble(
    workload: Workload, meshca: Meshca
) -> None:
    meshca.proxy.answer(503, times=None)

    with pytest.raises(Unavailable):
        await prove(meshca.validator, workload.expired(OURS))


async def test_one_cut_connection_costs_nobody_a_certificate(workload: Workload, meshca: Meshca) -> None:
    """A connection that was idle may be closed just when it is used; a review changes nothing, so it is asked again."""
    meshca.proxy.cut_after_request()

    proven = await prove(meshca.validator, workload.token([OURS]))

    assert proven.identity.pod == workload.pod
    assert meshca.proxy.requests == [REVIEWS, REVIEWS]


async def test_a_throttled_review_is_not_asked_again_behind_our_back(workload: Workload, meshca: Meshca) -> None:
    meshca.proxy.answer(429, headers={"Retry-After": "0"})

    with pytest.raises(Unavailable, match="429: it is asked too often"):
        await prove(meshca.validator, workload.token([OURS]))

    assert meshca.proxy.requests == [REVIEWS]


async def test_more_callers_than_connections_all_hear_within_the_deadline(
    api_server: ApiServer, namespace: str, workload: Workload, tmp_path: Path
) -> None:
    with Meshca.make(api_server, namespace, tmp_path, timeout=PATIENCE, connections=2) as meshca:
        tokens = [workload.token([OURS]) for _ in range(6)]
        meshca.proxy.delay = timedelta(seconds=3)

        started = time.monotonic()
        answers = await asyncio.gather(*(prove(meshca.validator, each) for each in tokens), return_exceptions=True)
        took = time.monotonic() - started

        assert [type(answer) for answer in answers] == [Unavailable] * 6
        assert took < PATIENCE.total_seconds() + 0.5
        meshca.proxy.reset()
        assert (await prove(meshca.validator, tokens[0])).identity.pod == workload.pod


async def test_the_event_loop_goes_on_while_the_api_server_is_asked(workload: Workload, meshca: Meshca) -> None:
    meshca.proxy.delay = timedelta(seconds=0.5)
    token = workload.token([OURS])
    asking = asyncio.create_task(prove(meshca.validator, token))

    longest = 0.0
    while not asking.done():
        before = time.monotonic()
        await asyncio.sleep(0.01)
        longest = max(longest, time.monotonic() - before)

    assert (await asking).identity.pod == workload.pod
    assert longest < 0.25


@pytest.mark.slow
async def test_an_api_server_without_its_etcd_is_unavailable_and_not_a_refusal(
    api_server: ApiServer, namespace: str, workload: Workload, tmp_path: Path
) -> None:
    """It answers "not authenticated" then, and means that it could not look: here for an account that it has not
    seen yet. It tries for half a minute."""
    good = workload.token([OURS])
    unseen = jwt.decode(good, options={"verify_signature": False})["kubernetes.io"]
    unseen["serviceaccount"]["name"] = "unseen"
    token = workload.resigned(good, by_the_server=True, **{"kubernetes.io": unseen})
    etcd = api_server.pids[0]

    with Meshca.make(api_server, namespace, tmp_path, timeout=timedelta(seconds=50)) as meshca:
        os.kill(etcd, signal.SIGSTOP)
        try:
            with pytest.raises(Unavailable, match="could not review the token"):
                await prove(meshca.validator, token)
        finally:
            os.kill(etcd, signal.SIGCONT)
        refusal = await refusal_of(meshca.validator, token)

    assert "not found" in str(refusal)


async def test_no_token_is_written_to_any_log(
    workload: Workload, meshca: Meshca, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not even with every logger at its most talkative: neither the caller's token nor our own."""
    tokens = [workload.token([OURS]), workload.token(["other"])]
    own = jwt_in(meshca.kubeconfig)
    with caplog.at_level(logging.DEBUG):
        await prove(meshca.validator, tokens[0])
        await refusal_of(meshca.validator, tokens[1])
        for fault in ("throttled", "broken", "cut after the request", "torn", "refused"):
            FAULTS[fault](meshca.proxy)
            with pytest.raises(Unavailable):
                await prove(meshca.validator, tokens[0])
            meshca.proxy.reset()

    written = caplog.text + "".join(capfd.readouterr())
    assert "tokenreviews" in written
    for token in (*tokens, own):
        assert token.split(".")[1] not in written
        assert token.split(".")[2] not in written


def jwt_in(kubeconfig: Path) -> str:
    text = kubeconfig.read_text()
    return text.split('"token": "')[1].split('"')[0]
