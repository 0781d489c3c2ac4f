"""A real Kubernetes API server, with etcd behind it: real tokens, token reviews, RBAC, watches and CSRs.

Nothing else of a cluster runs: no controller manager, no scheduler, no kubelet. So pods stay Pending,
deleted namespaces stay Terminating, no namespace has a `default` service account or a `kube-root-ca.crt`,
and nothing is garbage-collected. A test makes what it needs, in a namespace of its own. The token of a
deleted pod goes on being authenticated for 10 seconds, since the API server caches its answers.
"""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.servers.loopback import port_of, reserve_port, write_private_key, write_serving_files
from tests.servers.process import Server, program

Json = dict[str, Any]

_RBAC = "rbac.authorization.k8s.io"
_START_WITHIN = timedelta(seconds=60)
_CALL_TIMEOUT = timedelta(seconds=30)


class ApiError(Exception):
    """The API server refused a call of the test's own hand; holds its HTTP status and its words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class ApiServer:
    """kube-apiserver and etcd on fresh ports and in a fresh folder, from construction until `stop`.

    Everything under `request` and its shorthands is done as a member of `system:masters` unless a token is
    given. Raises ServerFailed when the servers are not built (with the remedy) or don't start (with their
    logs).
    """

    service_account_issuer = "https://kubernetes.default.svc"

    def __init__(self, *, signing: Literal["ES256", "RS256"] = "ES256", extra_flags: Sequence[str] = ()) -> None:
        """`signing` is the algorithm of service account tokens; `extra_flags` come last, so they win."""
        self._folder = Path(tempfile.mkdtemp(prefix="meshca-kube-"))
        self._servers: list[Server] = []
        self._held: list[socket.socket] = []
        self._plurals: dict[tuple[str, str], Json] = {}
        self.admin_token = secrets.token_urlsafe(24)
        """Opens everything: its user `admin` is in `system:masters`."""
        self.service_account_key_file = self._folder / "sa.key"
        """The private key of service account tokens, for tests that forge or age one."""
        serving = write_serving_files(self._folder)
        self.ca_file = serving.ca
        self._tls = serving.client_context()
        try:
            self._write_credentials(signing)
            etcd = self._start_etcd()
            self._port = self._port_of_its_own()
            self.url = f"https://127.0.0.1:{self._port}"
            flags = {
                "etcd-servers": etcd,
                "bind-address": "127.0.0.1",
                "secure-port": str(self._port),
                "tls-cert-file": str(serving.certificate),
                "tls-private-key-file": str(serving.key),
                "service-account-issuer": self.service_account_issuer,
                "service-account-signing-key-file": str(self.service_account_key_file),
                "service-account-key-file": str(self._folder / "sa.pub"),
                # Without it the discovery document names the machine's outer address.
                "service-account-jwks-uri": f"{self.url}/openid/v1/jwks",
                "service-cluster-ip-range": "10.0.0.0/24",
                "token-auth-file": str(self._folder / "tokens.csv"),
                "authorization-mode": "RBAC",
                # It would refuse pods, for want of the ConfigMap that a controller manager makes.
                "disable-admission-plugins": "ServiceAccount",
                "runtime-config": "certificates.k8s.io/v1beta1=true",
                "feature-gates": "ClusterTrustBundle=true,PodCertificateRequest=true",
            }
            self._start([program("kube-apiserver"), *(f"--{k}={v}" for k, v in flags.items()), *extra_flags])
            self._servers[-1].wait_until(self._is_ready, within=_START_WITHIN)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Kill both processes, remove their folder. Doing it twice is harmless."""
        while self._servers:
            self._servers.pop().kill()
        while self._held:
            self._held.pop().close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of etcd and kube-apiserver."""
        return tuple(server.pid for server in self._servers)

    # What clients are given.

    def kubeconfig(
        self, path: Path, token: str | None = None, *, url: str | None = None, ca_file: Path | None = None
    ) -> Path:
        """Write a kubeconfig for the bearer of `token` (the admin's by default) and return its path.

        `url` and `ca_file` are for a client that shall come through a proxy. The file is JSON, which is
        YAML too.
        """
        authority = (ca_file or self.ca_file).read_bytes()
        cluster = {
            "server": url or self.url,
            "certificate-authority-data": base64.b64encode(authority).decode(),
        }
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"token": token or self.admin_token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(document, indent=2))
        return path

    def jwks(self) -> Json:
        """The public keys of service account tokens, as the server publishes them."""
        return self.request("GET", "/openid/v1/jwks")

    def discovery(self) -> Json:
        """The OpenID discovery document of the service account issuer."""
        return self.request("GET", "/.well-known/openid-configuration")

    # What tests do.

    def create_namespace(self, name: str | None = None) -> str:
        """Make a namespace and return its name; without one given, a name that nobody has yet."""
        metadata = {"name": name} if name else {"generateName": "test-"}
        made = self.request("POST", "/api/v1/namespaces", {"metadata": metadata})
        return str(made["metadata"]["name"])

    def create_service_account(self, namespace: str, name: str) -> Json:
        """Make a service account and return it."""
        body = {"metadata": {"name": name}}
        return self.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", body)

    def create_pod(self, namespace: str, name: str, service_account: str, node: str = "node-1") -> Json:
        """Make a pod that is already on a node and return it. It never runs."""
        body = {
            "metadata": {"name": name},
            "spec": {
                "nodeName": node,
                "serviceAccountName": service_account,
                "containers": [{"name": "main", "image": "test.invalid/none"}],
            },
        }
        return self.request("POST", f"/api/v1/namespaces/{namespace}/pods", body)

    def delete_pod(self, namespace: str, name: str) -> None:
        """Delete a pod at once: there is no kubelet that would end a grace period."""
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        self.request("DELETE", path, {"gracePeriodSeconds": 0})

    def token(
        self,
        namespace: str,
        service_account: str,
        *,
        audience: str | Sequence[str],
        pod: str | None = None,
        lifetime: timedelta = timedelta(hours=1),
    ) -> str:
        """A service account token; given a `pod`, one bound to it, as the kubelet asks for it.

        The API server's shortest lifetime is 10 minutes.
        """
        spec: Json = {
            "audiences": [audience] if isinstance(audience, str) else list(audience),
            "expirationSeconds": int(lifetime.total_seconds()),
        }
        if pod is not None:
            found = self.request("GET", f"/api/v1/namespaces/{namespace}/pods/{pod}")
            uid = found["metadata"]["uid"]
            spec["boundObjectRef"] = {"kind": "Pod", "apiVersion": "v1", "name": pod, "uid": uid}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        return str(self.request("POST", path, {"spec": spec})["status"]["token"])

    def review(self, token: str, *, audiences: Sequence[str], as_token: str | None = None) -> Json:
        """The status of a TokenReview, asked by the bearer of `as_token` (the admin by default)."""
        body = {"spec": {"token": token, "audiences": list(audiences)}}
        path = "/apis/authentication.k8s.io/v1/tokenreviews"
        status: Json = self.request("POST", path, body, token=as_token)["status"]
        return status

    def grant_token_reviews(self, namespace: str, service_account: str) -> None:
        """Let a service account ask for token reviews, and nothing else."""
        rule = {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}
        self.grant(namespace, service_account, [rule])

    def grant(self, namespace: str, service_account: str, rules: Sequence[Mapping[str, list[str]]]) -> None:
        """Give a service account a ClusterRole with these rules; returns when the last is in force."""
        name = f"test-{secrets.token_hex(8)}"
        self.apply(
            {
                "apiVersion": f"{_RBAC}/v1",
                "kind": "ClusterRole",
                "metadata": {"name": name},
                "rules": [dict(rule) for rule in rules],
            }
        )
        self.apply(
            {
                "apiVersion": f"{_RBAC}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": name},
                "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name},
                "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": service_account}],
            }
        )
        self._wait_for_grant(f"system:serviceaccount:{namespace}:{service_account}", rules[-1])

    def apply(self, manifest: Json) -> Json:
        """Make an object be as the manifest says (server-side apply), whatever its kind; returns it."""
        kind = self._kind(str(manifest["apiVersion"]), str(manifest["kind"]))
        metadata = manifest["metadata"]
        scope = f"namespaces/{metadata['namespace']}/" if kind["namespaced"] else ""
        path = f"{kind['base']}/{scope}{kind['name']}/{metadata['name']}?fieldManager=tests&force=true"
        return self.request("PATCH", path, manifest, content_type="application/apply-patch+yaml")

    def request(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        token: str | None = None,
        content_type: str = "application/json",
    ) -> Json:
        """One call; the answer's JSON. Raises ApiError for a status of 400 or more."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self._port, context=self._tls, timeout=_CALL_TIMEOUT.total_seconds()
        )
        headers = {"Authorization": f"Bearer {token or self.admin_token}", "Content-Type": content_type}
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        try:
            answer: Json = json.loads(content)
        except ValueError:
            answer = {"message": content.decode(errors="replace")}
        if response.status >= 400:
            raise ApiError(response.status, str(answer.get("message", answer)))
        return answer

    # How it starts.

    def _write_credentials(self, signing: str) -> None:
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
        if signing == "ES256":
            key = ec.generate_private_key(ec.SECP256R1())
        else:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        write_private_key(self.service_account_key_file, key)
        (self._folder / "sa.pub").write_bytes(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        tokens = self._folder / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(f'{self.admin_token},admin,admin,"system:masters"\n')

    def _start_etcd(self) -> str:
        port = self._port_of_its_own()
        url, peer = f"http://127.0.0.1:{port}", "http://127.0.0.1:0"
        flags = [
            f"--data-dir={self._folder / 'etcd'}",
            f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",  # a test's data is not worth a wait for the disk
        ]
        self._start([program("etcd"), *flags])
        self._servers[-1].wait_until(lambda: _is_healthy_etcd(port), within=_START_WITHIN)
        return url

    def _start(self, command: Sequence[str]) -> None:
        self._servers.append(Server(command, log=self._folder / f"{Path(command[0]).name}.log"))

    def _port_of_its_own(self) -> int:
        held = reserve_port()
        self._held.append(held)
        return port_of(held)

    def _is_ready(self) -> bool:
        try:
            self.request("GET", "/readyz")
        except (ApiError, OSError, http.client.HTTPException):
            return False
        return True

    def _kind(self, api_version: str, kind: str) -> Json:
        """What the server says of a kind (its plural `name`, whether `namespaced`) and the `base` path."""
        if (api_version, kind) not in self._plurals:
            base = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
            for resource in self.request("GET", base)["resources"]:
                if "/" not in resource["name"]:
                    self._plurals[api_version, resource["kind"]] = resource | {"base": base}
        return self._plurals[api_version, kind]

    def _wait_for_grant(self, user: str, rule: Mapping[str, list[str]]) -> None:
        """RBAC reads roles through a watch, so a grant takes effect a moment after it is written."""
        resource, _, subresource = rule["resources"][0].partition("/")
        attributes = {
            "verb": rule["verbs"][0],
            "group": rule["apiGroups"][0],
            "resource": resource,
            "subresource": subresource,
            "name": next(iter(rule.get("resourceNames", ())), ""),
        }
        body = {"spec": {"user": user, "resourceAttributes": attributes}}
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        deadline = time.monotonic() + 10
        while not self.request("POST", path, body)["status"]["allowed"]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{user} is still not allowed {attributes}")
            time.sleep(0.02)


def _is_healthy_etcd(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return b"true" in connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
