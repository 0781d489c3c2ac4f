"""Requests for certificates, honest and otherwise, written field by field."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from meshca.csr import Expected, Form
from meshca.names import LinkerdName, ServiceAccount, TrustDomain
from tests.attacks import der
from tests.attacks.keys import Key

TRUST_DOMAIN = TrustDomain("cluster.local")
CONTROL_NAMESPACE = "linkerd"
ACCOUNT = ServiceAccount("emojivoto", "web")
"""Whom the attackers' tokens speak for."""

SPIFFE_ID = "spiffe://cluster.local/ns/emojivoto/sa/web"
LINKERD_NAME = "web.emojivoto.serviceaccount.identity.linkerd.cluster.local"

EMPTY = der.sequence()

SAN = "2.5.29.17"
KEY_USAGE = "2.5.29.15"
EXTENDED_KEY_USAGE = "2.5.29.37"
BASIC_CONSTRAINTS = "2.5.29.19"
EXTENSION_REQUEST = "1.2.840.113549.1.9.14"

COMMON_NAME = "2.5.4.3"
ORGANIZATION = "2.5.4.10"
UNIT = "2.5.4.11"


@dataclass(frozen=True)
class Door:
    """A listener that takes requests: Istio's PEM or Linkerd's DER."""

    name: str
    form: Form
    expected: Expected
    honest: bytes
    """The GeneralName of the attackers' own identity."""


def uri(text: bytes | str) -> bytes:
    return der.tlv(0x86, text if isinstance(text, bytes) else text.encode())


def dns(text: bytes | str) -> bytes:
    return der.tlv(0x82, text if isinstance(text, bytes) else text.encode())


def email(text: str) -> bytes:
    return der.tlv(0x81, text.encode())


def ip(packed: bytes) -> bytes:
    return der.tlv(0x87, packed)


ISTIO = Door("istio", Form.PEM, Expected.istio(ACCOUNT.spiffe_id(TRUST_DOMAIN)), uri(SPIFFE_ID))
LINKERD = Door(
    "linkerd",
    Form.DER,
    Expected.linkerd(LinkerdName(ACCOUNT, CONTROL_NAMESPACE, TRUST_DOMAIN)),
    dns(LINKERD_NAME),
)
DOORS = (ISTIO, LINKERD)


def extension(oid: str, value: bytes, *, critical: bool = False) -> bytes:
    return der.sequence(der.oid(oid), der.TRUE if critical else b"", der.octets(value))


def san(*names: bytes, critical: bool = True) -> bytes:
    return extension(SAN, der.sequence(*names), critical=critical)


def attribute(oid: str, *values: bytes) -> bytes:
    return der.sequence(der.oid(oid), der.set_of(*values))


def extension_request(*extensions: bytes) -> bytes:
    return attribute(EXTENSION_REQUEST, der.sequence(*extensions))


def subject(*parts: tuple[str, bytes]) -> bytes:
    """A Name with one attribute in each RDN, all UTF8Strings."""
    return der.sequence(*(der.set_of(der.sequence(der.oid(kind), der.utf8(text))) for kind, text in parts))


@dataclass(frozen=True, kw_only=True)
class Body:
    """A request, field by field; what is not said is as an honest client writes it."""

    door: Door
    key: Key
    version: int = 0
    subject: bytes = EMPTY
    names: Sequence[bytes] | None = None
    extensions: Sequence[bytes] = ()
    """Beside the SAN."""
    attributes: Sequence[bytes] | None = None
    algorithm: bytes | None = None
    """Stated for the signature; the key's own unless said."""
    signer: Key | None = None
    """Who signs; the key itself unless said."""
    spoil: bool = False
    """Whether the signature's last byte is changed."""
    unused_bits: int = 0
    """How many bits of the signature's last byte are said to mean nothing; they are zero then."""

    def der(self) -> bytes:
        names = [self.door.honest] if self.names is None else self.names
        attributes = self.attributes
        if attributes is None:
            attributes = [extension_request(san(*names), *self.extensions)]
        info = der.sequence(
            der.integer(self.version),
            self.subject,
            self.key.spki,
            der.set_of(*attributes, tag=0xA0),
        )
        signature = (self.signer or self.key).sign(info)
        if self.spoil:
            signature = signature[:-1] + bytes([signature[-1] ^ 1])
        signature = signature[:-1] + bytes([signature[-1] >> self.unused_bits << self.unused_bits])
        bits = der.bits(signature, unused=self.unused_bits)
        return der.sequence(info, self.algorithm or self.key.algorithm, bits)

    def encoded(self) -> bytes:
        """As the door's clients send it."""
        return self.der() if self.door.form is Form.DER else pem(self.der())


def pem(content: bytes, *, label: str = "CERTIFICATE REQUEST", width: int = 64, headers: str = "") -> bytes:
    text = base64.b64encode(content).decode()
    lines = "".join(f"{text[place : place + width]}\n" for place in range(0, len(text), width))
    return f"-----BEGIN {label}-----\n{headers}{lines}-----END {label}-----\n".encode()
