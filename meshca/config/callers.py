"""The sections about who may ask: clusters and their tokens, policy, audiences (DESIGN §6)."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from meshca.config.section import Section
from meshca.config.values import (
    AccountPattern,
    Audience,
    ClusterName,
    Duration,
    File,
    Lifetime,
    NamespacePattern,
    Notation,
    later,
)

Service = Literal["istio", "linkerd", "admin"]

Validation = Annotated[
    Literal["review", "jwks"],
    later(
        auto="choosing by itself follows in a later version, with the watch of pods; write review, or jwks",
        oidc="OIDC issuers follow in a later version; write review, or jwks",
    ),
]


class ApiServer(Section):
    """How a cluster's API server is reached, for TokenReviews."""

    kubeconfig: File | None = None
    """Kubeconfig file; its current context counts. Unless set, the cluster that we run in, by our pod's own service
    account, which needs `create` on `tokenreviews.authentication.k8s.io`."""
    timeout: Duration = timedelta(seconds=5)
    """The deadline of one call. After it the client is told UNAVAILABLE and asks again; it is never refused for it."""


class Jwks(Section):
    """A cluster's own keys, by which its tokens are verified without asking it."""

    issuer: Annotated[str, Field(min_length=1, max_length=2048), Notation("text")] = (
        "https://kubernetes.default.svc.cluster.local"
    )
    """The `iss` that the cluster's tokens carry: the API server's first `--service-account-issuer`
    (`kubectl get --raw /.well-known/openid-configuration` shows it)."""
    file: File | None = None
    """File of the keys (a JWK set; `kubectl get --raw /openid/v1/jwks` prints it), read again when it changes. Either
    this or `url`."""
    url: Annotated[str, Field(max_length=2048), Notation("https URL")] | None = None
    """Where the keys are fetched from; https, or http on this machine alone. Either this or `file`."""
    ca_file: File | None = None
    """PEM file of the roots that the server of `url` is verified with. Unless set, those of the system."""
    refresh: Duration = timedelta(minutes=5)
    """With `url`: how often the keys are read anew. A key that the cluster withdrew is accepted for this long. While
    reading fails, the last good keys serve for an hour, or three times this where that is longer."""
    timeout: Duration = timedelta(seconds=5)
    """The deadline of one fetch from `url`. Callers wait for one only when there are no keys, or a new one is named."""


class Cluster(Section):
    """A Kubernetes cluster whose service accounts may get certificates."""

    name: ClusterName
    """What the ledger, policy and metrics call it. Istio's clients say it in `clusterid` (`Kubernetes` unless they were
    told otherwise); who says none belongs to the first cluster of the list."""
    aliases: tuple[ClusterName, ...] = ()
    """Other names that clients may use for it."""
    validation: Validation = Field(default="review", alias="validate")
    """How its tokens are proven. `review` asks its API server (TokenReview): always up to date, one call for each new
    token. `jwks` verifies them here with the cluster's keys: no call, works while the API server is away, but **a token
    of a deleted pod is accepted until it expires**. It needs the `jwks` block."""
    namespaces: Annotated[tuple[NamespacePattern, ...], Field(min_length=1)] = ("*",)
    """The namespaces for which this cluster's tokens count, whatever policy says. Narrow it for a cluster that is
    trusted less: it can then mint no identity of another one's namespaces."""
    api_server: ApiServer = ApiServer()
    jwks: Jwks | None = None


class Match(Section):
    """Whom a rule is about: all of the three must fit."""

    cluster: Annotated[str, Field(min_length=1), Notation("`*` or the name of a cluster")] = "*"
    """The name of one of `clusters` (not an alias), or `*` for all of them."""
    namespace: NamespacePattern = "*"
    """A namespace, the beginning of one (`team-a-*`), or `*` for all."""
    service_account: AccountPattern = "*"
    """A service account, the beginning of one, or `*` for all."""


class PolicyRule(Section):
    """One line of policy: exactly one of `allow` and `deny`, and bounds for what is allowed."""

    allow: Match | None = None
    """Whom the rule gives certificates to."""
    deny: Match | None = None
    """Whom the rule refuses."""
    min_lifetime: Lifetime | None = None
    """With `allow`: the shortest life that is granted, not below `leaf.min_lifetime`. Unless set, that."""
    max_lifetime: Lifetime | None = None
    """With `allow`: the longest life that is granted, not above `leaf.max_lifetime`. Unless set, that."""


class Audiences(Section):
    """What a token must be meant for, by service: a token for Istio opens nothing at Linkerd's service."""

    istio: Annotated[tuple[Audience, ...], Field(min_length=1)] = ("istio-ca",)
    """Istio's clients use `istio-ca` unless `global.sds.token.aud` was set."""
    linkerd: Annotated[tuple[Audience, ...], Field(min_length=1)] = ("identity.l5d.io",)
    """Linkerd's proxies use `identity.l5d.io`. With `identity.serviceAccountTokenProjection=false` they send the pod's
    default token, which has the API server's audience: such a token is good for anything, so rather turn the
    projection on than list it here."""

    def __getitem__(self, service: str) -> tuple[str, ...]:
        """The audiences of a service. Raises KeyError for one that takes no tokens."""
        return {"istio": self.istio, "linkerd": self.linkerd}[service]
