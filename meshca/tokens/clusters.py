"""The clusters whose tokens we take: each has its own validator and the namespaces that it may speak for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from meshca.errors import Denied, Misconfigured, NotProven, shown
from meshca.patterns import ANY, Pattern
from meshca.tokens import jws
from meshca.tokens.validator import MAX_TOKEN, Proven, Validator

CHECKS: Final = ("size", "shape", "cluster")
"""What is checked before a cluster's validator is asked, in this order."""

AFTERWARDS: Final = ("namespace",)
"""What is checked after the validator's own checks."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster, and how its tokens are proven."""

    name: str
    validator: Validator
    aliases: tuple[str, ...] = ()
    """Other values of Istio's ``clusterid`` that mean this cluster."""
    namespaces: tuple[Pattern, ...] = (ANY,)
    """The namespaces that this cluster may speak for: a cluster that is taken over must not be able to name
    the workloads of the others."""

    @property
    def checks(self) -> tuple[str, ...]:
        """Every check of a token of this cluster, in order; for ``meshca explain token``."""
        own = tuple(check for check in self.validator.checks if check not in CHECKS)
        return (*CHECKS, *own, *AFTERWARDS)


class Clusters:
    """Finds the validator of the cluster that a caller names, and asks it. The first is the local one."""

    def __init__(self, clusters: Sequence[Cluster]) -> None:
        """Raises Misconfigured when there is none, or when one name means two of them."""
        if not clusters:
            raise Misconfigured("no cluster is configured, so no token could be proven: name at least one (clusters)")
        self._local = clusters[0]
        self._by_name: dict[str, Cluster] = {}
        for cluster in clusters:
            for name in (cluster.name, *cluster.aliases):
                if self._by_name.setdefault(name, cluster) is not cluster:
                    raise Misconfigured(f"{shown(name)} names two clusters; names and aliases must differ")

    def named(self, values: Sequence[str] = ()) -> Cluster:
        """The cluster that a caller means by the values of its ``clusterid`` metadata.

        None, several or an empty one mean the local cluster, as in istiod (``istio.md`` §2.1). Raises
        NotProven (check ``cluster``) for a name that is not configured: there is no fallback, since a
        token of one cluster must not be tried on another.
        """
        if len(values) != 1 or not values[0]:
            return self._local
        cluster = self._by_name.get(values[0])
        if cluster is None:
            raise NotProven(
                f"the caller says that it is in cluster {shown(values[0])}, which is not configured; "
                "add it to clusters, or to the aliases of one",
                check="cluster",
            )
        return cluster

    async def prove(
        self,
        token: str,
        *,
        audiences: frozenset[str],
        now: datetime,
        named: Sequence[str] = (),
        unbound: bool = False,
    ) -> Proven:
        """Prove a token to one of our audiences, cheapest checks first (``ca-practice.md`` §6 cases 54, 68).

        ``named`` are the values of the caller's ``clusterid``. Raises NotProven, Denied (check
        ``namespace``), Unavailable; for ``unbound`` and the rest see ``Validator.prove``.
        """
        if len(token) > MAX_TOKEN:
            raise NotProven(f"the token has {len(token)} characters, over {MAX_TOKEN}", check="size")
        jws.split(token)
        cluster = self.named(named)
        proven = await cluster.validator.prove(token, audiences=audiences, now=now, unbound=unbound)
        namespace = proven.identity.namespace
        if not any(pattern.matches(namespace) for pattern in cluster.namespaces):
            raise Denied(
                f"cluster {shown(cluster.name)} may not speak for namespace {shown(namespace)} (clusters[].namespaces)",
                check="namespace",
            )
        return proven
