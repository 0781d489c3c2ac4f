"""The bytes of a request as a CertificationRequest (RFC 2986 §4).

The structure is declared with ``hazmat.asn1``, whose decoder takes DER only. What is declared is
what is used: the bytes that the signature covers are the very bytes that were read here
(``ca-practice.md`` §6 case 65), and fields that are compared later stay bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, TypeVar

from cryptography import x509
from cryptography.hazmat import asn1

from meshca import pem
from meshca.errors import BadRequest, shown

MAX_REQUEST = 16 * 1024
"""Bytes of a request, before anything else is looked at. RSA-4096 in PEM needs about 1700 (case 16)."""

PEM_LABEL = "CERTIFICATE REQUEST"

_V1 = 0
_ARMOUR = b"-----BEGIN"

_T = TypeVar("_T")


class Form(Enum):
    """How a door's clients encode their requests."""

    PEM = "PEM"
    """Istio's (``istio.md`` §1.1)."""
    DER = "DER"
    """Linkerd's (``linkerd.md`` §1.1)."""


@asn1.sequence
class PublicKeyInfo:
    """SubjectPublicKeyInfo (RFC 5280 §4.1.2.7)."""

    algorithm: asn1.TLV
    key: asn1.BitString


@asn1.sequence
class _RequestInfo:
    version: int
    subject: asn1.TLV
    public_key: PublicKeyInfo
    attributes: Annotated[asn1.SetOf[asn1.TLV] | None, asn1.Implicit(0)]


@asn1.sequence
class _Request:
    info: asn1.TLV
    algorithm: asn1.TLV
    signature: asn1.BitString


@asn1.sequence
class _Attribute:
    type: x509.ObjectIdentifier
    values: asn1.SetOf[asn1.TLV]


@asn1.sequence
class _Wrapped:
    value: asn1.TLV


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of a request: its type, how many values it has, and the whole of it."""

    type: x509.ObjectIdentifier
    values: int
    tlv: asn1.TLV


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A CertificationRequest whose syntax is right; nothing in it was judged yet. Bytes are DER."""

    signed: bytes
    """The CertificationRequestInfo, over which the signature was made."""
    subject: bytes
    spki: bytes
    key_algorithm: bytes
    key: bytes
    """The content of the SubjectPublicKeyInfo's BIT STRING."""
    attributes: tuple[Attribute, ...]
    signature_algorithm: bytes
    signature: bytes


def parse(request: bytes, form: Form) -> Request:
    """Read a request of at most MAX_REQUEST bytes.

    Raises BadRequest with check ``size``, ``form`` (not one canonical PEM block, or PEM where DER
    belongs), ``syntax`` (not DER, trailing bytes, not a CertificationRequest) or ``version``.
    """
    if len(request) > MAX_REQUEST:
        raise BadRequest(f"the CSR has {len(request)} bytes, over {MAX_REQUEST}", check="size")
    der = _unwrapped(request, form)
    try:
        return _parsed(der)
    except ValueError as error:
        raise BadRequest(
            f"the CSR is not a PKCS #10 request in DER: {shown(error)} (RFC 2986)", check="syntax"
        ) from None


def decode_value(declared: type[_T], der: bytes) -> _T:
    """Decode a value whose type is no class, such as a SEQUENCE OF: ``declared`` has it as its one field.

    Raises ValueError.
    """
    return asn1.decode_der(declared, asn1.encode_der(_Wrapped(value=asn1.decode_der(asn1.TLV, der))))


def _unwrapped(request: bytes, form: Form) -> bytes:
    if form is Form.DER:
        if request.startswith(_ARMOUR):
            raise BadRequest("the CSR is PEM: send DER here, as Linkerd's proxies do", check="form")
        return request
    try:
        return pem.decode(request, label=PEM_LABEL)
    except pem.BadPem as error:
        raise BadRequest(f"the CSR is not one canonical PEM block: {error}", check="form") from None


def _parsed(der: bytes) -> Request:
    outer = asn1.decode_der(_Request, der)
    info: _RequestInfo = outer.info.parse(_RequestInfo)
    attributes = info.attributes.as_list() if info.attributes is not None else []
    # Encoding again what was decoded gives the same bytes: DER has one form only.
    request = Request(
        signed=asn1.encode_der(outer.info),
        subject=asn1.encode_der(info.subject),
        spki=asn1.encode_der(info.public_key),
        key_algorithm=asn1.encode_der(info.public_key.algorithm),
        key=_whole_bytes(info.public_key.key),
        attributes=tuple(_attribute(attribute) for attribute in attributes),
        signature_algorithm=asn1.encode_der(outer.algorithm),
        signature=_whole_bytes(outer.signature),
    )
    if info.version != _V1:
        raise BadRequest("the CSR's version is not 0, which is the only one there is (RFC 2986)", check="version")
    return request


def _attribute(tlv: asn1.TLV) -> Attribute:
    attribute: _Attribute = tlv.parse(_Attribute)
    return Attribute(attribute.type, len(attribute.values.as_list()), tlv)


def _whole_bytes(bits: asn1.BitString) -> bytes:
    if bits.padding_bits():
        raise ValueError("a BIT STRING that holds bytes has unused bits")
    return bits.as_bytes()
