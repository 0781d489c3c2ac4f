"""The names in a request: its subject and its SAN.

A request must name exactly what its bearer was proven to be. The DER that an honest client writes
is known beforehand, so the bytes are compared and nothing is parsed, folded, trimmed or unescaped:
wildcards, percent signs, NULs, look-alike letters, second names and names of another kind all
differ somewhere (``ca-practice.md`` §6 cases 28–44). What the names are is read only to say so in
the refusal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat import asn1

from meshca.csr.parse import decode_value
from meshca.errors import BadRequest, shown
from meshca.names import LinkerdName, SpiffeId

_SEQUENCE: Final = 0x30
_SET: Final = 0x31
_UTF8_STRING: Final = 0x0C
_PRINTABLE_STRING: Final = 0x13
_DNS_NAME: Final = 0x82
_URI: Final = 0x86

_COMMON_NAME: Final = bytes.fromhex("0603550403")
_ORGANIZATION: Final = bytes.fromhex("060355040a")

_EMPTY: Final = bytes.fromhex("3000")

_KINDS: Final = {
    0xA0: "otherName",
    0x81: "email",
    _DNS_NAME: "DNS",
    0xA3: "x400Address",
    0xA4: "directoryName",
    0xA5: "ediPartyName",
    _URI: "URI",
    0x87: "IP",
    0x88: "registeredID",
}
"""The tags of GeneralName (RFC 5280 §4.2.1.6)."""

_TO_BE_SHOWN: Final = 3
"""How many of the names that were found are put into a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The one name that a request at this door must hold: a URI or a DNS name."""

    uri: str | None = None
    dns: str | None = None

    def __post_init__(self) -> None:
        if (self.uri is None) == (self.dns is None):
            raise ValueError("a request is expected to hold exactly one name: a URI or a DNS name")

    @classmethod
    def istio(cls, spiffe_id: SpiffeId) -> Self:
        """One URI SAN; the subject empty (ztunnel) or ``O=""`` (pilot-agent) (``istio.md`` §0.5)."""
        return cls(uri=str(spiffe_id))

    @classmethod
    def linkerd(cls, name: LinkerdName) -> Self:
        """One DNS SAN; the subject empty or the same name as its CN (``linkerd.md`` §1.2, §2.1)."""
        return cls(dns=str(name))

    def san(self) -> bytes:
        """The only SAN that is accepted: DER GeneralNames."""
        if self.uri is not None:
            return _tlv(_SEQUENCE, _tlv(_URI, self.uri.encode()))
        assert self.dns is not None
        return _tlv(_SEQUENCE, _tlv(_DNS_NAME, self.dns.encode()))

    def subjects(self) -> tuple[bytes, ...]:
        """The subjects that are accepted: DER Names. A CN may be longer than X.520's 64 characters, which
        Linkerd's mostly is; Go writes a PrintableString, other libraries a UTF8String."""
        kind, text = (_ORGANIZATION, b"") if self.dns is None else (_COMMON_NAME, self.dns.encode())
        return (
            _EMPTY,
            _name(kind, _tlv(_PRINTABLE_STRING, text)),
            _name(kind, _tlv(_UTF8_STRING, text)),
        )


@asn1.sequence
class _NameAttribute:
    type: x509.ObjectIdentifier
    value: asn1.TLV


@asn1.sequence
class _Name:
    parts: list[asn1.SetOf[_NameAttribute]]


@asn1.sequence
class _GeneralNames:
    names: list[asn1.TLV]


def refuse_other_subject(subject: bytes, expected: Expected) -> None:
    """Raises BadRequest with check ``subject`` for a subject that no client of this door writes (case 33)."""
    if subject == _EMPTY or subject in expected.subjects():
        return
    wanted = "empty or O=''" if expected.dns is None else f"empty or CN={shown(expected.dns)}"
    raise BadRequest(f"the CSR's subject is {_shown_subject(subject)}: it must be {wanted}", check="subject")


def refuse_other_names(san: bytes | None, expected: Expected) -> None:
    """Raises BadRequest with check ``names`` unless the SAN holds the expected name and nothing else."""
    if san == expected.san():
        return
    wanted = f"URI {shown(expected.uri)}" if expected.dns is None else f"DNS {shown(expected.dns)}"
    found = "no SAN" if san is None else f"the SAN {_shown_names(san)}"
    raise BadRequest(
        f"the CSR has {found}: ask for {wanted} and nothing else, which is what the token proves", check="names"
    )


def _name(kind: bytes, value: bytes) -> bytes:
    """A Name of one attribute."""
    return _tlv(_SEQUENCE, _tlv(_SET, _tlv(_SEQUENCE, kind + value)))


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(length))) + length + content


def _shown_subject(der: bytes) -> str:
    try:
        parts = [attribute for part in decode_value(_Name, der).parts for attribute in part.as_list()]
    except ValueError:
        return "unreadable"
    # RFC 4514's short name where it has one, otherwise the number.
    texts = [f"{_label(part.type)}={shown(bytes(part.value.data))}" for part in parts[:_TO_BE_SHOWN]]
    return ", ".join([*texts, "…"] if len(parts) > _TO_BE_SHOWN else texts)


def _label(oid: x509.ObjectIdentifier) -> str:
    return {"2.5.4.3": "CN", "2.5.4.10": "O", "2.5.4.11": "OU"}.get(oid.dotted_string, oid.dotted_string)


def _shown_names(der: bytes) -> str:
    try:
        names = decode_value(_GeneralNames, der).names
    except ValueError:
        return "that cannot be read"
    texts = [
        f"{_KINDS.get(name.tag_bytes[0], 'of no kind')} {shown(bytes(name.data))}" for name in names[:_TO_BE_SHOWN]
    ]
    return ", ".join([*texts, "…"] if len(names) > _TO_BE_SHOWN else texts) or "of no names"
