"""Cases 16–27: bytes that are too many, PEM and DER that are nearly right, attributes and extensions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from meshca.csr import Form
from tests.attacks import der, keys
from tests.attacks.attack import Attack
from tests.attacks.requests import (
    BASIC_CONSTRAINTS,
    DOORS,
    EXTENDED_KEY_USAGE,
    ISTIO,
    KEY_USAGE,
    LINKERD,
    SAN,
    Body,
    Door,
    attribute,
    dns,
    extension,
    extension_request,
    pem,
    san,
    uri,
)
from tests.attacks.rows import at_doors, row, with_key

_MAX_REQUEST = 16 * 1024
_BEGIN = b"-----BEGIN CERTIFICATE REQUEST-----\n"

_SERVER_AUTH = der.oid("1.3.6.1.5.5.7.3.1")
_CODE_SIGNING = der.oid("1.3.6.1.5.5.7.3.3")
_ANY_PURPOSE = der.oid("2.5.29.37.0")


def rows() -> Iterator[Attack]:
    yield from _sizes()
    yield from _pem()
    yield from _structure()
    yield from _attributes()
    yield from _extensions()


def _honest(door: Door) -> bytes:
    return Body(door=door, key=keys.p256()).der()


def _always(request: bytes) -> Callable[[], bytes]:
    return lambda: request


def _sizes() -> Iterator[Attack]:
    source = "cert-manager CVE-2024-12401"
    yield from at_doors(
        16, "60-kB-of-name", "size", lambda door: Body(door=door, key=keys.p256(), names=[dns("a" * 60_000)]), source
    )
    for door in DOORS:
        for case, name, request in (
            (16, "16-KiB-and-1", bytes(_MAX_REQUEST + 1)),
            (18, "1-MB-of-BEGIN", _BEGIN * 28_000),
        ):
            yield row(case, f"{name}-{door.name}", "size", _always(request), form=door.form, source=source)
        bomb = _BEGIN * (_MAX_REQUEST // len(_BEGIN))
        yield row(18, f"16-KiB-of-BEGIN-{door.name}", "form", _always(bomb), form=door.form, source=source)


def _pem() -> Iterator[Attack]:
    variants: dict[str, Callable[[bytes], bytes]] = {
        "two-blocks": lambda content: pem(content) * 2,
        "leading-text": lambda content: b"subject=/CN=web\n" + pem(content),
        "leading-newline": lambda content: b"\n" + pem(content),
        "trailing-text": lambda content: pem(content) + b"and more\n",
        "trailing-newline": lambda content: pem(content) + b"\n",
        "trailing-nul": lambda content: pem(content) + b"\0",
        "rfc1421-headers": lambda content: pem(content, headers="Proc-Type: 4,ENCRYPTED\n\n"),
        "old-label": lambda content: pem(content, label="NEW CERTIFICATE REQUEST"),
        "other-label": lambda content: pem(content, label="CERTIFICATE"),
        "one-long-line": lambda content: pem(content, width=10_000),
        "short-lines": lambda content: pem(content, width=32),
        "spaces-at-ends": lambda content: pem(content).replace(b"\n", b" \n"),
        "four-dashes": lambda content: pem(content).replace(b"-----E", b"----E"),
        "stray-bits": lambda content: _with_stray_bits(content),
        "der": lambda content: content,
        "nothing": lambda content: b"",
    }
    for name, variant in variants.items():
        make = partial(lambda variant: variant(_honest(ISTIO)), variant)
        yield row(17, f"{name}-istio", "form", make, form=Form.PEM, source="one canonical block")
    yield row(17, "pem-linkerd", "form", lambda: pem(_honest(LINKERD)), form=Form.DER, source="linkerd.md §1.1")


def _with_stray_bits(content: bytes) -> bytes:
    """The base64 of one byte more, with a last digit that says more bits than the byte has."""
    return pem(b"\0" * (64 * 3) + b"\0").replace(b"AA==", b"AB==")


def _structure() -> Iterator[Attack]:
    for door in DOORS:
        encode = pem if door.form is Form.PEM else bytes
        for name, change in (
            ("trailing-byte", lambda content: content + b"\0"),
            ("trailing-request", lambda content: content + content),
            ("cut-short", lambda content: content[:-1]),
            ("indefinite-length", lambda content: b"\x30\x80" + content[4:] + b"\0\0"),
            ("long-form-length", lambda content: b"\x30\x83\0" + content[2:]),
        ):
            make = partial(lambda door, encode, change: encode(change(_honest(door))), door, encode, change)
            yield row(19, f"{name}-{door.name}", "syntax", make, form=door.form, source="X.690 §10.1")
    source = "X.690 §8.6: one encoding of each value"
    yield from with_key(19, "trailing-byte-in-key", "key-encoding", keys.rsa_with_trailing_byte, source)
    yield from with_key(19, "unused-bits-in-key", "syntax", keys.p256_with_unused_bits, source)
    yield from at_doors(
        19,
        "unused-bits-in-signature",
        "syntax",
        lambda door: Body(door=door, key=keys.rsa_of(2048), unused_bits=1),
        source,
    )
    for name, version in (("1", 1), ("minus-1", -1), ("giant", 1 << 30000)):
        yield from at_doors(20, f"version-{name}", "version", partial(_of_version, version), "RFC 2986 §4.1")


def _of_version(version: int, door: Door) -> Body:
    return Body(door=door, key=keys.p256(), version=version)


def _foreign(door: Door) -> bytes:
    """The GeneralName of somebody else."""
    if door is ISTIO:
        return uri("spiffe://cluster.local/ns/kube-system/sa/admin")
    return dns("admin.kube-system.serviceaccount.identity.linkerd.cluster.local")


def _with_attributes(make: Callable[[Door], list[bytes]], door: Door) -> Body:
    return Body(door=door, key=keys.p256(), attributes=make(door))


def _attributes() -> Iterator[Attack]:
    def honest(door: Door) -> bytes:
        return extension_request(san(door.honest))

    attacks: list[tuple[int, str, str, str, Callable[[Door], list[bytes]]]] = [
        (
            22,
            "two-extension-requests",
            "attributes",
            "the first wins in cryptography",
            lambda door: [honest(door), extension_request(san(_foreign(door)))],
        ),
        (
            22,
            "two-values",
            "attributes",
            "the first wins in cryptography",
            lambda door: [
                attribute(
                    "1.2.840.113549.1.9.14",
                    der.sequence(san(door.honest)),
                    der.sequence(san(_foreign(door))),
                )
            ],
        ),
        (22, "no-value", "attributes", "RFC 2985 §5.4.2", lambda door: [attribute("1.2.840.113549.1.9.14")]),
        (
            23,
            "challenge-password",
            "attributes",
            "RFC 2985 §5.4.1",
            lambda door: [honest(door), attribute("1.2.840.113549.1.9.7", der.utf8(b"secret"))],
        ),
        (
            23,
            "unstructured-name",
            "attributes",
            "RFC 2985 §5.4.1",
            lambda door: [honest(door), attribute("1.2.840.113549.1.9.2", der.utf8(b"admin"))],
        ),
        (
            23,
            "microsoft-extension-request",
            "attributes",
            "MS-WCCE §2.2.2.7.7.2",
            lambda door: [attribute("1.3.6.1.4.1.311.2.1.14", der.sequence(san(door.honest)))],
        ),
    ]
    for case, name, check, source, make in attacks:
        yield from at_doors(case, name, check, partial(_with_attributes, make), source)


def _with_extensions(extensions: tuple[bytes, ...], door: Door) -> Body:
    return Body(door=door, key=keys.p256(), extensions=extensions)


def _extensions() -> Iterator[Attack]:
    yield from at_doors(
        21,
        "two-sans",
        "extensions",
        lambda door: Body(door=door, key=keys.p256(), extensions=[san(_foreign(door))]),
        "zlint ext_duplicate_extension",
    )
    yield from at_doors(
        21,
        "the-same-san-twice",
        "extensions",
        lambda door: Body(door=door, key=keys.p256(), extensions=[san(door.honest)]),
        "zlint ext_duplicate_extension",
    )
    for case, name, oid, value, source in (
        (24, "authority", BASIC_CONSTRAINTS, der.sequence(der.TRUE), "SPIFFE X509-10"),
        (24, "authority-path-0", BASIC_CONSTRAINTS, der.sequence(der.TRUE, der.integer(0)), "SPIFFE X509-10"),
        (24, "leaf-with-path", BASIC_CONSTRAINTS, der.sequence(der.integer(0)), "RFC 5280 §4.2.1.9"),
        (25, "cert-sign", KEY_USAGE, der.bits(b"\x04", unused=2), "SPIFFE X509-16"),
        (25, "crl-sign", KEY_USAGE, der.bits(b"\x02", unused=1), "SPIFFE X509-16"),
        (25, "cert-sign-among-others", KEY_USAGE, der.bits(b"\xa4", unused=2), "SPIFFE X509-16"),
        (25, "no-usage", KEY_USAGE, der.bits(b""), "RFC 5280 §4.2.1.3"),
        (25, "usage-of-another-type", KEY_USAGE, der.octets(b"\x80"), "RFC 5280 §4.2.1.3"),
        (26, "code-signing", EXTENDED_KEY_USAGE, der.sequence(_SERVER_AUTH, _CODE_SIGNING), "allow-list"),
        (26, "any-purpose", EXTENDED_KEY_USAGE, der.sequence(_ANY_PURPOSE), "allow-list"),
        (26, "no-purpose", EXTENDED_KEY_USAGE, der.sequence(), "step-ca CVE-2026-40097"),
        (26, "server-auth-twice", EXTENDED_KEY_USAGE, der.sequence(_SERVER_AUTH, _SERVER_AUTH), "allow-list"),
        (27, "unknown", "1.3.6.1.4.1.99999.1", der.NULL, "istio-csr: only SAN, KU, EKU"),
        (27, "name-constraints", "2.5.29.30", der.sequence(), "istio-csr: only SAN, KU, EKU"),
        (27, "policies", "2.5.29.32", der.sequence(), "istio-csr: only SAN, KU, EKU"),
        (27, "issuer-access", "1.3.6.1.5.5.7.1.1", der.sequence(), "istio-csr: only SAN, KU, EKU"),
        (27, "timestamps", "1.3.6.1.4.1.11129.2.4.2", der.octets(b""), "istio-csr: only SAN, KU, EKU"),
        (27, "issuer-names", "2.5.29.18", der.sequence(uri("spiffe://evil/x")), "istio-csr: only SAN, KU, EKU"),
    ):
        for critical in (True, False):
            label = f"{name}-{'critical' if critical else 'ignorable'}"
            found = (extension(oid, value, critical=critical),)
            yield from at_doors(case, label, "extensions", partial(_with_extensions, found), source)
    yield from at_doors(27, "no-list", "extensions", partial(_with_attributes, _no_list), "RFC 5280 §4.2")
    yield from at_doors(27, "false-spelt-out", "extensions", partial(_with_attributes, _false), "X.690 §11.5")


def _no_list(door: Door) -> list[bytes]:
    return [attribute("1.2.840.113549.1.9.14", der.sequence(der.integer(1)))]


def _false(door: Door) -> list[bytes]:
    """``critical FALSE`` is the default, which DER leaves out."""
    spelt_out = der.sequence(der.oid(SAN), der.tlv(0x01, b"\0"), der.octets(der.sequence(door.honest)))
    return [extension_request(spelt_out)]
