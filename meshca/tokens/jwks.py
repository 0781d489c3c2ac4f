"""Proof without a call: a token checked with the cluster's own public keys.

What this cannot see is whether the pod still lives: until its end a token proves as much as on its
first day. Where that matters, ``review`` asks the API server.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from meshca.errors import NotProven, shown
from meshca.identity import Identity, Pod
from meshca.names import ServiceAccount, TrustDomain
from meshca.tokens import jws
from meshca.tokens.jws import Claims, Compact, VerificationKey
from meshca.tokens.keys import KeySource
from meshca.tokens.kubernetes_claims import (
    PRIVATE_CLAIM,
    account_of,
    credential_from,
    pod_from,
    require_pod,
)
from meshca.tokens.validator import Proven

CHECKS: Final = (
    "shape",
    "header",
    "algorithm",
    "key",
    "signature",
    "claims",
    "issuer",
    "audience",
    "expiry",
    "not-before",
    "account",
    "bound",
)
"""What is checked, in this order."""

LEEWAY: Final = 10
"""Seconds by which the API server's clock may be ahead of ours. A token's end gets no leeway: a proxy renews its token
hours or minutes before, and what is cached must never outlive it."""

_LATEST: Final = 253402300799
"""9999-12-31T23:59:59Z, the last second that a ``datetime`` can hold."""


class JwksValidator:
    """Proves tokens of one cluster with its public keys."""

    def __init__(self, *, cluster: str, trust_domain: TrustDomain, issuer: str, keys: KeySource) -> None:
        """``issuer`` is the cluster's ``--service-account-issuer``, to the letter."""
        self._cluster = cluster
        self._trust_domain = trust_domain
        self._issuer = issuer
        self._keys = keys

    @property
    def checks(self) -> tuple[str, ...]:
        return CHECKS

    async def prove(self, token: str, *, audiences: frozenset[str], now: datetime, unbound: bool = False) -> Proven:
        """See ``Validator.prove``; CHECKS are the steps, cheap ones before the signature (case 68)."""
        compact = jws.split(token)
        await self._verify(compact)
        claims = jws.parse(jws.decode(compact.payload, check="claims"), check="claims")
        private = claims.get(PRIVATE_CLAIM)
        if not isinstance(private, dict):
            raise NotProven(
                "the token has no kubernetes.io claim: it is no service account's, or a legacy one of a Secret",
                check="claims",
            )
        self._check_addressee(claims, audiences)
        expires = _check_times(claims, now)
        account = _account(claims, private)
        pod = _pod(private)
        require_pod(pod, unbound=unbound)
        identity = Identity(account.spiffe_id(self._trust_domain), self._cluster, account, pod)
        token_id = claims.get("jti")
        return Proven(identity, "jwks", expires, credential_from(f"JTI={token_id}") if token_id else "")

    async def _verify(self, compact: Compact) -> None:
        """Check the signature with the key that the header names. Raises NotProven, Unavailable."""
        keys = await self._keys.keys()
        known = keys.recall(compact.header)
        key = known or await self._key_for(compact.header)
        if not key.verifies(jws.decode(compact.signature, check="signature"), compact.signed):
            raise NotProven(
                f"the token's signature is not that of the cluster's key {shown(key.kid)}", check="signature"
            )
        if known is None:
            keys.remember(compact.header, key)

    async def _key_for(self, segment: bytes) -> VerificationKey:
        header = jws.read_header(segment)
        key = (await self._keys.keys()).find(header.kid) or (await self._keys.newer()).find(header.kid)
        if key is None:
            raise NotProven(
                f"the token is signed with key {shown(header.kid)}, which is not one of cluster "
                f"{shown(self._cluster)}: it comes from another cluster, or these are not the cluster's keys",
                check="key",
            )
        if key.algorithm != header.algorithm:
            raise NotProven(
                f"key {shown(key.kid)} signs with {key.algorithm}, and the token says {header.algorithm}",
                check="key",
            )
        return key

    def _check_addressee(self, claims: Claims, audiences: frozenset[str]) -> None:
        if claims.get("iss") != self._issuer:
            raise NotProven(
                f"the token was issued by {shown(claims.get('iss'))}, not by {shown(self._issuer)}",
                check="issuer",
            )
        said = claims.get("aud")
        for audience in said if isinstance(said, list) else (said,):
            if isinstance(audience, str) and audience in audiences:
                return
        raise NotProven(
            f"the token is for audience {shown(said)}; this service takes {', '.join(sorted(audiences))}",
            check="audience",
        )


def _check_times(claims: Claims, now: datetime) -> datetime:
    """The token's end, when now is before it and not before its beginning. Raises NotProven."""
    seconds = now.timestamp()
    expires = _seconds(claims, "exp", check="expiry")
    if expires is None:
        raise NotProven("the token has no end (exp): it is a legacy one, which never expires", check="expiry")
    if seconds >= expires:
        raise NotProven(f"the token expired at {_text(expires)}", check="expiry")
    for name in ("nbf", "iat"):
        begins = _seconds(claims, name, check="not-before")
        if begins is not None and begins > seconds + LEEWAY:
            raise NotProven(
                f"the token is valid from {_text(begins)} ({name}); do the clocks differ?", check="not-before"
            )
    return datetime.fromtimestamp(expires, UTC)


def _seconds(claims: Claims, name: str, *, check: str) -> int | None:
    """A NumericDate (RFC 7519 §2): Kubernetes writes whole seconds. None when the claim is absent."""
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    # A bool is an int to Python, but not to JSON.
    if type(value) is not int or not 0 <= value <= _LATEST:
        raise NotProven(f"the token's {name} is {shown(value)}, not a number of seconds", check=check)
    return value


def _text(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _account(claims: Claims, private: dict[str, Any]) -> ServiceAccount:
    """The account that ``sub`` and the kubernetes.io claim agree on. Raises NotProven."""
    account = account_of(claims.get("sub"))
    reference = private.get("serviceaccount")
    if (
        not isinstance(reference, dict)
        or private.get("namespace") != account.namespace
        or reference.get("name") != account.name
    ):
        raise NotProven(
            f"the token's subject is {account}, and its kubernetes.io claim does not say the same",
            check="account",
        )
    if not isinstance(reference.get("uid"), str) or not reference["uid"]:
        raise NotProven(f"the token does not say which account named {account} it means (no UID)", check="account")
    return account


def _pod(private: dict[str, Any]) -> Pod | None:
    if "pod" not in private:
        return None
    pod, node = private["pod"], private.get("node", {})
    if not isinstance(pod, dict) or not isinstance(node, dict):
        raise NotProven("the token's pod is not said as Kubernetes says it", check="bound")
    return pod_from(pod.get("name"), pod.get("uid"), node.get("name"))
