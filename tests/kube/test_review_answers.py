"""How an API server's answer to a TokenReview is read; the answers are those of a real one, changed in one place."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from meshca.errors import NotProven, Unavailable
from meshca.identity import Pod
from meshca.kube.client import ApiServerClient
from meshca.kube.review import CHECKS, ReviewValidator
from meshca.names import TrustDomain
from tests.tokens.mint import ACCOUNT, NOW, Mint

AUDIENCES = frozenset({"istio-ca", "other"})
TOKEN = Mint().token()
EXTRA = "authentication.kubernetes.io/"


def answer() -> dict[str, Any]:
    """What kube-apiserver 1.37 said of a bound token."""
    return {
        "authenticated": True,
        "user": {
            "username": "system:serviceaccount:shop:cart",
            "uid": "26ac4de5-6fdc-40d7-a051-2473c6c0c938",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"],
            "extra": {
                f"{EXTRA}credential-id": ["JTI=2d09a81b-96c5-4990-9cb6-9134303465d3"],
                f"{EXTRA}node-name": ["node-1"],
                f"{EXTRA}pod-name": ["cart-1"],
                f"{EXTRA}pod-uid": ["98db7ac9-b444-4983-8232-2a34a6cd4071"],
            },
        },
        "audiences": ["istio-ca"],
    }


class Answering(ApiServerClient):
    """An API server that gives one answer."""

    def __init__(self, body: Any) -> None:
        self.body = body
        self.asked: list[tuple[str, dict[str, Any], timedelta, str]] = []

    async def post(self, path: str, body: dict[str, Any], *, timeout: timedelta, needs: str) -> dict[str, Any]:
        self.asked.append((path, body, timeout, needs))
        assert isinstance(self.body, dict)
        return self.body


def reviewer(body: Any) -> tuple[ReviewValidator, Answering]:
    api = Answering(body)
    validator = ReviewValidator(
        api, cluster="Kubernetes", trust_domain=TrustDomain("cluster.local"), timeout=timedelta(seconds=5)
    )
    return validator, api


async def test_the_question_is_about_our_audiences_alone() -> None:
    validator, api = reviewer({"status": answer()})

    await validator.prove(TOKEN, audiences=AUDIENCES, now=NOW)

    ((path, body, timeout, needs),) = api.asked
    assert path == "/apis/authentication.k8s.io/v1/tokenreviews"
    assert body["spec"] == {"token": TOKEN, "audiences": ["istio-ca", "other"]}
    assert (timeout, needs) == (timedelta(seconds=5), "create on tokenreviews.authentication.k8s.io")


async def test_a_good_answer_is_an_identity_with_its_pod() -> None:
    validator, _ = reviewer({"status": answer()})

    proven = await validator.prove(TOKEN, audiences=AUDIENCES, now=NOW)

    assert proven.identity.service_account == ACCOUNT
    assert proven.identity.pod == Pod("cart-1", "98db7ac9-b444-4983-8232-2a34a6cd4071", "node-1")
    assert proven.credential == "JTI=2d09a81b-96c5-4990-9cb6-9134303465d3"
    assert proven.expires == NOW + timedelta(hours=1)


Change = Callable[[dict[str, Any]], object]


def user(**members: Any) -> Change:
    return lambda status: status["user"].update(members)


def extra(**members: Any) -> Change:
    return lambda status: status["user"]["extra"].update(
        {EXTRA + name.replace("_", "-"): value for name, value in members.items()}
    )


ODD: list[tuple[str, Change, str]] = [
    ("nothing", lambda status: status.clear(), "authenticated"),
    ("not authenticated", lambda status: status.update(authenticated=False), "authenticated"),
    ("authenticated is missing", lambda status: status.pop("authenticated"), "authenticated"),
    ("authenticated is a text", lambda status: status.update(authenticated="true"), "authenticated"),
    ("authenticated is a number", lambda status: status.update(authenticated=1), "authenticated"),
    ("49: no audiences (a server that ignores them)", lambda status: status.pop("audiences"), "audience"),
    ("49: empty audiences", lambda status: status.update(audiences=[]), "audience"),
    ("49: another audience", lambda status: status.update(audiences=["api"]), "audience"),
    ("49: audiences are a text with ours in it", lambda status: status.update(audiences="istio-ca"), "audience"),
    ("50: a user", user(username="admin"), "account"),
    ("50: a node", user(username="system:node:node-1"), "account"),
    ("50: five parts", user(username="system:serviceaccount:a:b:c"), "account"),
    ("50: no user name", user(username=None), "account"),
    ("50: upper case", user(username="system:serviceaccount:shop:Cart"), "account"),
    ("50: without the group", user(groups=["system:authenticated", "system:serviceaccounts:shop"]), "account"),
    ("50: another namespace's group", user(groups=["system:serviceaccounts", "system:serviceaccounts:pay"]), "account"),
    ("50: groups are a text", user(groups="system:serviceaccounts"), "account"),
    ("50: no groups", user(groups=None), "account"),
    ("no user", lambda status: status.pop("user"), "account"),
    ("51: no extras", user(extra=None), "bound"),
    ("51: no pod", user(extra={f"{EXTRA}credential-id": ["JTI=1"]}), "bound"),
    ("51: a pod without a UID", lambda status: status["user"]["extra"].pop(f"{EXTRA}pod-uid"), "bound"),
    ("51: a pod without a name", lambda status: status["user"]["extra"].pop(f"{EXTRA}pod-name"), "bound"),
    ("51: two pods", extra(pod_name=["a", "b"]), "bound"),
    ("51: two UIDs", extra(pod_uid=["a", "b"]), "bound"),
    ("51: an empty pod name", extra(pod_name=[""]), "bound"),
    ("51: a pod name that is no list", extra(pod_name="cart-1"), "bound"),
    ("35: newline in the pod's name", extra(pod_name=["a\nb"]), "bound"),
    ("35: newline in the node's name", extra(node_name=["a\n"]), "bound"),
]


@pytest.mark.parametrize(("change", "check"), [row[1:] for row in ODD], ids=[row[0] for row in ODD])
async def test_an_answer_that_says_less_than_it_must_proves_nothing(change: Change, check: str) -> None:
    status = answer()
    change(status)
    validator, _ = reviewer({"status": status})

    with pytest.raises(NotProven) as refusal:
        await validator.prove(TOKEN, audiences=AUDIENCES, now=NOW)

    assert refusal.value.check == check
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("body", [{}, {"status": None}, {"status": []}, {"kind": "Status", "status": "Failure"}])
async def test_an_answer_that_is_no_review_proves_nothing(body: dict[str, Any]) -> None:
    validator, _ = reviewer(body)

    with pytest.raises(NotProven):
        await validator.prove(TOKEN, audiences=AUDIENCES, now=NOW)


async def test_half_a_pod_is_refused_where_unbound_tokens_are_taken_too() -> None:
    status = answer()
    status["user"]["extra"].pop(f"{EXTRA}pod-uid")
    validator, _ = reviewer({"status": status})

    with pytest.raises(NotProven, match="proper name and UID"):
        await validator.prove(TOKEN, audiences=AUDIENCES, now=NOW, unbound=True)


@pytest.mark.parametrize("token", ["e30.e30.AAAA", "e30.W10.AAAA", "e30.bm9KU09O.AAAA"])
async def test_a_token_without_a_readable_end_is_refused_though_it_was_vouched_for(token: str) -> None:
    validator, _ = reviewer({"status": answer()})

    with pytest.raises(NotProven, match="no end") as refusal:
        await validator.prove(token, audiences=AUDIENCES, now=NOW)

    assert refusal.value.check == "expiry"


async def test_a_credential_that_could_not_stand_in_a_log_is_left_out() -> None:
    status = answer()
    status["user"]["extra"][f"{EXTRA}credential-id"] = ["JTI=a\nb"]
    validator, _ = reviewer({"status": status})

    assert (await validator.prove(TOKEN, audiences=AUDIENCES, now=NOW)).credential == ""


@pytest.mark.parametrize(
    "error",
    [
        # Said by kube-apiserver 1.37 while its etcd was stopped.
        '[invalid bearer token, Get "https://127.0.0.1:42733/api/v1/namespaces/shop/serviceaccounts/cart": '
        "context deadline exceeded]",
        # The others: k8s.io/apiserver and etcd's own words for being away.
        "etcdserver: request timed out",
        "etcdserver: leader changed",
        "rpc error: code = Unavailable desc = keepalive ping failed",
        'Get "https://127.0.0.1:6443/api/v1/namespaces/shop/pods/cart-1": dial tcp: connect: connection refused',
        "the server was unable to return a response in the time allotted, but may still be processing the request",
        "Internal error occurred: authentication failed unexpectedly",
    ],
)
async def test_an_api_server_that_could_not_look_is_unavailable_and_never_a_refusal(error: str) -> None:
    validator, _ = reviewer({"status": {"user": {}, "error": error}})

    with pytest.raises(Unavailable, match="could not review"):
        await validator.prove(TOKEN, audiences=AUDIENCES, now=NOW)


@pytest.mark.parametrize(
    ("error", "check"),
    [
        ("invalid bearer token", "authenticated"),
        ("[invalid bearer token, service account token has been invalidated]", "authenticated"),
        ('[invalid bearer token, serviceaccounts "cart" not found]', "authenticated"),
        ("[invalid bearer token, service account token has expired]", "authenticated"),
        ("[invalid bearer token, service account token is not valid yet]", "authenticated"),
        (
            '[invalid bearer token, token audiences ["x"] is invalid for the target audiences ["istio-ca"]]',
            "audience",
        ),
    ],
)
async def test_an_api_server_that_looked_and_says_no_is_a_refusal(error: str, check: str) -> None:
    validator, _ = reviewer({"status": {"user": {}, "error": error}})

    with pytest.raises(NotProven) as refusal:
        await validator.prove(TOKEN, audiences=AUDIENCES, now=NOW)

    assert refusal.value.check == check


async def test_an_api_server_that_does_not_answer_is_unavailable_and_never_a_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def away(*_: object, **__: object) -> dict[str, Any]:
        raise Unavailable("the API server says 503")

    validator, api = reviewer({})
    monkeypatch.setattr(api, "post", away)

    with pytest.raises(Unavailable, match=r"cluster 'Kubernetes': the API server says 503"):
        await validator.prove(TOKEN, audiences=AUDIENCES, now=NOW)


async def test_an_error_beside_a_good_answer_does_not_matter() -> None:
    """One authenticator of several failed; another one vouched."""
    validator, _ = reviewer({"status": answer() | {"error": "webhook: timeout"}})

    assert (await validator.prove(TOKEN, audiences=AUDIENCES, now=NOW)).identity.service_account == ACCOUNT


def test_every_check_is_provoked_by_one_of_these_tests() -> None:
    assert {check for _, _, check in ODD} | {"expiry"} == set(CHECKS)
