"""What Kubernetes says of a service account in a token and in a review of one.

The shapes are those of kubernetes/kubernetes:pkg/serviceaccount/claims.go and
…/apiserver/pkg/authentication/serviceaccount. Identities are derived from here alone, and names are
checked as strictly as those of a stranger (``ca-practice.md`` §6 cases 42 and 50).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from meshca.errors import NotProven, shown
from meshca.identity import Pod
from meshca.names import BadName, ServiceAccount
from meshca.tokens.jws import Claims

PRIVATE_CLAIM: Final = "kubernetes.io"

_OBJECT_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)
"""Pods and nodes: an RFC 1123 subdomain, loosely."""
_OBJECT_UID = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
_CREDENTIAL = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}", re.ASCII)


def account_of(username: object) -> ServiceAccount:
    """Read ``system:serviceaccount:NAMESPACE:NAME``, exactly. Raises NotProven (check ``account``)."""
    parts = username.split(":") if isinstance(username, str) else []
    if len(parts) != 4 or parts[0] != "system" or parts[1] != "serviceaccount":
        raise NotProven(
            f"the token speaks for {shown(username)}, which is not a service account "
            "(system:serviceaccount:NAMESPACE:NAME)",
            check="account",
        )
    try:
        return ServiceAccount(parts[2], parts[3])
    except BadName as error:
        raise NotProven(f"the token speaks for no service account: {error}", check="account") from None


def pod_from(name: object, uid: object, node: object) -> Pod:
    """A pod as the API server names it; ``node`` may be None. Raises NotProven (check ``bound``)."""
    if not _is(name, _OBJECT_NAME) or not _is(uid, _OBJECT_UID):
        raise NotProven(f"the token is bound to a pod without a proper name and UID: {shown(name)}", check="bound")
    if node is not None and not _is(node, _OBJECT_NAME):
        raise NotProven(f"the token names a node that is none: {shown(node)}", check="bound")
    return Pod(str(name), str(uid), str(node or ""))


def require_pod(pod: Pod | None, *, unbound: bool) -> None:
    """Refuse a token without a pod unless such are taken (case 51). Raises NotProven (check ``bound``)."""
    if pod is None and not unbound:
        raise NotProven(
            "the token is bound to no pod: use a projected service account token, or take unbound tokens on "
            "this listener (unbound: allow)",
            check="bound",
        )


def credential_from(text: object) -> str:
    """The identifier of a token for the ledger; empty when it has none that could stand in a log."""
    return str(text) if _is(text, _CREDENTIAL) else ""


def claims_for(
    account: ServiceAccount,
    *,
    issuer: str,
    account_uid: str,
    audiences: Sequence[str],
    issued: datetime,
    lifetime: timedelta,
    token_id: str,
    pod: Pod | None = None,
    node_uid: str = "",
) -> Claims:
    """The claims of a token as TokenRequest writes them, for the development issuer and for tests."""
    begins = int(issued.timestamp())
    private: dict[str, Any] = {
        "namespace": account.namespace,
        "serviceaccount": {"name": account.name, "uid": account_uid},
    }
    if pod is not None:
        private["pod"] = {"name": pod.name, "uid": pod.uid}
        if pod.node:
            private["node"] = {"name": pod.node, "uid": node_uid}
    return {
        "aud": list(audiences),
        "exp": begins + int(lifetime.total_seconds()),
        "iat": begins,
        "iss": issuer,
        "jti": token_id,
        PRIVATE_CLAIM: private,
        "nbf": begins,
        "sub": f"system:serviceaccount:{account.namespace}:{account.name}",
    }


def _is(value: object, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
