"""Tokens proven offline: what is accepted, and every way to be refused (``ca-practice.md`` §6 cases 49–54, 65)."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshca.errors import NotProven, Unavailable
from meshca.identity import Identity, Pod
from meshca.names import ServiceAccount, TrustDomain
from meshca.tokens.jwks import CHECKS, LEEWAY, JwksValidator
from tests.tokens.held import Published
from tests.tokens.mint import ACCOUNT, AUDIENCE, ISSUER, NOW, POD, TOKEN_ID, Claims, Mint, claims

AUDIENCES = frozenset({AUDIENCE})
MINT = Mint()
TRUST_DOMAIN = TrustDomain("cluster.local")
SOON = timedelta(seconds=30)


def validator(*mints: Mint, source: Published | None = None) -> JwksValidator:
    return JwksValidator(
        cluster="Kubernetes", trust_domain=TRUST_DOMAIN, issuer=ISSUER, keys=source or Published(*(mints or (MINT,)))
    )


async def refusal_of(token: str, *, unbound: bool = False, by: JwksValidator | None = None) -> NotProven:
    with pytest.raises(NotProven) as refusal:
        await (by or validator()).prove(token, audiences=AUDIENCES, now=NOW + SOON, unbound=unbound)
    return refusal.value


async def test_a_pods_token_proves_its_account_and_its_pod() -> None:
    proven = await validator().prove(MINT.token(), audiences=AUDIENCES, now=NOW)

    assert proven.identity == Identity(ACCOUNT.spiffe_id(TRUST_DOMAIN), "Kubernetes", ACCOUNT, POD)
    assert str(proven.identity) == "spiffe://cluster.local/ns/shop/sa/cart"
    assert proven.kind == "jwks"
    assert proven.expires == NOW + timedelta(hours=1)
    assert proven.credential == f"JTI={TOKEN_ID}"


async def test_the_second_token_of_a_key_is_proven_like_the_first() -> None:
    """The header of a verified token is remembered; nothing else of it may be."""
    prover = validator()
    await prover.prove(MINT.token(), audiences=AUDIENCES, now=NOW)

    other = ServiceAccount("pay", "till")
    proven = await prover.prove(MINT.token(account=other, pod=None), audiences=AUDIENCES, now=NOW, unbound=True)

    assert (proven.identity.service_account, proven.identity.pod) == (other, None)


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512"])
async def test_tokens_of_elliptic_curve_keys_are_proven(algorithm: str) -> None:
    mint = Mint(algorithm=algorithm)

    proven = await validator(mint).prove(mint.token(), audiences=AUDIENCES, now=NOW)

    assert proven.identity.service_account == ACCOUNT


async def test_one_audience_in_common_is_enough_and_a_single_one_may_stand_without_a_list() -> None:
    for audience in (["other", AUDIENCE], AUDIENCE):
        token = MINT.sign({**claims(), "aud": audience})
        proven = await validator().prove(token, audiences=frozenset({"x", AUDIENCE}), now=NOW)
        assert proven.identity.service_account == ACCOUNT


async def test_a_token_without_jti_is_proven_without_a_credential() -> None:
    payload = claims()
    del payload["jti"]

    proven = await validator().prove(MINT.sign(payload), audiences=AUDIENCES, now=NOW)

    assert proven.credential == ""


async def test_a_pod_without_a_node_yet_is_proven() -> None:
    proven = await validator().prove(MINT.token(pod=Pod("p", "u")), audiences=AUDIENCES, now=NOW)

    assert proven.identity.pod == Pod("p", "u", "")


def without(name: str) -> Callable[[Claims], None]:
    def change(payload: Claims) -> None:
        del payload[name]

    return change


def having(**members: Any) -> Callable[[Claims], None]:
    return lambda payload: payload.update(members)


def private(**members: Any) -> Callable[[Claims], None]:
    return lambda payload: payload["kubernetes.io"].update(members)


UNTIL = int((NOW + SOON).timestamp())

HOSTILE = [
    ("no kubernetes.io claim (51: legacy)", without("kubernetes.io"), "claims"),
    ("kubernetes.io claim is no object", having(**{"kubernetes.io": "shop"}), "claims"),
    ("no issuer", without("iss"), "issuer"),
    ("another issuer", having(iss="https://evil.example"), "issuer"),
    ("issuer with a slash more", having(iss=ISSUER + "/"), "issuer"),
    ("issuer in a list", having(iss=[ISSUER]), "issuer"),
    ("49: no audience", without("aud"), "audience"),
    ("49: empty list of audiences", having(aud=[]), "audience"),
    ("49: another service's audience", having(aud=["identity.l5d.io"]), "audience"),
    ("49: the API server's audience", having(aud=[ISSUER]), "audience"),
    ("49: audience as the beginning of ours", having(aud=["istio"]), "audience"),
    ("49: audience in another case", having(aud=["Istio-CA"]), "audience"),
    ("49: audience nested", having(aud=[[AUDIENCE]]), "audience"),
    ("49: audience as a member", having(aud={AUDIENCE: 1}), "audience"),
    ("51: no end", without("exp"), "expiry"),
    ("end is null", having(exp=None), "expiry"),
    ("52: ends now", having(exp=UNTIL), "expiry"),
    ("52: ended long ago", having(exp=1), "expiry"),
    ("end is a float", having(exp=UNTIL + 3600.5), "expiry"),
    ("end is true", having(exp=True), "expiry"),
    ("end is a text", having(exp=str(UNTIL + 3600)), "expiry"),
    ("end is negative", having(exp=-1), "expiry"),
    ("end is beyond all time", having(exp=10**30), "expiry"),
    ("52: begins later", having(nbf=UNTIL + LEEWAY + 1), "not-before"),
    ("52: issued later", having(iat=UNTIL + LEEWAY + 1), "not-before"),
    ("beginning is a text", having(nbf="0"), "not-before"),
    ("beginning is null", having(nbf=None), "not-before"),
    ("no subject", without("sub"), "account"),
    ("50: a user", having(sub="alice"), "account"),
    ("50: a node", having(sub="system:node:node-1"), "account"),
    ("50: five parts", having(sub="system:serviceaccount:shop:cart:x"), "account"),
    ("50: three parts", having(sub="system:serviceaccount:shop"), "account"),
    ("50: another prefix", having(sub="System:serviceaccount:shop:cart"), "account"),
    ("50: empty namespace", having(sub="system:serviceaccount::cart"), "account"),
    ("subject is a list", having(sub=["system:serviceaccount:shop:cart"]), "account"),
    ("42: slash in the name", having(sub="system:serviceaccount:shop:cart/../admin"), "account"),
    ("36: homoglyph", having(sub="system:serviceaccount:shop:c\u0430rt"), "account"),
    ("34: NUL", having(sub="system:serviceaccount:shop:cart\0"), "account"),
    ("43: wildcard", having(sub="system:serviceaccount:shop:*"), "account"),
    ("65: subject and claim differ in the name", having(sub="system:serviceaccount:shop:admin"), "account"),
    ("65: subject and claim differ in the namespace", private(namespace="kube-system"), "account"),
    ("claim without the account", lambda payload: payload["kubernetes.io"].pop("serviceaccount"), "account"),
    ("claim without the account's UID", private(serviceaccount={"name": "cart"}), "account"),
    ("the account's UID is empty", private(serviceaccount={"name": "cart", "uid": ""}), "account"),
    ("51: bound to no pod", lambda payload: payload["kubernetes.io"].pop("pod"), "bound"),
    ("51: pod is null", private(pod=None), "bound"),
    ("51: pod is a text", private(pod="cart-1"), "bound"),
    ("51: pod without a UID", private(pod={"name": "cart-1"}), "bound"),
    ("51: pod without a name", private(pod={"uid": "u"}), "bound"),
    ("35: newline in the pod's name", private(pod={"name": "a\nb", "uid": "u"}), "bound"),
    ("35: newline in the pod's UID", private(pod={"name": "a", "uid": "u\n"}), "bound"),
    ("node is a text", private(node="node-1"), "bound"),
    ("node's name is a number", private(node={"name": 1}), "bound"),
]


@pytest.mark.parametrize(("change", "check"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
async def test_a_token_with_other_claims_is_refused(change: Callable[[Claims], None], check: str) -> None:
    payload = claims()
    change(payload)

    refusal = await refusal_of(MINT.sign_raw(payload))

    assert refusal.check == check


async def test_what_is_wrong_with_a_pod_is_refused_where_unbound_tokens_are_taken_too() -> None:
    for pod in (None, "cart-1", {"name": "a"}):
        payload = claims()
        payload["kubernetes.io"]["pod"] = pod
        assert (await refusal_of(MINT.sign_raw(payload), unbound=True)).check == "bound"


async def test_a_token_without_a_pod_is_taken_where_unbound_tokens_are() -> None:
    proven = await validator().prove(MINT.token(pod=None), audiences=AUDIENCES, now=NOW, unbound=True)

    assert proven.identity.pod is None


async def test_the_last_second_of_a_token_counts_and_the_next_does_not() -> None:
    token = MINT.token(lifetime=timedelta(minutes=10))
    end = NOW + timedelta(minutes=10)

    proven = await validator().prove(token, audiences=AUDIENCES, now=end - timedelta(microseconds=1))
    assert proven.identity.service_account == ACCOUNT
    with pytest.raises(NotProven, match="expired at 2026-06-01T12:10:00Z"):
        await validator().prove(token, audiences=AUDIENCES, now=end)


async def test_an_issuer_whose_clock_is_a_little_ahead_is_forgiven() -> None:
    ahead = NOW - timedelta(seconds=LEEWAY)

    proven = await validator().prove(MINT.token(), audiences=AUDIENCES, now=ahead)
    assert proven.identity.service_account == ACCOUNT
    with pytest.raises(NotProven, match="clocks"):
        await validator().prove(MINT.token(), audiences=AUDIENCES, now=ahead - timedelta(seconds=1))


def b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


async def test_claims_changed_after_signing_are_refused() -> None:
    """65: the claims that are read are those that were signed."""
    header, _, signature = MINT.token().split(".")
    forged = b64(json.dumps({**claims(), "sub": "system:serviceaccount:kube-system:admin"}).encode())

    assert (await refusal_of(f"{header}.{forged}.{signature}")).check == "signature"


async def test_a_remembered_header_does_not_vouch_for_a_forged_signature() -> None:
    prover = validator()
    await prover.prove(MINT.token(), audiences=AUDIENCES, now=NOW)
    thief = Mint(number=1, kid=MINT.kid)
    assert thief.token().split(".")[0] == MINT.token().split(".")[0]

    assert (await refusal_of(thief.token(), by=prover)).check == "signature"


async def test_an_unknown_key_is_refused_after_the_keys_were_read_again() -> None:
    """53: unknown kid."""
    source = Published(MINT)

    refusal = await refusal_of(Mint(number=1, kid="unheard-of").token(), by=validator(source=source))

    assert refusal.check == "key"
    assert "unheard-of" in str(refusal)
    assert source.asked_for_newer == 1


async def test_a_key_published_since_the_keys_were_read_is_found() -> None:
    source, new = Published(MINT), Mint(algorithm="ES256", kid="new")
    prover = validator(source=source)
    await prover.prove(MINT.token(), audiences=AUDIENCES, now=NOW)

    source.mints = (MINT, new)

    proven = await prover.prove(new.token(), audiences=AUDIENCES, now=NOW)
    assert proven.identity.service_account == ACCOUNT


async def test_a_withdrawn_key_proves_nothing_more() -> None:
    """A header remembered with the old keys must not outlive them."""
    source, new = Published(MINT), Mint(algorithm="ES256", kid="new")
    prover = validator(source=source)
    await prover.prove(MINT.token(), audiences=AUDIENCES, now=NOW)
    source.mints = (new,)
    await source.newer()

    assert (await refusal_of(MINT.token(), by=prover)).check == "key"


async def test_a_token_for_another_algorithm_than_its_keys_is_refused() -> None:
    """53: the header may not choose. Here an EC key signs under the name of an RSA key, and the other way round."""
    for published, forger in (("RS256", "ES256"), ("ES256", "RS256"), ("ES384", "ES256")):
        token = Mint(algorithm=forger).token()
        assert (await refusal_of(token, by=validator(Mint(algorithm=published)))).check == "key"


async def test_keys_that_cannot_be_read_make_it_unavailable_and_never_a_refusal() -> None:
    source = Published(MINT)
    prover = validator(source=source)
    source.away = True

    with pytest.raises(Unavailable):
        await prover.prove(MINT.token(), audiences=AUDIENCES, now=NOW)


async def test_an_unknown_key_while_the_keys_cannot_be_read_is_unavailable() -> None:
    source = Published(MINT)
    prover = validator(source=source)
    await prover.prove(MINT.token(), audiences=AUDIENCES, now=NOW)
    source.away = True

    with pytest.raises(Unavailable):
        await prover.prove(Mint(number=1, kid="new").token(), audiences=AUDIENCES, now=NOW)
    proven = await prover.prove(MINT.token(), audiences=AUDIENCES, now=NOW)
    assert proven.identity.service_account == ACCOUNT


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "sub", "jti", "kubernetes.io"])
inner_names = st.sampled_from(["namespace", "serviceaccount", "pod", "node"])


@given(outer=st.dictionaries(names, json_values), inner=st.dictionaries(inner_names, json_values))
@settings(max_examples=150, deadline=None)
def test_no_claims_make_the_proof_fail_in_another_way_than_refusing(
    outer: dict[str, Any], inner: dict[str, Any]
) -> None:
    payload = claims()
    payload["kubernetes.io"].update(inner)
    payload.update(outer)

    try:
        proven = asyncio.run(validator().prove(MINT.sign_raw(payload), audiences=AUDIENCES, now=NOW, unbound=True))
    except NotProven as error:
        check = error.check
    else:
        check = "none"
        assert proven.identity.service_account == ACCOUNT

    assert check in (*CHECKS, "none")


async def test_no_refusal_repeats_the_token() -> None:
    for _, change, _ in HOSTILE:
        payload = claims()
        change(payload)
        token = MINT.sign_raw(payload)
        refusal = await refusal_of(token)
        assert not any(part in str(refusal) for part in token.split("."))


def test_every_check_is_provoked_by_one_of_these_tests() -> None:
    provoked = {check for _, _, check in HOSTILE}

    assert set(CHECKS) - provoked == {"shape", "header", "algorithm", "key", "signature"}


@pytest.mark.parametrize(
    ("token", "check"),
    [
        ("not a token", "shape"),
        (f"{b64(b'{}')}.e30.e30", "algorithm"),
        (f"{b64(b'[]')}.e30.e30", "header"),
        (MINT.token()[:-1], "signature"),
        (MINT.token().rpartition(".")[0] + ".AAAA", "signature"),
    ],
)
async def test_what_is_no_token_of_ours_is_refused_by_its_check(token: str, check: str) -> None:
    assert (await refusal_of(token)).check == check
