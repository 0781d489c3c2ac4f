"""Cases 28–44: subjects and names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tests.attacks import der, keys
from tests.attacks.attack import Attack
from tests.attacks.requests import (
    BASIC_CONSTRAINTS,
    COMMON_NAME,
    ISTIO,
    LINKERD,
    LINKERD_NAME,
    ORGANIZATION,
    SPIFFE_ID,
    UNIT,
    Body,
    Door,
    dns,
    email,
    extension,
    extension_request,
    ip,
    subject,
    uri,
)
from tests.attacks.rows import at_doors

_OTHER_ID = "spiffe://cluster.local/ns/kube-system/sa/admin"
_OTHER_NAME = "admin.kube-system.serviceaccount.identity.linkerd.cluster.local"


def rows() -> Iterator[Attack]:
    yield from _none()
    yield from _several()
    yield from _subjects()
    for case, name, text, source in ISTIO_NAMES:
        yield from at_doors(case, name, "names", partial(_naming, uri(text)), source, doors=(ISTIO,))
    for case, name, text, source in LINKERD_NAMES:
        yield from at_doors(case, name, "names", partial(_naming, dns(text)), source, doors=(LINKERD,))


def _naming(name: bytes, door: Door) -> Body:
    return Body(door=door, key=keys.p256(), names=[name])


def _none() -> Iterator[Attack]:
    source = "RFC 5280 §4.2.1.6; SPIFFE X509-1"
    leaf = extension(BASIC_CONSTRAINTS, der.sequence())
    for name, attributes in (
        ("no-attributes", []),
        ("no-extensions", [extension_request()]),
        ("no-san", [extension_request(leaf)]),
    ):
        yield from at_doors(28, name, "names", partial(_with_attributes, attributes), source)
    yield from at_doors(28, "empty-san", "names", lambda door: Body(door=door, key=keys.p256(), names=[]), source)
    yield from at_doors(28, "empty-uri", "names", partial(_naming, uri("")), source, doors=(ISTIO,))
    yield from at_doors(28, "empty-dns", "names", partial(_naming, dns("")), source, doors=(LINKERD,))


def _with_attributes(attributes: list[bytes], door: Door) -> Body:
    return Body(door=door, key=keys.p256(), attributes=attributes)


def _several() -> Iterator[Attack]:
    smuggling = "OpenBao GHSA-g892-p242-8g86"
    other = der.tlv(0xA0, der.oid("1.3.6.1.4.1.311.20.2.3"), der.tlv(0xA0, der.utf8(b"admin@cluster.local")))
    directory = der.tlv(0xA4, subject((COMMON_NAME, b"admin")))
    for case, name, added, source in (
        (29, "and-another-uri", uri(_OTHER_ID), "SPIFFE X509-2"),
        (29, "and-another-dns", dns(_OTHER_NAME), "linkerd2: exactly one DNSName"),
        (30, "and-a-host", dns("istiod.istio-system.svc"), smuggling),
        (30, "and-ipv4", ip(bytes([10, 0, 0, 1])), smuggling),
        (30, "and-ipv6", ip(bytes(16)), smuggling),
        (30, "and-email", email("admin@cluster.local"), smuggling),
        (31, "and-other-name", other, smuggling),
        (31, "and-registered-id", der.tlv(0x88, b"\x2a\x03"), smuggling),
        (31, "and-directory-name", directory, smuggling),
        (32, "and-x400-address", der.tlv(0xA3, der.sequence()), "RFC 5280 §4.2.1.6"),
        (32, "and-edi-party-name", der.tlv(0xA5, der.tlv(0xA1, der.utf8(b"web"))), "RFC 5280 §4.2.1.6"),
        (32, "and-a-tag-of-no-kind", der.tlv(0x8A, b"web"), "RFC 5280 §4.2.1.6"),
    ):
        yield from at_doors(case, name, "names", partial(_adding_last, added), source)
        yield from at_doors(case, f"{name}-first", "names", partial(_adding_first, added), source)
    yield from at_doors(29, "the-same-twice", "names", _twice, "SPIFFE X509-2")
    yield from at_doors(30, "dns-alone", "names", partial(_naming, dns(LINKERD_NAME)), smuggling, doors=(ISTIO,))
    yield from at_doors(30, "uri-alone", "names", partial(_naming, uri(SPIFFE_ID)), smuggling, doors=(LINKERD,))
    yield from at_doors(
        30, "email-that-reads-so", "names", partial(_naming, email(SPIFFE_ID)), smuggling, doors=(ISTIO,)
    )


def _adding_last(added: bytes, door: Door) -> Body:
    return Body(door=door, key=keys.p256(), names=[door.honest, added])


def _adding_first(added: bytes, door: Door) -> Body:
    return Body(door=door, key=keys.p256(), names=[added, door.honest])


def _twice(door: Door) -> Body:
    return Body(door=door, key=keys.p256(), names=[door.honest, door.honest])


def _subjects() -> Iterator[Attack]:
    copied = "linkerd2 pkg/tls/ca.go copies the subject"
    own = (COMMON_NAME, LINKERD_NAME.encode())
    one_rdn = der.sequence(
        der.set_of(*(der.sequence(der.oid(kind), der.utf8(b"")) for kind in (ORGANIZATION, COMMON_NAME)))
    )
    both: list[tuple[int, str, bytes]] = [
        (33, "other-cn", subject((COMMON_NAME, _OTHER_NAME.encode()))),
        (33, "unit", subject((UNIT, b"system:masters"))),
        (33, "organization", subject((ORGANIZATION, b"system:masters"))),
        (33, "empty-cn", subject((COMMON_NAME, b""))),
        (33, "two-in-one-rdn", one_rdn),
        (33, "no-name-at-all", der.integer(1)),
        (33, "many", subject(*[(COMMON_NAME, b"a")] * 50)),
        (34, "cn-with-nul", subject((COMMON_NAME, LINKERD_NAME.encode() + b"\0.evil"))),
        (35, "cn-with-newline", subject((COMMON_NAME, LINKERD_NAME.encode() + b"\nlevel=info msg=issued"))),
        (36, "cn-with-homoglyph", subject((COMMON_NAME, "wеb".encode()))),
        (36, "cn-of-no-utf8", subject((COMMON_NAME, b"\xff\xfe"))),
    ]
    for case, name, value in both:
        yield from at_doors(case, name, "subject", partial(_calling_itself, value), copied)
    istio: list[tuple[str, bytes]] = [
        ("its-id-as-cn", subject((COMMON_NAME, SPIFFE_ID.encode()))),
        ("two-empty-organizations", subject((ORGANIZATION, b""), (ORGANIZATION, b""))),
        ("empty-organization-and-cn", subject((ORGANIZATION, b""), (COMMON_NAME, b"admin"))),
    ]
    linkerd: list[tuple[str, bytes]] = [
        ("empty-organization", subject((ORGANIZATION, b""))),
        ("its-cn-twice", subject(own, own)),
        ("its-cn-and-unit", subject(own, (UNIT, b"system:masters"))),
        ("its-cn-in-upper-case", subject((COMMON_NAME, LINKERD_NAME.upper().encode()))),
        ("its-cn-with-dot", subject((COMMON_NAME, LINKERD_NAME.encode() + b"."))),
        ("its-cn-as-bmp-string", _as_bmp_string(LINKERD_NAME)),
    ]
    for door, only in ((ISTIO, istio), (LINKERD, linkerd)):
        for name, value in only:
            yield from at_doors(33, name, "subject", partial(_calling_itself, value), copied, doors=(door,))


def _calling_itself(value: bytes, door: Door) -> Body:
    return Body(door=door, key=keys.p256(), subject=value)


def _as_bmp_string(text: str) -> bytes:
    value = der.tlv(0x1E, text.encode("utf-16-be"))
    return der.sequence(der.set_of(der.sequence(der.oid(COMMON_NAME), value)))


_SPIFFE_ID_2_2 = "SPIFFE-ID §2.2; spire CVE-2021-27099"

ISTIO_NAMES: tuple[tuple[int, str, bytes | str, str], ...] = (
    (34, "nul-at-end", SPIFFE_ID + "\0", "allow-list of characters"),
    (34, "nul-and-more", SPIFFE_ID + "\0.evil", "allow-list of characters"),
    (35, "newline", SPIFFE_ID + "\n", "boulder escapes its log lines"),
    (35, "forged-log-line", SPIFFE_ID + "\r\nlevel=info msg=issued", "boulder escapes its log lines"),
    (36, "homoglyph", "spiffe://cluster.local/ns/emojivoto/sa/wеb", "sigstore-python#1507"),
    (36, "right-to-left", "spiffe://cluster.local/ns/emojivoto/sa/\u202ebew", "sigstore-python#1507"),
    (36, "no-utf8", SPIFFE_ID.encode() + b"\xff", "sigstore-python#1507"),
    (37, "percent-dots", "spiffe://cluster.local/ns/emojivoto/sa/%2e%2e/web", _SPIFFE_ID_2_2),
    (37, "percent-letter", "spiffe://cluster.local/ns/emojivoto/sa/%77eb", _SPIFFE_ID_2_2),
    (37, "percent-slash", "spiffe://cluster.local/ns/emojivoto/sa%2fweb", _SPIFFE_ID_2_2),
    (38, "dot", "spiffe://cluster.local/ns/emojivoto/sa/./web", _SPIFFE_ID_2_2),
    (38, "dot-dot", "spiffe://cluster.local/ns/emojivoto/sa/admin/../web", _SPIFFE_ID_2_2),
    (38, "empty-segment", "spiffe://cluster.local/ns/emojivoto//sa/web", _SPIFFE_ID_2_2),
    (38, "trailing-slash", SPIFFE_ID + "/", _SPIFFE_ID_2_2),
    (38, "leading-space", " " + SPIFFE_ID, _SPIFFE_ID_2_2),
    (39, "upper-case-scheme", "SPIFFE://cluster.local/ns/emojivoto/sa/web", "SPIFFE-ID §2.4"),
    (39, "upper-case-domain", "spiffe://Cluster.Local/ns/emojivoto/sa/web", "SPIFFE-ID §2.4"),
    (39, "upper-case-account", "spiffe://cluster.local/ns/emojivoto/sa/Web", "SPIFFE-ID §2.4"),
    (40, "userinfo", "spiffe://root@cluster.local/ns/emojivoto/sa/web", "SPIFFE-ID §2.1"),
    (40, "port", "spiffe://cluster.local:443/ns/emojivoto/sa/web", "SPIFFE-ID §2.1"),
    (40, "query", SPIFFE_ID + "?admin=1", "SPIFFE-ID §2"),
    (40, "fragment", SPIFFE_ID + "#admin", "SPIFFE-ID §2"),
    (41, "foreign-domain", "spiffe://evil.local/ns/emojivoto/sa/web", "byte equality"),
    (41, "longer-domain", "spiffe://cluster.local.evil/ns/emojivoto/sa/web", "byte equality"),
    (41, "dot-after-domain", "spiffe://cluster.local./ns/emojivoto/sa/web", "byte equality"),
    (41, "other-account", _OTHER_ID, "byte equality"),
    (41, "longer-account", SPIFFE_ID + "2", "byte equality"),
    (41, "shorter-account", SPIFFE_ID[:-1], "byte equality"),
    (41, "no-path", "spiffe://cluster.local", "byte equality"),
    (41, "https", "https://cluster.local/ns/emojivoto/sa/web", "byte equality"),
    (42, "slash-in-account", SPIFFE_ID + "/admin", "DNS-1123 parts"),
    (42, "slash-in-namespace", "spiffe://cluster.local/ns/kube-system/emojivoto/sa/web", "DNS-1123 parts"),
    (43, "wildcard-account", "spiffe://cluster.local/ns/emojivoto/sa/*", "OpenBao GHSA-59w7-v8rr-pr4p"),
    (43, "wildcard-domain", "spiffe://*/ns/emojivoto/sa/web", "OpenBao GHSA-59w7-v8rr-pr4p"),
    (44, "2049-bytes", SPIFFE_ID + "a" * (2049 - len(SPIFFE_ID)), "SPIFFE-ID §2.3"),
    (44, "domain-of-256", f"spiffe://{'a' * 256}/ns/emojivoto/sa/web", "SPIFFE-ID §2.3"),
)
"""Case, name, URI, source."""

LINKERD_NAMES: tuple[tuple[int, str, bytes | str, str], ...] = (
    (34, "nul-at-end", LINKERD_NAME + "\0", "allow-list of characters"),
    (34, "nul-and-more", LINKERD_NAME + "\0.evil", "allow-list of characters"),
    (35, "newline", LINKERD_NAME + "\n", "boulder escapes its log lines"),
    (36, "homoglyph", LINKERD_NAME.replace("web", "wеb"), "sigstore-python#1507"),
    (36, "no-utf8", b"\xff" + LINKERD_NAME.encode(), "sigstore-python#1507"),
    (37, "percent-letter", LINKERD_NAME.replace("web", "%77eb"), "byte equality"),
    (38, "trailing-dot", LINKERD_NAME + ".", "linkerd2-proxy ignores such names"),
    (38, "empty-label", "." + LINKERD_NAME, "byte equality"),
    (38, "leading-space", " " + LINKERD_NAME, "byte equality"),
    (39, "upper-case", LINKERD_NAME.upper(), "linkerd2 compares with regard to case"),
    (40, "port", LINKERD_NAME + ":443", "byte equality"),
    (41, "foreign-domain", LINKERD_NAME.replace("cluster.local", "evil.local"), "byte equality"),
    (41, "longer-domain", LINKERD_NAME + ".evil", "byte equality"),
    (41, "other-account", _OTHER_NAME, "linkerd2: CSR name does not match"),
    (41, "other-control-plane", LINKERD_NAME.replace(".linkerd.", ".linkerd2."), "byte equality"),
    (42, "dot-in-account", "admin." + LINKERD_NAME, "one label for the account"),
    (43, "wildcard", "*" + LINKERD_NAME[3:], "OpenBao GHSA-59w7-v8rr-pr4p"),
    (44, "254-bytes", "a" * (254 - len(LINKERD_NAME)) + LINKERD_NAME, "RFC 1035 §2.3.4"),
)
"""Case, name, DNS name, source."""
