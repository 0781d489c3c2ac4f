"""From the configuration to the parts: the composition roots read it here and hand it down as values."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from meshca.csr import BlockedKeys, Rules
from meshca.errors import Misconfigured, NotProven, Unavailable
from meshca.issuance.ledger import Entry
from meshca.issuance.policy import Bounds, Policy, Rule
from meshca.issuance.profile import Lifetimes
from meshca.keys.sealed import FileKek, KeyEncryptionKey
from meshca.names import TrustDomain
from meshca.patterns import Pattern
from meshca.roots.files import RootFiles, open_root
from meshca.roots.judge import fingerprint
from meshca.roots.source import RootSource
from meshca.rotation.authority_set import AuthoritySet
from meshca.rotation.controller import IssuerPlan
from meshca.server.listeners import Limits
from meshca.server.logs import Logger
from meshca.server.metrics import Metrics
from meshca.store.engine import Store
from meshca.store.ledger import LedgerWriter, Reports
from meshca.tokens.cache import CachedValidator
from meshca.tokens.clusters import Cluster, Clusters
from meshca.tokens.jwks import JwksValidator
from meshca.tokens.keys import KeySource, file_keys
from meshca.tokens.validator import Proven, Validator

if TYPE_CHECKING:  # a worker has the configuration without pydantic (plain.py)
    from meshca.config import Config
    from meshca.config.callers import Cluster as ClusterConfig
    from meshca.config.callers import Match
    from meshca.config.doors import Limits as LimitsConfig


def limits(each: LimitsConfig) -> Limits:
    return Limits(
        message=each.message,
        streams=each.streams,
        in_flight=each.in_flight,
        connection_age=each.connection_age,
        connection_grace=each.connection_grace,
        connection_idle=each.connection_idle,
    )


def audiences(config: Config, service: str) -> frozenset[str]:
    """What a token must be meant for at this service."""
    return frozenset(getattr(config.audiences, service))


def lifetimes(config: Config) -> Lifetimes:
    leaf = config.leaf
    return Lifetimes(default=leaf.lifetime, minimum=leaf.min_lifetime, maximum=leaf.max_lifetime, jitter=leaf.jitter)


def policy(config: Config) -> Policy:
    def rule(match: Match, bounds: Bounds, *, allows: bool) -> Rule:
        return Rule(
            effect="allow" if allows else "deny",
            cluster=Pattern(match.cluster),
            namespace=Pattern(match.namespace),
            service_account=Pattern(match.service_account),
            bounds=bounds,
        )

    rules = []
    for each in config.policy:
        match = each.allow or each.deny
        assert match is not None, "the configuration has judged that each rule has one"
        bounds = Bounds(minimum=each.min_lifetime, maximum=each.max_lifetime)
        rules.append(rule(match, bounds, allows=each.allow is not None))
    return Policy(rules)


# --- roots, issuers, keys --------------------------------------------------------------------


def kek(config: Config) -> KeyEncryptionKey:
    """Raises Misconfigured when the key-encryption key cannot be read."""
    return FileKek.read(config.issuer.keys.kek.file)


def root_files(config: Config) -> RootFiles:
    """Raises Misconfigured when the configuration names no root."""
    root = config.root
    if root.certificate is None or root.key is None:
        raise Misconfigured("root.certificate and root.key are not set, so no issuer can be signed: name both files")
    return RootFiles(root.certificate, root.key, root.passphrase_file)


def root_source(config: Config) -> RootSource:
    """The root, its key opened. Raises Misconfigured, also when it is none of the configured fingerprints."""
    source = open_root(root_files(config))
    allowed = config.root.fingerprints
    for root in source.roots():
        if allowed and fingerprint(root) not in allowed:
            raise Misconfigured(
                f"the root in {config.root.certificate} is {fingerprint(root)}, none of root.fingerprints: "
                "add it there if it is meant, else put the right file back"
            )
    return source


def issuer_plan(config: Config) -> IssuerPlan:
    return IssuerPlan(
        trust_domain=TrustDomain(config.trust_domain),
        key_type=config.issuer.key_type,
        lifetime=config.issuer.lifetime,
        rotate_at=config.issuer.rotate_at,
        skew=config.rotation.skew,
    )


class OwnKeys:
    """The public keys of our own issuers and roots: nobody gets a certificate for one of them (case 11)."""

    def __init__(self) -> None:
        self._hashes: frozenset[bytes] = frozenset()

    def __call__(self) -> frozenset[bytes]:
        return self._hashes

    def replace(self, present: AuthoritySet) -> None:
        roots = (root.spki_sha256 for root in present.roots)
        self._hashes = frozenset((*roots, *(issuer.spki_sha256 for issuer in present.issuers)))


def csr_rules(config: Config, own_keys: OwnKeys) -> Rules:
    """Raises Misconfigured when the list of blocked keys cannot be read."""
    path = config.csr.blocked_keys
    return Rules(blocked=BlockedKeys.read(path) if path else BlockedKeys(), own_keys=own_keys)


# --- who asks --------------------------------------------------------------------------------


class Callers:
    """The clusters whose tokens we take, and what must be closed after them."""

    def __init__(self, config: Config, metrics: Metrics | None = None) -> None:
        """Raises Misconfigured when a cluster's API server or keys cannot be addressed."""
        self._closing = AsyncExitStack()
        self.clusters = Clusters([self._cluster(each, config, metrics) for each in config.clusters])

    async def close(self) -> None:
        await self._closing.aclose()

    def _cluster(self, each: ClusterConfig, config: Config, metrics: Metrics | None) -> Cluster:
        trust_domain = TrustDomain(config.trust_domain)
        make = {"jwks": self._jwks, "review": self._review}[each.validation]
        validator = make(each, trust_domain)
        return Cluster(
            name=each.name,
            validator=_Counted(validator, each, metrics) if metrics else validator,
            aliases=tuple(each.aliases),
            namespaces=tuple(Pattern(text) for text in each.namespaces),
        )

    def _jwks(self, each: ClusterConfig, trust_domain: TrustDomain) -> Validator:
        assert each.jwks is not None, "the configuration has judged that it is there"
        keys: KeySource
        if each.jwks.file is not None:
            keys = file_keys(each.jwks.file)
        else:
            from meshca.kube.keys import url_keys  # its HTTP client is loaded where it is configured

            assert each.jwks.url is not None, "the configuration has judged that there is one or the other"
            keys = url_keys(
                each.jwks.url, ca_file=each.jwks.ca_file, period=each.jwks.refresh, timeout=each.jwks.timeout
            )
        return JwksValidator(cluster=each.name, trust_domain=trust_domain, issuer=each.jwks.issuer, keys=keys)

    def _review(self, each: ClusterConfig, trust_domain: TrustDomain) -> Validator:
        from meshca.kube.client import ApiServerClient  # loaded where it is configured
        from meshca.kube.review import ReviewValidator

        reviewer = ReviewValidator(
            ApiServerClient(each.api_server.kubeconfig),
            cluster=each.name,
            trust_domain=trust_domain,
            timeout=each.api_server.timeout,
        )
        self._closing.callback(reviewer.close)
        return CachedValidator(reviewer)


