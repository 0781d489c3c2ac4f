"""The names that identities have: trust domain, SPIFFE ID, service account, Linkerd's DNS name.

Byte-strict: a name is accepted only in the form in which we would print it, so that two names
are equal exactly when their texts are. Nothing is normalised, since whatever is folded, trimmed
or unescaped on one side and not on the other becomes somebody else's identity
(``ca-practice.md`` §6 cases 34–44). Rules: SPIFFE-ID §2 (ID-1…ID-15), RFC 1123 for the names of
Kubernetes, ``linkerd.md`` §2.2 for Linkerd's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from meshca.errors import MeshcaError, shown

MAX_SPIFFE_ID = 2048
"""Bytes of a whole SPIFFE ID (SPIFFE-ID §2.3, ID-13)."""

MAX_TRUST_DOMAIN = 255
"""Bytes of a trust domain's name (SPIFFE-ID §2.3, ID-14)."""

_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]+", re.ASCII)
_SEGMENT = re.compile(r"[a-zA-Z0-9._-]+", re.ASCII)
_DNS_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_DNS_SUBDOMAIN = re.compile(rf"{_DNS_LABEL.pattern}(?:\.{_DNS_LABEL.pattern})*", re.ASCII)
_MAX_SUBDOMAIN = 253


class BadName(MeshcaError, ValueError):
    """A text is not the name that it was said to be."""


@dataclass(frozen=True, slots=True, order=True)
class TrustDomain:
    """A SPIFFE trust domain, such as ``cluster.local``."""

    name: str

    def __post_init__(self) -> None:
        if not _TRUST_DOMAIN.fullmatch(self.name):
            raise BadName(
                f"{shown(self.name)} is not a trust domain: it needs one or more of a-z 0-9 . - _ "
                "and nothing else (SPIFFE-ID §2.1)"
            )
        if len(self.name) > MAX_TRUST_DOMAIN:
            raise BadName(f"a trust domain of {len(self.name)} bytes is over {MAX_TRUST_DOMAIN} (SPIFFE-ID §2.3)")

    def __str__(self) -> str:
        return self.name

    @property
    def spiffe_id(self) -> SpiffeId:
        """The trust domain's own SPIFFE ID, without a path: what its authorities carry (X509-6)."""
        return SpiffeId(self, ())


@dataclass(frozen=True, slots=True, order=True)
class SpiffeId:
    """A SPIFFE ID, as its trust domain and the segments of its path."""

    trust_domain: TrustDomain
    segments: tuple[str, ...]

    def __post_init__(self) -> None:
        for segment in self.segments:
            if segment in {".", ".."} or not _SEGMENT.fullmatch(segment):
                raise BadName(
                    f"{shown(segment)} is not a path segment of a SPIFFE ID: it needs one or more of "
                    "a-z A-Z 0-9 . - _ and must not be '.' or '..' (SPIFFE-ID §2.2)"
                )
        if len(str(self)) > MAX_SPIFFE_ID:
            raise BadName(f"a SPIFFE ID of {len(str(self))} bytes is over {MAX_SPIFFE_ID} (SPIFFE-ID §2.3)")

    def __str__(self) -> str:
        return "/".join(("spiffe:/", self.trust_domain.name, *self.segments))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read exactly the form that :meth:`__str__` prints.

        Raises BadName for upper-case schemes and trust domains too, which ID-15 would let a parser
        fold: an ID that has to be folded was not written by one of our clients.
        """
        if len(text) > MAX_SPIFFE_ID:
            raise BadName(f"a SPIFFE ID of {len(text)} characters is over {MAX_SPIFFE_ID} (SPIFFE-ID §2.3)")
        scheme, colon, rest = text.partition("://")
        if not colon or scheme != "spiffe":
            raise BadName(f"{shown(text)} is not a SPIFFE ID: it does not begin with spiffe:// (SPIFFE-ID §2)")
        authority, *segments = rest.split("/")
        return cls(TrustDomain(authority), tuple(segments))


@dataclass(frozen=True, slots=True, order=True)
class ServiceAccount:
    """A Kubernetes service account: its namespace and its name."""

    namespace: str
    name: str

    def __post_init__(self) -> None:
        if not _DNS_LABEL.fullmatch(self.namespace):
            raise BadName(
                f"{shown(self.namespace)} is not a namespace: it needs 1 to 63 of a-z 0-9 - and begins and ends "
                "with a letter or a digit (RFC 1123 label)"
            )
        if len(self.name) > _MAX_SUBDOMAIN or not _DNS_SUBDOMAIN.fullmatch(self.name):
            raise BadName(
                f"{shown(self.name)} is not the name of a service account: it needs labels of a-z 0-9 - joined by "
                "dots, 253 bytes at most (RFC 1123 subdomain)"
            )

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``NAMESPACE/NAME``, as the command line takes it. Raises BadName."""
        namespace, slash, name = text.partition("/")
        if not slash:
            raise BadName(f"{shown(text)} is not a service account: write NAMESPACE/NAME")
        return cls(namespace, name)

    def spiffe_id(self, trust_domain: TrustDomain) -> SpiffeId:
        """The ID that Istio gives this account (``istio.md`` §2.1)."""
        return SpiffeId(trust_domain, ("ns", self.namespace, "sa", self.name))


@dataclass(frozen=True, slots=True, order=True)
class LinkerdName:
    """The DNS name by which Linkerd's proxies know a service account (``linkerd.md`` §2.2).

    Upstream gives no identity to a service account whose name has dots, since the name could then
    be read in two ways; nor do we.
    """

    service_account: ServiceAccount
    control_namespace: str
    trust_domain: TrustDomain

    def __post_init__(self) -> None:
        if "." in self.service_account.name or not _DNS_LABEL.fullmatch(self.service_account.name):
            raise BadName(
                f"service account {shown(self.service_account.name)} has no Linkerd name: Linkerd gives an identity "
                "only to accounts whose name is one DNS label (no dots, 63 bytes at most)"
            )
        if not _DNS_LABEL.fullmatch(self.control_namespace):
            raise BadName(f"{shown(self.control_namespace)} is not a namespace (RFC 1123 label)")
        if not _DNS_SUBDOMAIN.fullmatch(self.trust_domain.name):
            raise BadName(
                f"trust domain {shown(self.trust_domain.name)} cannot end a DNS name, so Linkerd has no names in it"
            )
        if len(str(self)) > _MAX_SUBDOMAIN:
            raise BadName(
                f"Linkerd's name for {self.service_account} has {len(str(self))} bytes, over {_MAX_SUBDOMAIN}"
            )

    def __str__(self) -> str:
        account = self.service_account
        return (
            f"{account.name}.{account.namespace}.serviceaccount.identity."
            f"{self.control_namespace}.{self.trust_domain.name}"
        )
