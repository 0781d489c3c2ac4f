"""Everything that can go wrong, grouped by who must act.

::

    MeshcaError
    ├── Refused            the caller may not have what it asked for
    │   ├── Denied         policy or an operator says no
    │   ├── NotProven      the token does not prove an identity
    │   ├── BadRequest     the bytes are not an acceptable CSR, or a field is missing
    │   └── TooMany        this pod asks too often
    ├── Unavailable        a dependency is down; the same call may work later
    │   └── Superseded     the authority set moved on while we signed; sign again
    ├── Misconfigured      an operator must change something; the message says what
    ├── Conflict           what an operator asked for does not fit the present state
    └── SignerFault        a key answered wrongly; signing stops until somebody has looked

A message says what was seen and what to do, and never holds a secret: no token, no key, no PIN.
Bytes that came from outside go through :func:`shown` before they enter a message.
``server/codes.py`` is the one place that turns these classes into wire codes.
"""

from __future__ import annotations

_SHOWN = 120


def shown(value: object, *, limit: int = _SHOWN) -> str:
    """Text from outside as it may stand in a message or a log: its first ``limit`` characters, quoted.

    Newlines, control characters, bidirectional overrides and other non-ASCII characters come out
    escaped, so that nobody forges a log line (``ca-practice.md`` §6 cases 35 and 36).
    """
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    quoted = ascii(text[:limit])
    return quoted if len(text) <= limit else f"{quoted}…"


class MeshcaError(Exception):
    """The root of the tree."""


class Refused(MeshcaError):
    """The caller may not have what it asked for.

    ``check`` names the check that said no, as ``meshca explain`` and the log line do; it is one
    of the names that the refusing package lists in its ``CHECKS``.
    """

    def __init__(self, message: str, *, check: str) -> None:
        super().__init__(message)
        self.check = check


class Denied(Refused):
    """Policy or an operator says no."""


class NotProven(Refused):
    """The token does not prove an identity."""


class BadRequest(Refused):
    """The bytes are not an acceptable CSR, or a field of the request is missing."""


class TooMany(Refused):
    """This pod asks too often."""


class Unavailable(MeshcaError):
    """A dependency is down; the same call may work later."""


class Superseded(Unavailable):
    """The authority set moved on between signing and recording: what was signed is thrown away."""


class Misconfigured(MeshcaError):
    """An operator must change something; the message says what was seen and what to do."""


class Conflict(MeshcaError):
    """What an operator asked for does not fit the present state; nothing was changed."""


class SignerFault(MeshcaError):
    """A key answered wrongly; signing stops until somebody has looked."""
