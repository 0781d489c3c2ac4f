"""Proof by asking: a token reviewed by the API server that issued it (TokenReview, authentication.k8s.io/v1).

The API server knows what no signature tells: whether the pod and the account still exist. Unlike our
peers we believe its answer only when it says for whom the token is (``ca-practice.md`` §2.6).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from meshca.errors import NotProven, Unavailable, shown
from meshca.identity import Identity, Pod
from meshca.kube.client import ApiServerClient
from meshca.names import TrustDomain
from meshca.tokens import jws
from meshca.tokens.kubernetes_claims import account_of, credential_from, pod_from, require_pod
from meshca.tokens.validator import Proven

CHECKS: Final = ("authenticated", "audience", "account", "bound", "expiry")
"""What is checked, in this order. The API server itself checks signature, issuer, times and liveness."""

NEEDS: Final = "create on tokenreviews.authentication.k8s.io"

_PATH = "/apis/authentication.k8s.io/v1/tokenreviews"
_GROUP = "system:serviceaccounts"
_EXTRA = "authentication.kubernetes.io/"

_TROUBLE: Final = (
    "etcdserver",
    "context deadline exceeded",
    "context canceled",
    "timed out",
    "timeout",
    "connection refused",
    "connection reset",
    "no route to host",
    "unexpected eof",
    "unable to return a response",
    "too many requests",
    "authentication failed unexpectedly",
    "internal error",
    "unavailable",
)
"""What an API server puts into ``status.error`` when it could not look at the token's objects, its etcd being
away: it then says ``authenticated: false``, and means "I do not know"
(kubernetes/kubernetes:pkg/serviceaccount/claims.go returns the getter's error as it is)."""

_LATEST: Final = 253402300799


class ReviewValidator:
    """Proves tokens of one cluster by its API server's word."""

    def __init__(self, api: ApiServerClient, *, cluster: str, trust_domain: TrustDomain, timeout: timedelta) -> None:
        """``timeout`` is for a whole proof, from asking to answer. The client is this object's to close."""
        self._api = api
        self._cluster = cluster
        self._trust_domain = trust_domain
        self._timeout = timeout

    @property
    def checks(self) -> tuple[str, ...]:
        return CHECKS

    def close(self) -> None:
        self._api.close()

    async def prove(self, token: str, *, audiences: frozenset[str], now: datetime, unbound: bool = False) -> Proven:
        """See ``Validator.prove``; CHECKS are the steps."""
        question = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": sorted(audiences)},
        }
        try:
            answer = await self._api.post(_PATH, question, timeout=self._timeout, needs=NEEDS)
        except Unavailable as error:
            raise Unavailable(f"cluster {shown(self._cluster)}: {error}") from None
        status = _object(answer, "status")
        self._check_authenticated(status)
        _check_audience(status, audiences)
        user = _object(status, "user")
        account = account_of(user.get("username"))
        groups = user.get("groups")
        if not isinstance(groups, list) or not {_GROUP, f"{_GROUP}:{account.namespace}"} <= set(map(str, groups)):
            raise NotProven(f"the API server does not count {account} among the service accounts", check="account")
        extra = _object(user, "extra")
        pod = _pod(extra)
        require_pod(pod, unbound=unbound)
        return Proven(
            Identity(account.spiffe_id(self._trust_domain), self._cluster, account, pod),
            "review",
            _end_of(token),
            credential_from(_one(extra, "credential-id")),
        )

    def _check_authenticated(self, status: dict[str, Any]) -> None:
        """Raises NotProven, or Unavailable when the API server could not tell."""
        if status.get("authenticated") is True:
            return
        error = status.get("error")
        why = error if isinstance(error, str) else ""
        if any(word in why.lower() for word in _TROUBLE):
            raise Unavailable(
                f"the API server of cluster {shown(self._cluster)} could not review the token: {shown(why)}"
            )
        # It is telling which, so that `meshca explain` does not send anybody to look at the signature.
        check = "audience" if "target audiences" in why else "authenticated"
        said = f": {shown(why, limit=300)}" if why else ""
        raise NotProven(
            f"the API server of cluster {shown(self._cluster)} does not accept the token{said}", check=check
        )


def _check_audience(status: dict[str, Any], audiences: frozenset[str]) -> None:
    """An API server too old to know audiences returns none, and vouches for any token: refused (case 49)."""
    said = status.get("audiences")
    if not isinstance(said, list) or audiences.isdisjoint(map(str, said)):
        raise NotProven(
            f"the API server vouches for audience {shown(said)}; this service takes {', '.join(sorted(audiences))}",
            check="audience",
        )


def _pod(extra: dict[str, Any]) -> Pod | None:
    name, uid = _one(extra, "pod-name"), _one(extra, "pod-uid")
    return None if name is None and uid is None else pod_from(name, uid, _one(extra, "node-name"))


def _end_of(token: str) -> datetime:
    """The token's own end. The API server does not say it, but it has vouched for the token that does.

    Raises NotProven (check ``expiry``) for a legacy token, which has none (case 51).
    """
    try:
        seconds = jws.unverified_claims(token).get("exp")
    except NotProven:
        seconds = None
    if type(seconds) is not int or not 0 <= seconds <= _LATEST:
        raise NotProven("the token has no end (exp): it is a legacy one, which never expires", check="expiry")
    return datetime.fromtimestamp(seconds, UTC)


def _one(extra: dict[str, Any], name: str) -> str | None:
    """The one value of an extra field of Kubernetes' own; None when it has none, or more than one."""
    values = extra.get(_EXTRA + name)
    return values[0] if isinstance(values, list) and len(values) == 1 and isinstance(values[0], str) else None


def _object(outer: dict[str, Any], name: str) -> dict[str, Any]:
    value = outer.get(name)
    return value if isinstance(value, dict) else {}
