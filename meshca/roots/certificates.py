"""The certificates of authorities: what a root and an issuer of ours look like.

Both are SVIDs of the trust domain itself (X509-5…7): one URI SAN without a path. Neither carries
an extended key usage, which upstream Linkerd would demand serverAuth of (``linkerd.md`` §2.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509.oid import NameOID

from meshca.issuance.draft import Draft, Extension, extension, random_serial, seal
from meshca.issuance.profile import key_usage
from meshca.keys.algorithms import PublicKey, algorithm_of, key_identifier, spki_of
from meshca.keys.signer import Signer
from meshca.names import TrustDomain
from meshca.roots.source import IssuerRequest

MAX_BACKDATE = timedelta(minutes=5)
BACKDATE_SHARE = 20


def backdate(lifetime: timedelta) -> timedelta:
    """How much earlier than now an authority begins, so that its leaves may, too (DESIGN §8).

    At most a twentieth of its life, as with leaves, so that a short one is not half over when it is new.
    """
    return min(MAX_BACKDATE, lifetime / BACKDATE_SHARE)


def authority_name(trust_domain: TrustDomain, role: str, identifier: str) -> x509.Name:
    """A subject of its own for every authority: paths are built by name, and two with one name confuse
    verifiers (``linkerd.md`` §3.6)."""
    organization = trust_domain.name[:64]  # X.520's upper bound
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, f"meshca {role} {identifier}"),
        ]
    )


def draft_root(trust_domain: TrustDomain, public_key: PublicKey, *, lifetime: timedelta, now: datetime) -> Draft:
    """A self-signed root. It has no path length, so that it can cross-sign its successor."""
    name = authority_name(trust_domain, "root", key_identifier(public_key).hex()[:16]).public_bytes()
    return Draft(
        serial=random_serial(),
        issuer_name=name,
        not_before=(now - backdate(lifetime)).replace(microsecond=0),
        not_after=(now + lifetime).replace(microsecond=0),
        subject=name,
        spki=spki_of(public_key),
        extensions=_authority_extensions(trust_domain, public_key, path_length=None, parent=key_identifier(public_key)),
    )


def draft_issuer(request: IssuerRequest, parents: Sequence[x509.Certificate]) -> Draft:
    """An issuer that signs leaves and nothing else (path length 0), within the life of all that stand above it.

    ``parents`` begins with the certificate whose key signs it and ends with the anchor.
    """
    parent = parents[0]
    begin = max(request.not_before, *(each.not_valid_before_utc for each in parents))
    end = min(request.not_after, *(each.not_valid_after_utc for each in parents))
    return Draft(
        serial=random_serial(),
        issuer_name=parent.subject.public_bytes(),
        not_before=begin.replace(microsecond=0),
        not_after=end.replace(microsecond=0),
        subject=authority_name(request.trust_domain, "issuer", request.issuer_id).public_bytes(),
        spki=spki_of(request.public_key),
        extensions=_authority_extensions(
            request.trust_domain, request.public_key, path_length=0, parent=_key_identifier_of(parent)
        ),
    )


def _authority_extensions(
    trust_domain: TrustDomain, public_key: PublicKey, *, path_length: int | None, parent: bytes
) -> tuple[Extension, ...]:
    name = x509.UniformResourceIdentifier(str(trust_domain.spiffe_id))
    return (
        extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True),
        extension(key_usage(signs_certificates=True), critical=True),
        extension(x509.SubjectAlternativeName([name]), critical=False),
        extension(x509.SubjectKeyIdentifier(key_identifier(public_key)), critical=False),
        extension(x509.AuthorityKeyIdentifier(parent, None, None), critical=False),
    )


def _key_identifier_of(parent: x509.Certificate) -> bytes:
    """The parent's own key identifier; a company's old root may lack one, then the usual SHA-1 (RFC 7093 §2)."""
    try:
        return parent.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return x509.SubjectKeyIdentifier.from_public_key(parent.public_key()).digest


@asn1.sequence
class _RequestInfo:
    """CertificationRequestInfo (RFC 2986 §4.1), without attributes."""

    version: int
    subject: asn1.TLV
    spki: asn1.TLV
    attributes: Annotated[asn1.SetOf[int], asn1.Implicit(0)]


def issuer_csr(trust_domain: TrustDomain, issuer_id: str, signer: Signer) -> bytes:
    """The PKCS#10 with which an issuer's key asks a root for its certificate, DER.

    It asks for nothing but the key and the subject: what else an issuer has is decided where it is
    signed, and judged when it comes back. Raises SignerFault and Unavailable as the key does.
    """
    name = authority_name(trust_domain, "issuer", issuer_id).public_bytes()
    info = asn1.encode_der(
        _RequestInfo(
            version=0,
            subject=asn1.decode_der(asn1.TLV, name),
            spki=asn1.decode_der(asn1.TLV, spki_of(signer.public_key)),
            attributes=asn1.SetOf([]),
        )
    )
    key = signer.public_key
    return seal(info, signer.sign(info), key=key, algorithm=algorithm_of(key))
