"""A meshca in a real cluster, as far as its token reviews go."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from meshca.identity import Pod
from meshca.kube.client import ApiServerClient
from meshca.kube.review import ReviewValidator
from meshca.names import ServiceAccount, TrustDomain
from tests.faults.proxy import FaultProxy
from tests.servers.kubernetes import ApiServer

TIMEOUT = timedelta(seconds=5)


@dataclass
class Workload:
    """A service account with one live pod of it, in a namespace of the test's own."""

    server: ApiServer
    account: ServiceAccount
    pod: Pod

    @classmethod
    def make(cls, server: ApiServer, namespace: str) -> Workload:
        server.create_service_account(namespace, "cart")
        made = server.create_pod(namespace, "cart-1", "cart")
        return cls(server, ServiceAccount(namespace, "cart"), Pod("cart-1", made["metadata"]["uid"], "node-1"))

    def token(self, audiences: Sequence[str], *, bound: bool = True) -> str:
        pod = self.pod.name if bound else None
        return self.server.token(self.account.namespace, self.account.name, audience=list(audiences), pod=pod)

    def resigned(self, token: str, *, by_the_server: bool, **claims: Any) -> str:
        """The token with some claims changed, signed by the server's own key or by a thief's."""
        payload = jwt.decode(token, options={"verify_signature": False}) | claims
        return self._sign(token, payload, self._key if by_the_server else ec.generate_private_key(ec.SECP256R1()))

    def without(self, token: str, claim: str) -> str:
        """The token without this claim, signed by the server's own key."""
        payload = jwt.decode(token, options={"verify_signature": False})
        del payload[claim]
        return self._sign(token, payload, self._key)

    @property
    def _key(self) -> Any:
        return load_pem_private_key(self.server.service_account_key_file.read_bytes(), None)

    @staticmethod
    def _sign(token: str, payload: dict[str, Any], key: Any) -> str:
        headers = {"kid": jwt.get_unverified_header(token)["kid"]}
        return jwt.api_jws.encode(json.dumps(payload).encode(), key, algorithm="ES256", headers=headers)

    def expired(self, audience: str, *, since: timedelta = timedelta(minutes=5)) -> str:
        end = int((datetime.now(UTC) - since).timestamp())
        return self.resigned(self.token([audience]), by_the_server=True, iat=end - 3600, nbf=end - 3600, exp=end)


@dataclass
class Meshca(AbstractContextManager["Meshca"]):
    """Our side: a service account of its own, its kubeconfig, a fault proxy between it and the API server."""

    validator: ReviewValidator
    proxy: FaultProxy
    kubeconfig: Path
    others: list[ReviewValidator] = field(default_factory=list)

    @classmethod
    def make(
        cls,
        server: ApiServer,
        namespace: str,
        folder: Path,
        *,
        may_review: bool = True,
        timeout: timedelta = TIMEOUT,
        connections: int = 16,
    ) -> Meshca:
        server.create_service_account(namespace, "meshca")
        if may_review:
            server.grant_token_reviews(namespace, "meshca")
        token = server.token(namespace, "meshca", audience=server.service_account_issuer)
        proxy = FaultProxy(server.url, upstream_ca=server.ca_file)
        kubeconfig = server.kubeconfig(folder / "kubeconfig", token, url=proxy.url, ca_file=proxy.ca_file)
        return cls(_reviewer(kubeconfig, timeout=timeout, connections=connections), proxy, kubeconfig)

    def another(self, kubeconfig: Path) -> ReviewValidator:
        """A second validator, with what the kubeconfig says now."""
        self.others.append(_reviewer(kubeconfig, timeout=TIMEOUT, connections=2))
        return self.others[-1]

    def __exit__(self, *_: object) -> None:
        for validator in (self.validator, *self.others):
            validator.close()
        self.proxy.close()


def _reviewer(kubeconfig: Path, *, timeout: timedelta, connections: int) -> ReviewValidator:
    client = ApiServerClient(kubeconfig, connections=connections)
    return ReviewValidator(client, cluster="Kubernetes", trust_domain=TrustDomain("cluster.local"), timeout=timeout)
