"""The whole configuration as one immutable value. The composition root alone reads it (DESIGN §3)."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from meshca.config.authority import Csr, Issuer, Leaf, Root
from meshca.config.callers import Audiences, Cluster, Match, PolicyRule
from meshca.config.doors import Http, Listener
from meshca.config.section import Section
from meshca.config.values import Duration, Namespace, Pause, StoreUrl, TrustDomainName


class Linkerd(Section):
    """What only Linkerd needs to know."""

    control_namespace: Namespace = "linkerd"
    """The namespace of Linkerd's control plane: it is a part of every name that Linkerd's proxies go by
    (`linkerd.md` §2.2), so it must be what they were installed with."""


class Store(Section):
    """The database: the only state that is shared."""

    url: Annotated[StoreUrl, Field(repr=False)] = "sqlite:////var/lib/meshca/meshca.db"
    """`sqlite:////absolute/path` of a file on a local disk (not NFS), in a folder that outlives the pod. SQLite means
    one replica with one worker. PostgreSQL follows in a later version."""


class Ledger(Section):
    """The record of every certificate that was released."""

    keep: Duration = timedelta(days=90)
    """How long after a certificate's end its row is kept: what an auditor can look back on. Longer costs disk: with a
    million leaves a day, a day more keeps a million more rows."""


class Rotation(Section):
    """What a rotation waits for (DESIGN §8)."""

    propagation: Pause = timedelta(minutes=5)
    """How long a change may take to reach everybody who must know of it. Tests and demonstrations use seconds."""
    skew: Pause = timedelta(minutes=2)
    """How far the clocks of the mesh may be apart: a leaf counts as alive for this much longer."""


class Log(Section):
    """The log: JSON lines on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """`info` has one line for each decision. With `warning`, what was issued stands in the ledger alone."""


class Config(Section):
    """Everything that can be configured. Only `trust_domain` has no default."""

    trust_domain: TrustDomainName
    """The SPIFFE trust domain that all identities are in: `cluster.local` unless the mesh was installed with another.
    It cannot be changed later: every workload's name would be another one."""
    linkerd: Linkerd = Linkerd()
    store: Store = Store()
    root: Root = Root()
    issuer: Issuer = Issuer()
    leaf: Leaf = Leaf()
    csr: Csr = Csr()
    clusters: Annotated[tuple[Cluster, ...], Field(min_length=1)] = (Cluster(name="Kubernetes"),)
    policy: tuple[PolicyRule, ...] = (PolicyRule(allow=Match()),)
    """Asked from the top; the first rule that fits decides, and what fits none is refused. Unless set, everybody in the
    configured clusters is allowed."""
    listeners: Annotated[tuple[Listener, ...], Field(min_length=1)] = (
        Listener(
            name="istio",
            address="0.0.0.0:15012",
            kind="tls",
            services=("istio",),
            names=("istiod.istio-system.svc",),
        ),
        Listener(
            name="linkerd",
            address="0.0.0.0:8080",
            kind="plaintext",
            behind="linkerd-sidecar",
            services=("linkerd",),
        ),
        Listener(name="admin", address="unix:/run/meshca/admin.sock", kind="plaintext", services=("admin",)),
    )
    audiences: Audiences = Audiences()
    http: Http = Http()
    ledger: Ledger = Ledger()
    rotation: Rotation = Rotation()
    log: Log = Log()
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Processes that issue certificates. More than one needs PostgreSQL, since several writers on one SQLite file
    starve each other."""
