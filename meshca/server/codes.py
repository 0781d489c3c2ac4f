"""The one place where our errors become wire codes.

A column for each wire, since each keeps the codes that its real clients expect: linkerd2-proxy
tells no codes apart (``linkerd.md`` §1.3), so its column follows upstream's server (§2.1);
pilot-agent retries UNAVAILABLE, RESOURCE_EXHAUSTED and INTERNAL, and gives up on UNAUTHENTICATED and
INVALID_ARGUMENT (``istio.md`` §1.3); the admin column is our own API's.
"""

from __future__ import annotations

import enum

import grpc

from meshca.errors import (
    BadRequest,
    Conflict,
    Denied,
    MeshcaError,
    Misconfigured,
    NotProven,
    Refused,
    SignerFault,
    Superseded,
    TooMany,
    Unavailable,
)
from meshca.names import BadName

Code = grpc.StatusCode


class Wire(enum.IntEnum):
    """Whose protocol an answer is in."""

    ADMIN = 0
    LINKERD = 1
    ISTIO = 2


CODES: dict[type[MeshcaError], tuple[Code, Code, Code]] = {
    #               admin                     linkerd                   istio
    MeshcaError: (Code.INTERNAL, Code.INTERNAL, Code.INTERNAL),
    Refused: (Code.PERMISSION_DENIED, Code.PERMISSION_DENIED, Code.PERMISSION_DENIED),
    Denied: (Code.PERMISSION_DENIED, Code.PERMISSION_DENIED, Code.PERMISSION_DENIED),
    NotProven: (Code.UNAUTHENTICATED, Code.FAILED_PRECONDITION, Code.UNAUTHENTICATED),
    BadRequest: (Code.INVALID_ARGUMENT, Code.INVALID_ARGUMENT, Code.INVALID_ARGUMENT),
    TooMany: (Code.RESOURCE_EXHAUSTED, Code.RESOURCE_EXHAUSTED, Code.RESOURCE_EXHAUSTED),
    Unavailable: (Code.UNAVAILABLE, Code.UNAVAILABLE, Code.UNAVAILABLE),
    Superseded: (Code.UNAVAILABLE, Code.UNAVAILABLE, Code.UNAVAILABLE),
    Misconfigured: (Code.FAILED_PRECONDITION, Code.INTERNAL, Code.INTERNAL),
    Conflict: (Code.FAILED_PRECONDITION, Code.INTERNAL, Code.INTERNAL),
    SignerFault: (Code.INTERNAL, Code.INTERNAL, Code.INTERNAL),
    BadName: (Code.INVALID_ARGUMENT, Code.INVALID_ARGUMENT, Code.INVALID_ARGUMENT),
}

_LINKERD_PRECONDITIONS = frozenset({"identity", "subject", "names"})
"""Upstream says FAILED_PRECONDITION when a CSR parses and names somebody else (``linkerd.md`` §2.1 rows 5–8, 12)."""


def code_of(error: MeshcaError, wire: Wire) -> Code:
    """The code of the nearest class in the table."""
    if wire is Wire.LINKERD and isinstance(error, BadRequest) and error.check in _LINKERD_PRECONDITIONS:
        return Code.FAILED_PRECONDITION
    return next(CODES[each][wire] for each in type(error).__mro__ if each in CODES)


def message_of(error: MeshcaError, wire: Wire, request_id: str) -> str:
    """What the caller is told.

    A caller that proved nothing learns only that, and the identifier under which the log says
    why: the check that failed would teach an attacker how far a forged token came.
    """
    if isinstance(error, NotProven):
        text = {
            Wire.LINKERD: "authentication token could not be authenticated",
            Wire.ISTIO: "request authenticate failure",
            Wire.ADMIN: str(error),
        }[wire]
    elif isinstance(error, Misconfigured | SignerFault | Conflict) and wire is not Wire.ADMIN:
        text = "the certificate authority cannot sign now; its operator finds the reason in its log"
    else:
        text = str(error)
    return f"{text} (request {request_id})" if request_id else text
