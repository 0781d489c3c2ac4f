"""Rules about listeners (DESIGN §5)."""

from __future__ import annotations

from collections.abc import Iterator

from meshca.config.address import Address
from meshca.config.doors import Listener
from meshca.config.model import Config
from meshca.config.problems import Path, Problem
from meshca.config.rules.rule import rule
from meshca.errors import shown
from meshca.names import BadName, LinkerdName, ServiceAccount, TrustDomain


@rule("listeners")
def listener_names_are_unique(config: Config) -> Iterator[Problem]:
    """Logs and metrics go by the name."""
    taken: set[str] = set()
    for path, listener in _listeners(config):
        if listener.name in taken:
            yield Problem((*path, "name"), "another listener has this name: rename one", shown(listener.name))
        taken.add(listener.name)


@rule("listeners", "http")
def addresses_are_unique(config: Config) -> Iterator[Problem]:
    """One port has one owner; the HTTP side is one of them."""
    taken = [("http.address", Address.parse(config.http.address))]
    for path, listener in _listeners(config):
        address = Address.parse(listener.address)
        for owner, other in taken:
            if address.collides(other):
                yield Problem((*path, "address"), f"it collides with {owner}, {other}: change one", str(address))
        taken.append((f"listener {listener.name}", address))


@rule("listeners")
def services_stand_once(config: Config) -> Iterator[Problem]:
    for path, listener in _listeners(config):
        if len(set(listener.services)) < len(listener.services):
            yield Problem((*path, "services"), "a service stands twice: keep it once", ", ".join(listener.services))


@rule("listeners")
def plaintext_stays_private(config: Config) -> Iterator[Problem]:
    """Tokens are passwords: whoever reads one on its way is that workload."""
    for path, listener in _listeners(config):
        private = Address.parse(listener.address).is_private or listener.behind is not None
        if listener.kind == "plaintext" and not private:
            yield Problem(
                (*path, "address"),
                "a plaintext listener takes tokens, so write a loopback address or unix:/path, or kind: tls; behind a "
                "Linkerd sidecar, say so with behind: linkerd-sidecar",
                listener.address,
            )


@rule("listeners")
def sidecar_only_where_it_helps(config: Config) -> Iterator[Problem]:
    """A Linkerd sidecar takes the TLS of Linkerd's proxies away, and nobody else's."""
    for path, listener in _listeners(config):
        if listener.behind is None:
            continue
        if listener.kind == "tls":
            yield Problem((*path, "behind"), "with kind: tls nothing stands in front: remove it", listener.behind)
        elif set(listener.services) != {"linkerd"}:
            yield Problem(
                (*path, "services"),
                "behind: linkerd-sidecar is for linkerd alone: other clients are not in Linkerd's mesh, and their "
                "tokens would cross the network in the clear",
                ", ".join(listener.services),
            )


@rule("listeners")
def admin_has_a_socket_of_its_own(config: Config) -> Iterator[Problem]:
    """Who may open the socket may do everything, so nothing else is offered there."""
    for path, listener in _listeners(config):
        if "admin" not in listener.services:
            continue
        if listener.kind != "plaintext" or not Address.parse(listener.address).is_socket:
            yield Problem(
                (*path, "address"),
                "admin is served on a Unix socket only, guarded by its folder's mode: write unix:/path and "
                "kind: plaintext",
                f"{listener.address} ({listener.kind})",
            )
        if len(set(listener.services)) > 1:
            yield Problem(
                (*path, "services"),
                "who reaches another service here would reach admin too: give admin a listener of its own",
                ", ".join(listener.services),
            )


@rule("listeners")
def linkerd_without_alpn_needs_plaintext(config: Config) -> Iterator[Problem]:
    """linkerd2-proxy offers no ALPN, and grpcio drops such clients (DESIGN §5, ``linkerd.md`` §1.5)."""
    for path, listener in _listeners(config):
        if listener.kind == "tls" and "linkerd" in listener.services:
            yield Problem(
                (*path, "kind"),
                "unmodified Linkerd proxies send no ALPN, and this kind drops such clients. The relay listener, which "
                "takes them, follows in a later version: write kind: plaintext with behind: linkerd-sidecar",
                listener.kind,
            )


@rule("listeners")
def names_belong_to_tls(config: Config) -> Iterator[Problem]:
    """Clients verify a name; without TLS there is no certificate that could carry one."""
    for path, listener in _listeners(config):
        if listener.kind == "tls" and not listener.names:
            yield Problem(
                (*path, "names"), "write the DNS names that clients verify, such as istiod.istio-system.svc", "empty"
            )
        if listener.kind == "plaintext" and listener.names:
            yield Problem(
                (*path, "names"), "a plaintext listener shows no certificate: remove them", ", ".join(listener.names)
            )


@rule("listeners")
def tls_needs_a_port(config: Config) -> Iterator[Problem]:
    """Nobody dials TLS over a Unix socket; whoever configured it meant something else."""
    for path, listener in _listeners(config):
        if listener.kind == "tls" and Address.parse(listener.address).is_socket:
            yield Problem((*path, "address"), "write host:port, or kind: plaintext for a Unix socket", listener.address)


@rule("listeners", "trust_domain", "linkerd")
def trust_domain_fits_linkerd(config: Config) -> Iterator[Problem]:
    """Linkerd's names are DNS names that end in the trust domain."""
    if not any("linkerd" in listener.services for listener in config.listeners):
        return
    try:
        LinkerdName(
            ServiceAccount("default", "default"), config.linkerd.control_namespace, TrustDomain(config.trust_domain)
        )
    except BadName:
        yield Problem(
            ("trust_domain",),
            "Linkerd's names end in it, so it must be a DNS name that leaves room for them: change it, or remove the "
            "listener with the service linkerd",
            shown(config.trust_domain),
        )


def _listeners(config: Config) -> Iterator[tuple[Path, Listener]]:
    for index, listener in enumerate(config.listeners):
        yield ("listeners", index), listener


RULES = (
    listener_names_are_unique,
    addresses_are_unique,
    services_stand_once,
    plaintext_stays_private,
    sidecar_only_where_it_helps,
    admin_has_a_socket_of_its_own,
    linkerd_without_alpn_needs_plaintext,
    names_belong_to_tls,
    tls_needs_a_port,
    trust_domain_fits_linkerd,
)
