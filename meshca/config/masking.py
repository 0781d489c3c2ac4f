"""What may be a password is not shown: in URLs, and in what was meant to be one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from meshca.errors import shown

MASK = "***"

_SCHEME = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*://")
_DATABASE = re.compile(r"(postgres|postgresql|mysql|mariadb|sqlite)(\+[a-z]+)?:(//)?")
_PARAMETER = re.compile(r"([?&;][^=&;#]*)=[^&;#]*")
_PLAIN_SQLITE = re.compile(r"sqlite:[^@?#;]*")


def masked(text: str) -> str:
    """The text; of a URL, without what may be a password: what is between the user and the host, and the values of
    its query."""
    scheme = _SCHEME.match(text)
    if scheme is None:
        return text
    return scheme[0] + _PARAMETER.sub(rf"\1={MASK}", _without_password(text[scheme.end() :]))


def _without_password(text: str) -> str:
    """``user:***@host``. The last ``@`` ends the password, since people forget to escape one inside it."""
    before, at, after = text.rpartition("@")
    user, colon, _ = before.partition(":")
    if not at or user.startswith("/"):  # without a host it is the path of a file
        return text
    return f"{user}:{MASK}@{after}" if colon else f"{MASK}@{after}"


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
        scheme = _DATABASE.match(text)
        return shown(f"{scheme[0] if scheme else ''}{MASK}")
    if _SCHEME.match(text) is None and re.search(r":.*@", text, re.DOTALL):
        text = _without_password(text)  # not a URL, and yet it may have been meant as one
    return shown(masked(text))
