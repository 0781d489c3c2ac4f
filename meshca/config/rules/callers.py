"""Rules about clusters, policy and audiences (DESIGN §6)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from meshca.config.callers import Jwks
from meshca.config.masking import masked
from meshca.config.model import Config
from meshca.config.problems import Path, Problem
from meshca.config.rules.rule import rule
from meshca.errors import shown


@rule("clusters")
def cluster_names_are_unique(config: Config) -> Iterator[Problem]:
    """A client's ``clusterid`` must pick one cluster."""
    taken: set[str] = set()
    for index, cluster in enumerate(config.clusters):
        names: list[tuple[Path, str]] = [(("clusters", index, "name"), cluster.name)]
        names += [(("clusters", index, "aliases", at), alias) for at, alias in enumerate(cluster.aliases)]
        for path, name in names:
            if name in taken:
                yield Problem(
                    path, "another cluster has this name or alias, or this one has it twice: keep one", shown(name)
                )
            taken.add(name)


@rule("clusters")
def one_cluster_is_our_own(config: Config) -> Iterator[Problem]:
    """Two names for the API server of our own cluster would let its tokens count as either's."""
    own = [
        (index, cluster.name)
        for index, cluster in enumerate(config.clusters)
        if cluster.validation == "review" and cluster.api_server.kubeconfig is None
    ]
    for index, _ in own[1:]:
        yield Problem(
            ("clusters", index, "api_server", "kubeconfig"),
            f"without one it is the cluster that we run in, and that is {own[0][1]} already: write its kubeconfig",
            "not set",
        )


@rule("clusters")
def jwks_block_fits_validation(config: Config) -> Iterator[Problem]:
    """A block that nobody reads looks like a check that nobody makes."""
    for index, cluster in enumerate(config.clusters):
        path = ("clusters", index, "jwks")
        if cluster.validation == "jwks" and cluster.jwks is None:
            yield Problem(path, "with validate: jwks, write where the keys are: jwks: {file: …} or {url: …}", "not set")
        if cluster.validation != "jwks" and cluster.jwks is not None:
            yield Problem(
                path, f"with validate: {cluster.validation} it is not read: remove it, or write validate: jwks"
            )


@rule("clusters")
def keys_come_from_one_place(config: Config) -> Iterator[Problem]:
    """Of two sources one would be silently ignored."""
    for path, jwks in _blocks(config):
        if jwks.file and jwks.url:
            yield Problem(path, "it has both file and url: keep one")
        if not jwks.file and not jwks.url:
            yield Problem(path, "it has neither file nor url: write one")
        if jwks.ca_file and not jwks.url:
            yield Problem((*path, "ca_file"), "it is for url, which is not set: remove it", shown(jwks.ca_file))


@rule("clusters")
def keys_are_fetched_safely(config: Config) -> Iterator[Problem]:
    """Whoever changes the keys on their way is every service account of the cluster."""
    for path, jwks in _blocks(config):
        if jwks.url is not None and (remedy := _unsafe(jwks.url)):
            yield Problem((*path, "url"), remedy, shown(masked(jwks.url)))


@rule("policy", "clusters")
def policy_names_known_clusters(config: Config) -> Iterator[Problem]:
    """A rule about a cluster that does not exist is a typing error, and a dangerous one in a ``deny``."""
    names = dict.fromkeys(cluster.name for cluster in config.clusters)
    canonical = {alias: cluster.name for cluster in config.clusters for alias in cluster.aliases}
    for index, line in enumerate(config.policy):
        for verb, match in (("allow", line.allow), ("deny", line.deny)):
            if match is not None and match.cluster not in {"*", *names}:
                wanted = canonical.get(match.cluster) or " or ".join([*names, "*"])
                yield Problem(("policy", index, verb, "cluster"), f"write {wanted}", shown(match.cluster))


@rule("policy")
def rules_allow_or_deny(config: Config) -> Iterator[Problem]:
    """Exactly one of the two; and bounds belong to what is allowed."""
    for index, line in enumerate(config.policy):
        path = ("policy", index)
        if (line.allow is None) is (line.deny is None):
            yield Problem(path, f"it has {'both' if line.allow else 'neither'} allow and deny: write exactly one")
        if line.deny is not None and line.allow is None and (line.min_lifetime or line.max_lifetime):
            yield Problem(path, "it denies, so its min_lifetime and max_lifetime mean nothing: remove them")


@rule("audiences")
def audiences_are_disjoint(config: Config) -> Iterator[Problem]:
    """A token for one service must open nothing at another one (DESIGN §5)."""
    for index, audience in enumerate(config.audiences.linkerd):
        if audience in config.audiences.istio:
            yield Problem(
                ("audiences", "linkerd", index),
                "audiences.istio has it too, and a token for one service must open nothing at the other: keep one",
                shown(audience),
            )


def _blocks(config: Config) -> Iterator[tuple[Path, Jwks]]:
    for index, cluster in enumerate(config.clusters):
        if cluster.jwks is not None:
            yield ("clusters", index, "jwks"), cluster.jwks


def _unsafe(url: str) -> str | None:
    """Why keys must not be fetched from there."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port  # raises ValueError for one that is no number
    except ValueError:
        return "write a URL, such as https://keys.example.com/jwks"
    if parts.username is not None or parts.password is not None:
        return "it holds a user or a password, and public keys need none: remove them"
    if not host or parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
        return "write a URL with a host and without a fragment, such as https://keys.example.com/jwks"
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host)):
        return None
    return "write an https URL; http is for this machine alone (127.0.0.1, [::1], localhost)"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


RULES = (
    cluster_names_are_unique,
    one_cluster_is_our_own,
    jwks_block_fits_validation,
    keys_come_from_one_place,
    keys_are_fetched_safely,
    policy_names_known_clusters,
    rules_allow_or_deny,
    audiences_are_disjoint,
)
