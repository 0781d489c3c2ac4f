"""Who a caller was proven to be."""

from __future__ import annotations

from dataclasses import dataclass

from meshca.names import BadName, LinkerdName, ServiceAccount, SpiffeId


@dataclass(frozen=True, slots=True)
class Pod:
    """The pod that a token is bound to, as the API server said it."""

    name: str
    uid: str
    node: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a proven token entitles to. It is derived from the proof alone, never from the CSR."""

    spiffe_id: SpiffeId
    cluster: str
    service_account: ServiceAccount | None = None
    """None for a subject that is no service account: our own listeners, later machines outside Kubernetes."""
    pod: Pod | None = None

    def __str__(self) -> str:
        return str(self.spiffe_id)

    @property
    def namespace(self) -> str:
        """Empty for a subject that is no service account."""
        return self.service_account.namespace if self.service_account else ""

    @property
    def account(self) -> str:
        """The service account's name; empty for a subject that is none."""
        return self.service_account.name if self.service_account else ""

    def linkerd_name(self, control_namespace: str) -> LinkerdName:
        """Linkerd's name of the same account. Raises BadName where Linkerd has none."""
        if self.service_account is None:
            raise BadName(f"{self.spiffe_id} is no service account, so Linkerd has no name for it")
        return LinkerdName(self.service_account, control_namespace, self.spiffe_id.trust_domain)
