"""A second pair of eyes on what is about to be released.

The leaf is read again from its bytes, with ``cryptography.x509`` and none of the code that made
it, and held against what was proven and asked. A finding means a bug or a faulty signer of ours,
never a bad request; it stops the release. The rules re-state zlint's and SPIFFE's for our profile
(``ca-practice.md`` §5, ``spiffe.md`` §1.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from meshca.errors import SignerFault
from meshca.issuance.authorities import Authority
from meshca.issuance.ledger import MAX_SERIAL_BITS

_CRITICAL = {
    ExtensionOID.BASIC_CONSTRAINTS: True,
    ExtensionOID.KEY_USAGE: True,
    ExtensionOID.EXTENDED_KEY_USAGE: False,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME: True,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER: False,
}
_BOTH_SIDES = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


def lint(
    der: bytes, *, names: tuple[x509.GeneralName, ...], spki: bytes, authority: Authority, now: datetime
) -> x509.Certificate:
    """The certificate in these bytes, when nothing is wrong with it.

    Raises SignerFault, naming every finding, when something is.
    """
    try:
        leaf = x509.load_der_x509_certificate(der)
        findings = [*_form(leaf, authority), *_validity(leaf, authority, now), *_content(leaf, names, spki, authority)]
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise SignerFault(f"a leaf failed its lint and was not released: it does not parse: {error}") from None
    if findings:
        raise SignerFault("a leaf failed its lint and was not released: " + "; ".join(findings))
    return leaf


def _form(leaf: x509.Certificate, authority: Authority) -> Iterator[str]:
    if leaf.version is not x509.Version.v3:
        yield f"version is {leaf.version.name}, not v3"
    if not 0 < leaf.serial_number.bit_length() <= MAX_SERIAL_BITS or leaf.serial_number < 0:
        yield f"serial {leaf.serial_number} is not positive, or longer than ours are"
    if leaf.signature_algorithm_oid != authority.algorithm.oid:
        yield f"signature algorithm {leaf.signature_algorithm_oid.dotted_string} is not that of the issuer's key"
    if leaf.issuer.public_bytes() != authority.issuer_name:
        yield "issuer's name is not the issuer certificate's subject"
    if leaf.subject.rdns:
        yield "subject is not empty"


def _validity(leaf: x509.Certificate, authority: Authority, now: datetime) -> Iterator[str]:
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if not begin <= now < end:
        yield f"valid from {begin} to {end}, which does not hold now, {now}"
    if begin < authority.not_before or end > authority.not_after:
        yield f"valid from {begin} to {end}, outside its chain's {authority.not_before} to {authority.not_after}"


def _content(
    leaf: x509.Certificate, names: tuple[x509.GeneralName, ...], spki: bytes, authority: Authority
) -> Iterator[str]:
    public_key = leaf.public_key()
    if public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != spki:
        yield "public key is not the one that was asked for"
    extensions = {each.oid: each for each in leaf.extensions}
    critical = {oid: each.critical for oid, each in extensions.items()}
    if critical != _CRITICAL:
        yield f"extensions are {sorted(oid.dotted_string for oid in critical)}, not those of the profile"
        return
    constraints: x509.BasicConstraints = extensions[ExtensionOID.BASIC_CONSTRAINTS].value
    if constraints.ca or constraints.path_length is not None:
        yield "basic constraints are not CA:FALSE"
    usage: x509.KeyUsage = extensions[ExtensionOID.KEY_USAGE].value
    if not usage.digital_signature or usage.key_cert_sign or usage.crl_sign:
        yield "key usage is not that of a leaf"
    if usage.key_encipherment and not isinstance(public_key, rsa.RSAPublicKey):
        yield "key encipherment with a key that cannot encipher"
    if set(extensions[ExtensionOID.EXTENDED_KEY_USAGE].value) != _BOTH_SIDES:
        yield "extended key usage is not serverAuth and clientAuth"
    if extensions[ExtensionOID.AUTHORITY_KEY_IDENTIFIER].value.key_identifier != authority.key_identifier:
        yield "authority key identifier is not the issuer's"
    found = tuple(extensions[ExtensionOID.SUBJECT_ALTERNATIVE_NAME].value)
    if found != names:
        yield "names are not those that were proven"
    uris = sum(type(name) is x509.UniformResourceIdentifier for name in found)
    if uris != 1:
        yield f"{uris} URI SANs, where an SVID has exactly one"
