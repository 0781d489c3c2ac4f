"""What may be a password is not shown: in URLs, and in what was meant to be one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from meshca.errors import shown

MASK = "***"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(//)?")
_PARAMETER = re.compile(r"([?&;][^=&;#]*)=[^&;#]*")
_PLAIN_SQLITE = re.compile(r"sqlite:[^@?#;]*")


def masked(text: str) -> str:
    """The text without the passwords of a URL: those between the user and the host, and the values of its query.

    The last ``@`` ends the password, since people forget to escape one inside it. A text without a
    scheme is masked when it reads like ``user:password@host``.
    """
    before, at, after = text.rpartition("@")
    scheme = _SCHEME.match(before)
    start = scheme.end() if scheme and scheme[1] else 0
    user, colon, _ = before[start:].partition(":")
    if colon:
        before = f"{before[:start]}{user}:{MASK}"
    elif at and start:
        before = f"{before[:start]}{MASK}"
    whole = before + at + after
    return _PARAMETER.sub(rf"\1={MASK}", whole) if "://" in whole else whole


def seen(path: Sequence[str | int], value: object) -> str:
    """A value of the configuration as a message may hold it: masked, escaped, short; of a list or mapping, only
    that it is one. Of the store's URL, when it was refused, no more than the scheme: what is malformed cannot be
    masked with certainty."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    text = str(value)
    if path[:1] == ("store",) and not _PLAIN_SQLITE.fullmatch(text):
        scheme = _SCHEME.match(text)
        return shown(f"{scheme[0] if scheme else ''}{MASK}")
    return shown(masked(text))
