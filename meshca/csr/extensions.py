"""Which attributes and extensions a request may hold.

Nothing of them is copied into a certificate. They are refused all the same, not stripped: whoever
asks for more than its identity should hear so (``ca-practice.md`` §6 cases 21–27), and one of our
clients never does. Values are compared as DER where that is the stricter and the shorter rule.
"""

from __future__ import annotations

from typing import Annotated, Final

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509.oid import ExtensionOID

from meshca.csr.parse import Attribute, Request
from meshca.errors import BadRequest

_EXTENSION_REQUEST: Final = x509.ObjectIdentifier("1.2.840.113549.1.9.14")

_SERVER_AUTH: Final = bytes.fromhex("06082b06010505070301")
_CLIENT_AUTH: Final = bytes.fromhex("06082b06010505070302")
_PURPOSES: Final = frozenset(
    bytes([0x30, len(purposes)]) + purposes
    for purposes in (
        _SERVER_AUTH,
        _CLIENT_AUTH,
        _SERVER_AUTH + _CLIENT_AUTH,
        _CLIENT_AUTH + _SERVER_AUTH,
    )
)
"""Every extended key usage that may be asked for."""

_NO_AUTHORITY: Final = bytes.fromhex("3000")
"""BasicConstraints in DER: CA:FALSE, by default, and no path length."""

_SIGNS_CERTIFICATES_OR_CRLS: Final = 0x06
"""Bits 5 and 6 of KeyUsage, in its first byte (RFC 5280 §4.2.1.3)."""


@asn1.sequence
class _Extension:
    oid: x509.ObjectIdentifier
    critical: Annotated[bool, asn1.Default(False)]
    value: bytes


@asn1.sequence
class _ExtensionRequest:
    type: x509.ObjectIdentifier
    values: asn1.SetOf[list[_Extension]]


def extension_request_of(request: Request) -> Attribute | None:
    """The one attribute that a request may have.

    Raises BadRequest with check ``attributes`` for others, and for a second extensionRequest or a
    second value in it: of two, one parser sees the first and another the last.
    """
    for attribute in request.attributes:
        if attribute.type != _EXTENSION_REQUEST:
            raise BadRequest(
                f"the CSR has an attribute {attribute.type.dotted_string}: leave out all but the extensions",
                check="attributes",
            )
    if not request.attributes:
        return None
    attribute = request.attributes[0]
    if len(request.attributes) > 1 or attribute.values != 1:
        raise BadRequest("the CSR must have one list of extensions, not several", check="attributes")
    return attribute


def extensions_in(attribute: Attribute | None) -> dict[x509.ObjectIdentifier, bytes]:
    """The values of the extensions that are asked for, in DER.

    Raises BadRequest with check ``extensions`` for a list that cannot be read or has one twice.
    """
    if attribute is None:
        return {}
    try:
        request: _ExtensionRequest = attribute.tlv.parse(_ExtensionRequest)
    except ValueError:
        raise BadRequest("the CSR's extensions cannot be read (RFC 5280 §4.2)", check="extensions") from None
    extensions = request.values.as_list()[0]
    found = {extension.oid: extension.value for extension in extensions}
    if len(found) != len(extensions):
        raise BadRequest("the CSR has an extension twice", check="extensions")
    return found


def refuse_unwanted(extensions: dict[x509.ObjectIdentifier, bytes]) -> None:
    """Raises BadRequest with check ``extensions`` for what no leaf of ours could hold.

    Allowed are a SAN, which is compared elsewhere; KeyUsage that signs neither certificates nor
    CRLs; ExtendedKeyUsage for server, client or both; BasicConstraints that say CA:FALSE.
    """
    for oid, value in extensions.items():
        if oid == ExtensionOID.SUBJECT_ALTERNATIVE_NAME:
            continue
        if oid == ExtensionOID.KEY_USAGE:
            _refuse_authority_usage(value)
        elif oid == ExtensionOID.EXTENDED_KEY_USAGE:
            if value not in _PURPOSES:
                raise BadRequest(
                    "the CSR asks for another extended key usage than serverAuth, clientAuth or both",
                    check="extensions",
                )
        elif oid == ExtensionOID.BASIC_CONSTRAINTS:
            if value != _NO_AUTHORITY:
                raise BadRequest("the CSR asks to be an authority, or for a path length", check="extensions")
        else:
            raise BadRequest(
                f"the CSR asks for extension {oid.dotted_string}: leave out all but SAN, key usage, extended "
                "key usage and basic constraints",
                check="extensions",
            )


def _refuse_authority_usage(value: bytes) -> None:
    try:
        bits = asn1.decode_der(asn1.BitString, value).as_bytes()
    except ValueError:
        raise BadRequest("the CSR's key usage cannot be read", check="extensions") from None
    if not bits or bits[0] & _SIGNS_CERTIFICATES_OR_CRLS:
        raise BadRequest("the CSR asks for a key usage of authorities, or for none at all", check="extensions")
