"""The types of fields: a text of the file becomes a value, or is refused with the remedy.

Each type carries a Notation, which is what the reference page calls it. The validators raise
ValueError with the remedy alone; ``problems`` adds the path, what was seen, and where it stands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from meshca.config import notation
from meshca.config.address import Address
from meshca.names import BadName, ServiceAccount, TrustDomain

_DNS_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")
_STORE_SCHEME = re.compile(r"(postgres|postgresql|mysql|mariadb|sqlite)(\+[a-z0-9_]+)?:")


@dataclass(frozen=True, slots=True)
class Notation:
    """How the reference page names a type."""

    text: str


def matching(pattern: str, remedy: str) -> AfterValidator:
    """A text of this form and no other."""
    compiled = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(remedy)
        return text

    return AfterValidator(check)


def later(**reasons: str) -> BeforeValidator:
    """Words that the design has and this version has not: refused with the reason, not as unknown.

    An underscore in a keyword stands for a hyphen in the word.
    """

    def check(value: object) -> object:
        reason = reasons.get(value.replace("-", "_")) if isinstance(value, str) else None
        if reason is not None:
            raise ValueError(reason)
        return value

    return BeforeValidator(check)


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    return notation.parse_duration(value if isinstance(value, str) else "")


def _at_least(shortest: timedelta) -> AfterValidator:
    def check(duration: timedelta) -> timedelta:
        if duration < shortest:
            raise ValueError(f"write at least {notation.duration_text(shortest)}")
        return duration

    return AfterValidator(check)


def _file(value: object) -> object:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError("write the path of a file")
    return value


def _namespace_pattern(text: str) -> str:
    if text == "*" or re.fullmatch(r"[a-z0-9][a-z0-9-]{0,61}\*", text):
        return text
    return _as_namespace(text, "a namespace, the beginning of one with * behind it, or * for all")


def _account_pattern(text: str) -> str:
    if text == "*" or re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,251}\*", text):
        return text
    try:
        return ServiceAccount("default", text).name
    except BadName:
        raise ValueError("write a service account, the beginning of one with * behind it, or * for all") from None


def _namespace(text: str) -> str:
    return _as_namespace(text, "a namespace: 1 to 63 of a-z 0-9 -, beginning and ending with a letter or a digit")


def _as_namespace(text: str, wanted: str) -> str:
    try:
        return ServiceAccount(text, "default").namespace
    except BadName:
        raise ValueError(f"write {wanted}") from None


def _trust_domain(text: str) -> str:
    try:
        return TrustDomain(text).name
    except BadName:
        raise ValueError("write 1 to 255 of a-z 0-9 . - _ and nothing else (SPIFFE-ID §2.1)") from None


def _store_url(text: str) -> str:
    scheme = _STORE_SCHEME.match(text)
    if scheme and scheme[1] != "sqlite":
        raise ValueError(
            "only SQLite is there yet; PostgreSQL follows in a later version: write sqlite:////absolute/path"
        )
    if not re.fullmatch(r"sqlite:////[^?#\0]+", text):
        raise ValueError("write sqlite:////absolute/path (four slashes, no options)")
    return text


def _printed(duration: timedelta) -> str:
    return notation.duration_text(duration)


_Duration = Annotated[
    timedelta, BeforeValidator(_duration), PlainSerializer(_printed, return_type=str, when_used="json")
]

Duration = Annotated[_Duration, _at_least(timedelta(milliseconds=1)), Notation("duration")]
"""More than nothing."""

Pause = Annotated[_Duration, _at_least(timedelta()), Notation("duration, may be 0s")]
"""A duration that may be nothing."""

Lifetime = Annotated[_Duration, _at_least(timedelta(seconds=1)), Notation("duration of 1s or more")]
"""Of a certificate, which counts whole seconds."""

Fraction = Annotated[
    float,
    BeforeValidator(notation.parse_fraction),
    PlainSerializer(notation.fraction_text, return_type=str, when_used="json"),
    Notation("fraction"),
]

Size = Annotated[
    int, BeforeValidator(notation.parse_size), Field(ge=16 * 1024, le=4 * 1024 * 1024), Notation("size, 16KiB to 4MiB")
]
"""Of one message. Below 16 KiB no token of the longest allowed kind would fit (``ca-practice.md`` §6 case 54)."""

File = Annotated[Path, BeforeValidator(_file), Notation("path of a file")]

SocketOrPort = Annotated[
    str, AfterValidator(lambda text: str(Address.parse(text))), Notation("host:port or unix:/path")
]

TrustDomainName = Annotated[str, AfterValidator(_trust_domain), Notation("trust domain")]

Namespace = Annotated[str, AfterValidator(_namespace), Notation("namespace")]

NamespacePattern = Annotated[str, AfterValidator(_namespace_pattern), Notation("`*`, a namespace, or `prefix*`")]

AccountPattern = Annotated[str, AfterValidator(_account_pattern), Notation("`*`, a service account, or `prefix*`")]

StoreUrl = Annotated[str, AfterValidator(_store_url), Notation("URL of a database")]

ClusterName = Annotated[
    str,
    matching(
        r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,252}",
        "write letters, digits and . _ : / @ -, beginning with a letter or digit",
    ),
    Notation("name of a cluster"),
]
"""Istio's ``clusterid``: free text there; what clouds make of it (an ARN, a path) passes."""

ListenerName = Annotated[
    str,
    matching(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", "write a-z 0-9 and -, at most 63 of them"),
    Notation("name"),
]

DnsName = Annotated[
    str,
    matching(_DNS_NAME.pattern, "write a DNS name in lower case, without a wildcard and without a dot at its end"),
    Notation("DNS name"),
]

Fingerprint = Annotated[
    str,
    matching(r"sha256:[0-9a-f]{64}", "write sha256: and 64 lower-case hexadecimal digits"),
    Notation("`sha256:` and 64 hexadecimal digits"),
]

Audience = Annotated[
    str, matching(r"[!-~]{1,255}", "write printable characters without spaces, 255 at most"), Notation("audience")
]
