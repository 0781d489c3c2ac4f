"""The sections about where we listen: listeners with their limits, and the HTTP side (DESIGN §5)."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from meshca.config.address import Address
from meshca.config.callers import Service
from meshca.config.section import Section
from meshca.config.values import DnsName, Duration, ListenerName, Notation, Size, SocketOrPort, later

ListenerKind = Annotated[
    Literal["tls", "plaintext"],
    later(
        relay="the relay listener (clients without ALPN, optional client certificates, peer credentials) follows in a "
        "later version; write tls, or plaintext behind a sidecar"
    ),
]


def _port_only(text: str) -> str:
    if Address.parse(text).is_socket:
        raise ValueError("write host:port: probes and Prometheus cannot reach a Unix socket")
    return text


class Limits(Section):
    """What one listener grants, so that no client can take all of it."""

    message: Size = 64 * 1024
    """Bytes of one request. The longest token that is taken has 16 KiB, a large CSR 2 KiB; more only costs memory."""
    streams: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """Concurrent calls on one connection."""
    in_flight: Annotated[int, Field(ge=1, le=1_000_000)] = 4096
    """Concurrent calls on all connections of a worker. More are answered RESOURCE_EXHAUSTED, which clients try again:
    a storm of starting pods then waits at the clients and not in our memory."""
    connection_age: Duration = timedelta(hours=1)
    """How old a connection may become before its client is asked to make a new one, so that connections spread over
    replicas again after one was restarted."""
    connection_grace: Duration = timedelta(seconds=30)
    """How long calls on such a connection may still take."""
    connection_idle: Duration = timedelta(minutes=5)
    """After how long without a call a connection is closed. Its client dials again when it renews, hours later."""


class Listener(Section):
    """One address and the services behind it."""

    name: ListenerName
    """What logs and metrics call it."""
    address: SocketOrPort
    """`host:port` with an IP address (IPv6 in brackets) or `localhost`, or `unix:/path`. The folder of a Unix socket is
    made with mode 0700, which is what guards the socket."""
    kind: ListenerKind
    """`tls` shows a certificate of our own for `names`. `plaintext` is for a Unix socket, for loopback, or for a port
    `behind` a sidecar which does the TLS: tokens are passwords, and never cross a network in the clear."""
    behind: Literal["linkerd-sidecar"] | None = None
    """With `plaintext` on a pod's address: says that a Linkerd sidecar stands in front, as it does in upstream's
    identity pod; it forwards to the pod's own address and not to loopback."""
    services: Annotated[tuple[Service, ...], Field(min_length=1)]
    """`istio` (`istio.v1.auth.IstioCertificateService`), `linkerd` (`io.linkerd.proxy.identity.Identity`), `admin` (the
    command line's, on a Unix socket of its own only). gRPC health and reflection are always there."""
    names: tuple[DnsName, ...] = ()
    """With `tls`: the DNS names that clients look for in our certificate, such as `istiod.istio-system.svc`."""
    unbound: Literal["refuse", "allow"] = "refuse"
    """What happens to a token that is not bound to a pod. Every sidecar's is bound; `allow` is for machines outside of
    Kubernetes, whose tokens somebody made by hand, and which no pod's end can revoke."""
    limits: Limits = Limits()


class Http(Section):
    """Health, metrics and the trust bundle over HTTP."""

    address: Annotated[SocketOrPort, AfterValidator(_port_only), Notation("host:port")] = "0.0.0.0:9990"
    """Where they are served, unencrypted: nothing there is secret."""
