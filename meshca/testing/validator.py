"""The contract of a token validator, for every implementation of ``meshca.tokens.Validator``.

Derive a class named ``Test…`` from :class:`ValidatorContract` and give it a fixture ``issuer``: an
object that mints tokens as the implementation's cluster does, and can take away what it needs.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from meshca.errors import NotProven, Unavailable
from meshca.identity import Identity, Pod
from meshca.names import ServiceAccount, TrustDomain
from meshca.tokens.validator import Proven, Validator

OURS = "contract-audience"
"""The audience that the contract's tokens are for."""

OTHER = "contract-other-audience"


class TokenIssuer(Protocol):
    """A cluster with one service account, one live pod of it on a node, and the validator under test."""

    validator: Validator
    cluster: str
    trust_domain: TrustDomain
    account: ServiceAccount
    pod: Pod

    def token(self, audiences: Sequence[str], *, bound: bool = True) -> str:
        """A good token of the account, bound to the pod or to nothing."""

    def expired(self) -> str:
        """A token for OURS that was good until some minutes ago."""

    def forged(self) -> str:
        """A token for OURS that says all the right things and is signed by somebody else's key."""

    def take_away(self) -> None:
        """Make unreachable what the validator needs. It has proven nothing before."""


class ValidatorContract:
    """What every validator promises."""

    async def test_a_bound_token_proves_its_account_and_its_pod(self, issuer: TokenIssuer) -> None:
        token = issuer.token([OURS])

        proven = await _prove(issuer, token)

        expected = issuer.account.spiffe_id(issuer.trust_domain)
        assert proven.identity == Identity(expected, issuer.cluster, issuer.account, issuer.pod)
        assert proven.kind
        assert timedelta() < proven.expires - datetime.now(UTC) < timedelta(days=2)
        assert not _repeats(repr(proven), token)

    async def test_one_audience_in_common_is_enough(self, issuer: TokenIssuer) -> None:
        token = issuer.token([OTHER, OURS])

        proven = await _prove(issuer, token, audiences=frozenset({OURS, "contract-third-audience"}))

        assert proven.identity.service_account == issuer.account

    async def test_a_token_for_another_audience_is_refused(self, issuer: TokenIssuer) -> None:
        refusal = await _refusal(issuer, issuer.token([OTHER]))

        assert refusal.check == "audience"

    async def test_an_expired_token_is_refused(self, issuer: TokenIssuer) -> None:
        await _refusal(issuer, issuer.expired())

    async def test_a_token_signed_by_somebody_else_is_refused(self, issuer: TokenIssuer) -> None:
        await _refusal(issuer, issuer.forged())

    async def test_a_token_whose_claims_were_changed_is_refused(self, issuer: TokenIssuer) -> None:
        await _refusal(issuer, _renamed(issuer.token([OURS])))

    async def test_a_token_bound_to_no_pod_is_refused(self, issuer: TokenIssuer) -> None:
        refusal = await _refusal(issuer, issuer.token([OURS], bound=False))

        assert refusal.check == "bound"

    async def test_a_token_bound_to_no_pod_is_taken_by_a_listener_that_says_so(self, issuer: TokenIssuer) -> None:
        proven = await _prove(issuer, issuer.token([OURS], bound=False), unbound=True)

        assert (proven.identity.service_account, proven.identity.pod) == (issuer.account, None)

    async def test_a_listener_that_takes_unbound_tokens_sees_the_pod_of_the_others(self, issuer: TokenIssuer) -> None:
        proven = await _prove(issuer, issuer.token([OURS]), unbound=True)

        assert proven.identity.pod == issuer.pod

    async def test_what_is_no_token_is_refused(self, issuer: TokenIssuer) -> None:
        for text in ("e30.e30.AAAA", "bm90.YQ.dG9rZW4"):
            await _refusal(issuer, text)

    async def test_the_same_token_is_proven_again(self, issuer: TokenIssuer) -> None:
        token = issuer.token([OURS])

        first, second = await _prove(issuer, token), await _prove(issuer, token)

        assert first == second

    async def test_proofs_at_once_do_not_mix(self, issuer: TokenIssuer) -> None:
        bound, unbound = issuer.token([OURS]), issuer.token([OURS], bound=False)

        proven = await asyncio.gather(*(_prove(issuer, token, unbound=True) for token in [bound, unbound] * 10))

        assert [each.identity.pod for each in proven] == [issuer.pod, None] * 10

    async def test_what_it_needs_being_away_is_unavailable_and_never_a_refusal(self, issuer: TokenIssuer) -> None:
        tokens = [issuer.token([OURS]), issuer.forged()]
        issuer.take_away()

        for token in tokens:
            with pytest.raises(Unavailable) as failure:
                await _prove(issuer, token)
            assert not _repeats(str(failure.value), token)


async def _prove(
    issuer: TokenIssuer, token: str, *, audiences: frozenset[str] = frozenset({OURS}), unbound: bool = False
) -> Proven:
    return await issuer.validator.prove(token, audiences=audiences, now=datetime.now(UTC), unbound=unbound)


async def _refusal(issuer: TokenIssuer, token: str) -> NotProven:
    """The refusal of a token, which names one of the validator's checks and does not repeat the token."""
    with pytest.raises(NotProven) as refusal:
        await _prove(issuer, token)
    assert refusal.value.check in issuer.validator.checks
    assert not _repeats(str(refusal.value), token)
    return refusal.value


def _repeats(text: str, token: str) -> bool:
    return any(segment in text for segment in token.split(".") if len(segment) > 8)


def _renamed(token: str) -> str:
    """The token with another account's name wherever Kubernetes says it, and the signature that it had: nothing but
    the signature can be the reason of the refusal."""
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    claims["sub"] = "system:serviceaccount:kube-system:admin"
    if "kubernetes.io" in claims:
        claims["kubernetes.io"]["namespace"] = "kube-system"
        claims["kubernetes.io"]["serviceaccount"]["name"] = "admin"
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{header}.{forged}.{signature}"
