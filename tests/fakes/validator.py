"""A token validator in memory: it believes exactly the tokens that it minted."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from meshca.errors import NotProven, Unavailable
from meshca.identity import Identity, Pod
from meshca.names import ServiceAccount, TrustDomain
from meshca.tokens.validator import Proven


@dataclass(frozen=True)
class _Minted:
    audiences: frozenset[str]
    proven: Proven


class FakeValidator:
    """Set ``away`` and it cannot be asked."""

    checks = ("signature", "audience", "expiry", "bound")

    def __init__(self, cluster: str = "Kubernetes", trust_domain: str = "cluster.local") -> None:
        self.cluster = cluster
        self.trust_domain = TrustDomain(trust_domain)
        self.away = False
        self._minted: dict[str, _Minted] = {}

    def mint(
        self, account: ServiceAccount, *, audiences: Sequence[str], expires: datetime, pod: Pod | None = None
    ) -> str:
        """A token that has the shape of one, and says for whom it is to whoever reads it."""
        identity = Identity(account.spiffe_id(self.trust_domain), self.cluster, account, pod)
        said = base64.urlsafe_b64encode(json.dumps({"sub": str(account)}).encode()).decode().rstrip("=")
        token = f"ZmFrZQ.{said}.{secrets.token_urlsafe(16)}"
        self._minted[token] = _Minted(frozenset(audiences), Proven(identity, "fake", expires))
        return token

    async def prove(self, token: str, *, audiences: frozenset[str], now: datetime, unbound: bool = False) -> Proven:
        if self.away:
            raise Unavailable("the validator is away")
        minted = self._minted.get(token)
        if minted is None:
            raise NotProven("this token was not minted here", check="signature")
        if minted.audiences.isdisjoint(audiences):
            raise NotProven("the token is for another audience", check="audience")
        if now >= minted.proven.expires:
            raise NotProven("the token has expired", check="expiry")
        if minted.proven.identity.pod is None and not unbound:
            raise NotProven("the token is bound to no pod", check="bound")
        return minted.proven
