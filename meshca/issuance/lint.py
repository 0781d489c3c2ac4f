"""A second pair of eyes on what is about to be released.

The leaf is taken apart again from its bytes, with none of the code that made it, and held against
what was proven and asked. What is constant in a leaf is compared with DER written down here from the
standards, not with what the profile encodes. A finding means a bug or a faulty signer of ours, never
a bad request; it stops the release. The rules re-state zlint's and SPIFFE's for our profile
(``ca-practice.md`` §5, ``spiffe.md`` §1.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509.oid import ExtensionOID

from meshca.errors import SignerFault
from meshca.issuance.authorities import Authority
from meshca.issuance.ledger import MAX_SERIAL_BITS

_V3 = 2
_EMPTY_NAME = bytes.fromhex("3000")
_RSA_SPKI = bytes.fromhex("300d06092a864886f70d0101010500")
"""AlgorithmIdentifier rsaEncryption with NULL, which begins an RSA key's SPKI (RFC 3279 §2.3.1)."""

_NOT_CA = bytes.fromhex("3000")
"""BasicConstraints: cA is FALSE by default and so not encoded (RFC 5280 §4.2.1.9)."""
_SIGNS = bytes.fromhex("03020780")
"""KeyUsage: bit 0, digitalSignature (RFC 5280 §4.2.1.3)."""
_SIGNS_AND_ENCIPHERS = bytes.fromhex("030205a0")
"""KeyUsage: bits 0 and 2, digitalSignature and keyEncipherment."""
_SERVER_AND_CLIENT = bytes.fromhex("301406082b0601050507030106082b06010505070302")
"""ExtKeyUsageSyntax: id-kp-serverAuth, id-kp-clientAuth (RFC 5280 §4.2.1.12)."""
_CRITICAL = {
    ExtensionOID.BASIC_CONSTRAINTS: True,
    ExtensionOID.KEY_USAGE: True,
    ExtensionOID.EXTENDED_KEY_USAGE: False,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME: True,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER: False,
}


@asn1.sequence
class _Validity:
    begin: asn1.UTCTime | asn1.GeneralizedTime
    end: asn1.UTCTime | asn1.GeneralizedTime


@asn1.sequence
class _Extension:
    oid: x509.ObjectIdentifier
    critical: Annotated[bool, asn1.Default(False)]
    value: bytes


@asn1.sequence
class _Tbs:
    version: Annotated[int, asn1.Explicit(0)]
    serial: int
    algorithm: asn1.TLV
    issuer: asn1.TLV
    validity: _Validity
    subject: asn1.TLV
    spki: asn1.TLV
    extensions: Annotated[list[_Extension], asn1.Explicit(3)]


@asn1.sequence
class _Certificate:
    tbs: _Tbs
    algorithm: asn1.TLV
    signature: asn1.BitString


def lint(der: bytes, *, names: tuple[x509.GeneralName, ...], spki: bytes, authority: Authority, now: datetime) -> None:
    """Return when nothing is wrong with the leaf in these bytes; raise SignerFault, naming every finding, else."""
    try:
        leaf = asn1.decode_der(_Certificate, der)
    except ValueError as error:
        raise SignerFault(f"a leaf failed its lint and was not released: it does not parse: {error}") from None
    findings = [*_form(leaf, authority), *_content(leaf.tbs, names, spki, authority, now)]
    if findings:
        raise SignerFault("a leaf failed its lint and was not released: " + "; ".join(findings))


def _form(leaf: _Certificate, authority: Authority) -> Iterator[str]:
    tbs = leaf.tbs
    if tbs.version != _V3:
        yield f"version is {tbs.version + 1}, not 3"
    if tbs.serial <= 0 or tbs.serial.bit_length() > MAX_SERIAL_BITS:
        yield f"serial {tbs.serial} is not positive, or longer than ours are"
    identifier = authority.algorithm.identifier
    if _der(leaf.algorithm) != identifier or _der(tbs.algorithm) != identifier:
        yield "signature algorithm is not that of the issuer's key, inside and outside alike"
    if _der(tbs.issuer) != authority.issuer_name:
        yield "issuer's name is not the issuer certificate's subject"
    if _der(tbs.subject) != _EMPTY_NAME:
        yield "subject is not empty"


def _content(
    tbs: _Tbs, names: tuple[x509.GeneralName, ...], spki: bytes, authority: Authority, now: datetime
) -> Iterator[str]:
    begin, end = tbs.validity.begin.as_datetime(), tbs.validity.end.as_datetime()
    if not begin <= now < end:
        yield f"valid from {begin} to {end}, which does not hold now, {now}"
    if begin < authority.not_before or end > authority.not_after:
        yield f"valid from {begin} to {end}, outside its chain's {authority.not_before} to {authority.not_after}"
    if _der(tbs.spki) != spki:
        yield "public key is not the one that was asked for"
    if {each.oid: each.critical for each in tbs.extensions} != _CRITICAL or len(tbs.extensions) != len(_CRITICAL):
        found = [f"{each.oid.dotted_string}{' critical' * each.critical}" for each in tbs.extensions]
        yield f"extensions are {', '.join(found)}, not those of the profile"
        return
    values = {each.oid: each.value for each in tbs.extensions}
    if values[ExtensionOID.BASIC_CONSTRAINTS] != _NOT_CA:
        yield "basic constraints are not CA:FALSE"
    if values[ExtensionOID.KEY_USAGE] != (_SIGNS_AND_ENCIPHERS if _RSA_SPKI in spki[:32] else _SIGNS):
        yield "key usage is not that of a leaf with such a key"
    if values[ExtensionOID.EXTENDED_KEY_USAGE] != _SERVER_AND_CLIENT:
        yield "extended key usage is not serverAuth and clientAuth"
    if values[ExtensionOID.AUTHORITY_KEY_IDENTIFIER] != _by_key(authority.key_identifier):
        yield "authority key identifier is not the issuer's"
    if values[ExtensionOID.SUBJECT_ALTERNATIVE_NAME] != x509.SubjectAlternativeName(names).public_bytes():
        yield "names are not those that were proven"
    uris = sum(type(name) is x509.UniformResourceIdentifier for name in names)
    if uris != 1:
        yield f"{uris} URI SANs, where an SVID has exactly one"


def _by_key(identifier: bytes) -> bytes:
    """AuthorityKeyIdentifier with [0] keyIdentifier and nothing else (RFC 5280 §4.2.1.1)."""
    return bytes((0x30, len(identifier) + 2, 0x80, len(identifier))) + identifier


def _der(element: asn1.TLV) -> bytes:
    return asn1.encode_der(element)
