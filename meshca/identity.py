"""Who a caller was proven to be."""

from __future__ import annotations

from dataclasses import dataclass

from meshca.names import LinkerdName, ServiceAccount, SpiffeId


@dataclass(frozen=True, slots=True)
class Pod:
    """The pod that a token is bound to, as the API server said it."""

    name: str
    uid: str
    node: str | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """What a proven token entitles to. It is derived from the proof alone, never from the CSR."""

    spiffe_id: SpiffeId
    cluster: str
    service_account: ServiceAccount
    pod: Pod | None = None

    def __str__(self) -> str:
        return str(self.spiffe_id)

    def linkerd_name(self, control_namespace: str) -> LinkerdName:
        """Linkerd's name of the same account. Raises BadName where Linkerd has none."""
        return LinkerdName(self.service_account, control_namespace, self.spiffe_id.trust_domain)
