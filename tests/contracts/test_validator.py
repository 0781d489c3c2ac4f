"""Every token validator keeps the contract of the port, the fake included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from meshca.identity import Pod
from meshca.names import ServiceAccount, TrustDomain
from meshca.testing.validator import OURS, TokenIssuer, ValidatorContract
from meshca.tokens.cache import CachedValidator
from meshca.tokens.jwks import JwksValidator
from meshca.tokens.validator import Validator
from tests.fakes.validator import FakeValidator
from tests.kube.meshca import Meshca, Workload
from tests.servers.kubernetes import ApiServer
from tests.tokens.held import Published
from tests.tokens.mint import ACCOUNT, ISSUER, POD, Mint

HOUR = timedelta(hours=1)


class OfJwks:
    """Tokens that PyJWT signs, and the keys for them."""

    cluster, trust_domain, account, pod = "Kubernetes", TrustDomain("cluster.local"), ACCOUNT, POD

    def __init__(self, algorithm: str) -> None:
        self._mint = Mint(algorithm=algorithm)
        self._keys = Published(self._mint)
        self.validator: Validator = JwksValidator(
            cluster=self.cluster, trust_domain=self.trust_domain, issuer=ISSUER, keys=self._keys
        )

    def token(self, audiences: Sequence[str], *, bound: bool = True) -> str:
        return self._mint.token(
            audiences=tuple(audiences), pod=self.pod if bound else None, issued=datetime.now(UTC), lifetime=HOUR
        )

    def expired(self) -> str:
        return self._mint.token(audiences=(OURS,), issued=datetime.now(UTC) - 2 * HOUR, lifetime=HOUR)

    def forged(self) -> str:
        return replace(self._mint, number=1).token(audiences=(OURS,), issued=datetime.now(UTC))

    def take_away(self) -> None:
        self._keys.away = True


class OfFake:
    """Tokens that the fake itself minted."""

    cluster, trust_domain, account, pod = "Kubernetes", TrustDomain("cluster.local"), ACCOUNT, POD

    def __init__(self, *, cached: bool = False) -> None:
        self._fake = FakeValidator()
        self.validator: Validator = CachedValidator(self._fake) if cached else self._fake

    def token(self, audiences: Sequence[str], *, bound: bool = True) -> str:
        pod = self.pod if bound else None
        return self._fake.mint(self.account, audiences=audiences, expires=datetime.now(UTC) + HOUR, pod=pod)

    def expired(self) -> str:
        return self._fake.mint(self.account, audiences=[OURS], expires=datetime.now(UTC) - HOUR, pod=self.pod)

    def forged(self) -> str:
        return FakeValidator().mint(self.account, audiences=[OURS], expires=datetime.now(UTC) + HOUR, pod=self.pod)

    def take_away(self) -> None:
        self._fake.away = True


@dataclass
class OfReview:
    """Tokens that a real API server issued, and its own reviews of them."""

    validator: Validator
    account: ServiceAccount
    pod: Pod
    workload: Workload
    meshca: Meshca
    trust_domain: TrustDomain
    cluster: str = "Kubernetes"

    def token(self, audiences: Sequence[str], *, bound: bool = True) -> str:
        return self.workload.token(audiences, bound=bound)

    def expired(self) -> str:
        return self.workload.expired(OURS)

    def forged(self) -> str:
        return self.workload.resigned(self.workload.token([OURS]), by_the_server=False)

    def take_away(self) -> None:
        self.meshca.proxy.refuse()


@pytest.fixture
def reviewed(api_server: ApiServer, namespace: str, tmp_path: Path) -> Iterator[OfReview]:
    workload = Workload.make(api_server, namespace)
    with Meshca.make(api_server, namespace, tmp_path) as meshca:
        trust_domain = TrustDomain("cluster.local")
        yield OfReview(meshca.validator, workload.account, workload.pod, workload, meshca, trust_domain)


class TestFake(ValidatorContract):
    @pytest.fixture
    def issuer(self) -> TokenIssuer:
        return OfFake()


class TestCached(ValidatorContract):
    @pytest.fixture
    def issuer(self) -> TokenIssuer:
        return OfFake(cached=True)


class TestJwks(ValidatorContract):
    @pytest.fixture(params=["RS256", "ES256"])
    def issuer(self, request: pytest.FixtureRequest) -> TokenIssuer:
        return OfJwks(request.param)


@pytest.mark.servers
class TestReview(ValidatorContract):
    @pytest.fixture
    def issuer(self, reviewed: OfReview) -> TokenIssuer:
        return reviewed


@pytest.mark.servers
class TestCachedReview(ValidatorContract):
    @pytest.fixture
    def issuer(self, reviewed: OfReview) -> TokenIssuer:
        reviewed.validator = CachedValidator(reviewed.validator)
        return reviewed
