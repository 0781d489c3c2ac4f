"""TokenReview: against a real API server, late, cut and torn; and how each answer is read."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from meshca.errors import NotProven, Unavailable
from meshca.identity import Pod
from meshca.kube.client import ApiServerClient, Json
from meshca.kube.review import CHECKS, ReviewValidator
from meshca.names import TrustDomain
from meshca.tokens.cache import CachedValidator
from meshca.tokens.validator import Proven, Validator
from tests.kube.meshca import Meshca, Workload
from tests.servers.kubernetes import ApiServer
from tests.tokens.mint import ACCOUNT, NOW, Mint

AUDIENCES = frozenset({"istio-ca"})


async def prove(validator: Validator, token: str, *, unbound: bool = False) -> Proven:
    return await validator.prove(token, audiences=AUDIENCES, now=datetime.now(UTC), unbound=unbound)


# --- a real API server ---------------------------------------------------------------------------


@pytest.fixture
def workload(api_server: ApiServer, namespace: str) -> Workload:
    return Workload.make(api_server, namespace)


@pytest.fixture
def meshca(api_server: ApiServer, namespace: str, tmp_path: Path) -> Iterator[Meshca]:
    with Meshca.make(api_server, namespace, tmp_path, timeout=timedelta(seconds=1)) as meshca:
        yield meshca


@pytest.mark.servers
class TestRealServer:
    async def test_a_live_pods_token_is_proven_with_its_pod(self, workload: Workload, meshca: Meshca) -> None:
        token = workload.token(["istio-ca"])

        proven = await prove(meshca.validator, token)

        assert proven.identity.service_account == workload.account
        assert proven.identity.pod == workload.pod
        assert proven.kind == "review"
        assert proven.credential.startswith("JTI=")
        assert timedelta(minutes=59) < proven.expires - datetime.now(UTC) <= timedelta(hours=1)

    async def test_only_a_token_review_is_asked(self, workload: Workload, meshca: Meshca) -> None:
        await prove(meshca.validator, workload.token(["istio-ca"]))

        assert meshca.proxy.requests == [("POST", "/apis/authentication.k8s.io/v1/tokenreviews")]

    @pytest.mark.slow
    async def test_the_token_of_a_deleted_pod_is_refused(self, workload: Workload, meshca: Meshca) -> None:
        """The API server itself goes on accepting it for ten seconds, and our cache may add a minute."""
        token = workload.token(["istio-ca"])
        await prove(meshca.validator, token)
        workload.server.delete_pod(workload.account.namespace, workload.pod.name)

        deadline = time.monotonic() + 30
        refusal: NotProven | None = None
        while refusal is None and time.monotonic() < deadline:
            try:
                await prove(meshca.validator, token)
                await asyncio.sleep(0.5)
            except NotProven as error:
                refusal = error

        assert refusal is not None
        assert refusal.check == "authenticated"
        assert "invalidated" in str(refusal)

    async def test_the_token_of_a_deleted_pod_that_was_never_reviewed_is_refused_at_once(
        self, workload: Workload, meshca: Meshca
    ) -> None:
        token = workload.token(["istio-ca"])
        workload.server.delete_pod(workload.account.namespace, workload.pod.name)

        with pytest.raises(NotProven, match="invalidated"):
            await self._until_the_informer_has_seen_it(meshca, token)

    async def _until_the_informer_has_seen_it(self, meshca: Meshca, token: str) -> None:
        del token
        await asyncio.sleep(0)

    async def test_a_token_of_a_pod_that_was_replaced_under_its_name_is_refused(
        self, workload: Workload, meshca: Meshca
    ) -> None:
        good = workload.token(["istio-ca"])
        claims = Mint().token  # noqa: F841
        other = workload.resigned(
            good,
            by_the_server=True,
            **{"kubernetes.io": _claims(good) | {"pod": {"name": workload.pod.name, "uid": "0" * 36}}},
        )

        with pytest.raises(NotProven, match="UID") as refusal:
            await prove(meshca.validator, other)

        assert refusal.value.check == "authenticated"

    async def test_a_token_for_another_audience_is_refused(self, workload: Workload, meshca: Meshca) -> None:
        """49. The API server's own audience opens nothing either."""
        for audience in ("identity.l5d.io", ApiServer.service_account_issuer):
            with pytest.raises(NotProven, match="target audiences") as refusal:
                await prove(meshca.validator, workload.token([audience]))
            assert refusal.value.check == "audience"
