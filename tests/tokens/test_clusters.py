"""Which cluster's validator is asked, what is checked before, and for which namespaces it may speak."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from meshca.errors import Denied, Misconfigured, NotProven, Unavailable
from meshca.identity import Identity
from meshca.names import ServiceAccount, TrustDomain
from meshca.patterns import Pattern
from meshca.tokens import Cluster, Clusters
from meshca.tokens.validator import MAX_TOKEN, Proven
from tests.tokens.mint import NOW

AUDIENCES = frozenset({"istio-ca"})
TOKEN = "aGVhZA.cGF5bG9hZA.c2ln"


class Believing:
    """A validator that believes everything, and says in whose name."""

    checks = ("shape", "signature", "bound")

    def __init__(self, cluster: str, namespace: str = "shop") -> None:
        self.cluster = cluster
        self.account = ServiceAccount(namespace, "cart")
        self.asked: list[tuple[str, frozenset[str], datetime, bool]] = []

    async def prove(self, token: str, *, audiences: frozenset[str], now: datetime, unbound: bool = False) -> Proven:
        self.asked.append((token, audiences, now, unbound))
        identity = Identity(self.account.spiffe_id(TrustDomain("cluster.local")), self.cluster, self.account)
        return Proven(identity, "jwks", now + timedelta(hours=1))


LOCAL, REMOTE = Believing("Kubernetes"), Believing("east")


def clusters() -> Clusters:
    return Clusters([Cluster("Kubernetes", LOCAL, aliases=("west",)), Cluster("east", REMOTE, aliases=("e1", "e2"))])


async def named(*values: str) -> str:
    return (await clusters().prove(TOKEN, audiences=AUDIENCES, now=NOW, named=values)).identity.cluster


@pytest.mark.parametrize(
    ("values", "cluster"),
    [
        ((), "Kubernetes"),
        (("",), "Kubernetes"),
        (("Kubernetes",), "Kubernetes"),
        (("west",), "Kubernetes"),
        (("east",), "east"),
        (("e2",), "east"),
        (("east", "west"), "Kubernetes"),
        (("east", "east"), "Kubernetes"),
    ],
)
async def test_the_callers_clusterid_picks_the_cluster_and_else_it_is_the_local_one(
    values: tuple[str, ...], cluster: str
) -> None:
    assert await named(*values) == cluster


@pytest.mark.parametrize("value", ["north", "EAST", "east ", "*", "e", "kubernetes", "east\n"])
async def test_an_unknown_cluster_is_refused_and_nobody_else_is_asked(value: str) -> None:
    local, remote = Believing("Kubernetes"), Believing("east")

    with pytest.raises(NotProven, match="not configured") as refusal:
        await Clusters([Cluster("Kubernetes", local), Cluster("east", remote)]).prove(
            TOKEN, audiences=AUDIENCES, now=NOW, named=(value,)
        )

    assert refusal.value.check == "cluster"
    assert (local.asked, remote.asked) == ([], [])
    assert "\n" not in str(refusal.value)


async def test_the_validator_is_told_what_the_listener_demands() -> None:
    local = Believing("Kubernetes")

    await Clusters([Cluster("Kubernetes", local)]).prove(TOKEN, audiences=AUDIENCES, now=NOW, unbound=True)

    assert local.asked == [(TOKEN, AUDIENCES, NOW, True)]


def token_of(length: int) -> str:
    return TOKEN + "A" * (length - len(TOKEN))


async def test_a_token_as_long_as_the_limit_is_looked_at_and_one_byte_more_is_not() -> None:
    """54, and 66: the limit at N and N+1."""
    local = Believing("Kubernetes")
    prover = Clusters([Cluster("Kubernetes", local)])

    await prover.prove(token_of(MAX_TOKEN), audiences=AUDIENCES, now=NOW)
    with pytest.raises(NotProven, match="over 16384") as refusal:
        await prover.prove(token_of(MAX_TOKEN + 1), audiences=AUDIENCES, now=NOW)

    assert refusal.value.check == "size"
    assert len(local.asked) == 1


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c.d", "a..c", "a.b.c ", "a.b.\u0441", "opaque", "a.b.c\n", "é.b.c"])
async def test_what_has_not_the_shape_of_a_token_reaches_no_validator(token: str) -> None:
    """54 and 68: cheap checks first, and nothing odd is sent to an API server."""
    local = Believing("Kubernetes")

    with pytest.raises(NotProven) as refusal:
        await Clusters([Cluster("Kubernetes", local)]).prove(token, audiences=AUDIENCES, now=NOW)

    assert refusal.value.check == "shape"
    assert local.asked == []


@pytest.mark.parametrize(
    ("allowed", "namespace", "may"),
    [
        (("*",), "kube-system", True),
        (("shop",), "shop", True),
        (("shop",), "shop-2", False),
        (("shop",), "sho", False),
        (("team-a-*",), "team-a-web", True),
        (("team-a-*",), "team-a", False),
        (("team-a-*",), "team-b-web", False),
        (("pay", "team-*"), "team-x", True),
        (("pay", "team-*"), "kube-system", False),
        ((), "shop", False),
    ],
)
async def test_a_cluster_speaks_only_for_its_namespaces(allowed: tuple[str, ...], namespace: str, may: bool) -> None:
    cluster = Cluster("east", Believing("east", namespace), namespaces=tuple(map(Pattern, allowed)))

    async def prove() -> Proven:
        return await Clusters([cluster]).prove(TOKEN, audiences=AUDIENCES, now=NOW)

    if may:
        assert (await prove()).identity.namespace == namespace
    else:
        with pytest.raises(Denied, match="may not speak") as refusal:
            await prove()
        assert refusal.value.check == "namespace"


async def test_an_api_server_that_is_away_is_not_replaced_by_another_clusters() -> None:
    class Away(Believing):
        async def prove(self, token: str, *, audiences: frozenset[str], now: datetime, unbound: bool = False) -> Proven:
            raise Unavailable("away")

    remote = Believing("east")
    prover = Clusters([Cluster("Kubernetes", Away("Kubernetes")), Cluster("east", remote)])

    with pytest.raises(Unavailable):
        await prover.prove(TOKEN, audiences=AUDIENCES, now=NOW)
    assert remote.asked == []


@pytest.mark.parametrize(
    "configured",
    [
        [],
        [Cluster("a", LOCAL), Cluster("a", REMOTE)],
        [Cluster("a", LOCAL), Cluster("b", REMOTE, aliases=("a",))],
        [Cluster("a", LOCAL, aliases=("x",)), Cluster("b", REMOTE, aliases=("x",))],
    ],
)
def test_one_name_for_two_clusters_or_no_cluster_at_all_is_a_mistake(configured: list[Cluster]) -> None:
    with pytest.raises(Misconfigured):
        Clusters(configured)


def test_the_checks_of_a_cluster_are_listed_in_the_order_of_checking() -> None:
    assert clusters().named().checks == ("size", "shape", "cluster", "signature", "bound", "namespace")