class _Counted:
    """A validator whose results are counted."""

    def __init__(self, validator: Validator, cluster: ClusterConfig, metrics: Metrics) -> None:
        self._validator = validator
        self._count = partial(metrics.tokens.inc, cluster.name, cluster.validation)

    @property
    def checks(self) -> tuple[str, ...]:
        return self._validator.checks

    async def prove(self, token: str, *, audiences: frozenset[str], now: datetime, unbound: bool = False) -> Proven:
        try:
            proven = await self._validator.prove(token, audiences=audiences, now=now, unbound=unbound)
        except NotProven:
            self._count("refused")
            raise
        except Unavailable:
            self._count("unavailable")
            raise
        self._count("proven")
        return proven


# --- the ledger ------------------------------------------------------------------------------


def ledger_writer(config: Config, store: Store, metrics: Metrics, log: Logger) -> LedgerWriter:
    """The worker's writer; what happens in it is counted and logged."""

    def committed(rows: int, seconds: float) -> None:
        metrics.commit_size.observe(rows)
        metrics.commit_seconds.observe(seconds)

    def failed(failure: Unavailable) -> None:
        metrics.commit_failures.inc()
        log.error("ledger not written", reason=str(failure))

    def shared_key(entry: Entry, other: str) -> None:
        metrics.shared_keys.inc()
        log.warning("shared key", identity=entry.identity, other=other, spki_sha256=entry.spki_sha256.hex())

    return LedgerWriter(
        store,
        shared_keys=config.csr.shared_keys,
        skew=config.rotation.skew,
        reports=Reports(committed=committed, failed=failed, shared_key=shared_key),
    )
