"""What came back from outside, read before it is believed.

A root that is in Vault, in an HSM or in somebody's hands may answer with another key, a truncated
life, ``CA:FALSE``, or a chain to a root that nobody trusts (``ca-practice.md`` §3.1, §6 case 59).
The rules are these, and each is a line of :func:`_findings`:

- the issuer's certificate has our key, is a CA, signs nothing but leaves (path length 0), may sign
  certificates and CRLs, has a subject key identifier and the trust domain's SPIFFE ID, no path;
- its life covers now and lies within every parent's;
- the chain leads, signature by signature, to a root that we are configured to trust;
- a throwaway leaf, signed by the key that would be used, verifies end to end with a verifier that
  shares nothing with our own code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from meshca.errors import Misconfigured
from meshca.issuance.authorities import Authority
from meshca.issuance.draft import sign
from meshca.issuance.profile import draft_leaf
from meshca.keys.algorithms import PublicKey, generate, spki_of, spki_sha256
from meshca.keys.signer import Signer
from meshca.names import SpiffeId, TrustDomain

_THROWAWAY_LIFE = timedelta(minutes=1)


def fingerprint(certificate: x509.Certificate) -> str:
    """``sha256:`` and 64 hexadecimal digits, as configuration names roots."""
    return "sha256:" + hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def judge(
    chain: tuple[x509.Certificate, ...],
    *,
    signer: Signer,
    trust_domain: TrustDomain,
    roots: Sequence[x509.Certificate],
    now: datetime,
) -> None:
    """Accept a chain for the issuer key behind ``signer``, or raise Misconfigured with every finding."""
    findings = list(_findings(chain, signer.public_key, trust_domain, roots, now))
    if not findings:
        findings = list(_throwaway(chain, signer, trust_domain, roots, now))
    if findings:
        raise Misconfigured("the issuer's chain was not accepted: " + "; ".join(findings))


def _findings(
    chain: tuple[x509.Certificate, ...],
    public_key: PublicKey,
    trust_domain: TrustDomain,
    roots: Sequence[x509.Certificate],
    now: datetime,
) -> Iterator[str]:
    if not chain:
        yield "it is empty"
        return
    yield from _issuer(chain[0], public_key, trust_domain)
    anchor = next((root for root in roots if _signed_by(chain[-1], root)), None)
    if anchor is None:
        known = ", ".join(fingerprint(root) for root in roots) or "none"
        yield (
            f"its last certificate was issued by '{chain[-1].issuer.rfc4514_string()}', "
            f"which is none of the configured roots ({known})"
        )
        return
    path = (*chain, anchor)
    for child, parent in pairwise(path):
        if not _signed_by(child, parent):
            yield f"'{_subject(child)}' was not signed by '{_subject(parent)}': wrong order, or a broken chain"
    # Of what stands above it, only that it is valid: a company's own certificates may outlive each other.
    for parent in path[1:]:
        if not (
            parent.not_valid_before_utc <= chain[0].not_valid_before_utc
            and chain[0].not_valid_after_utc <= parent.not_valid_after_utc
        ):
            yield (
                f"'{_subject(chain[0])}' is valid until {chain[0].not_valid_after_utc}, outside the life of "
                f"'{_subject(parent)}' above it"
            )
    for each in path:
        if not each.not_valid_before_utc <= now < each.not_valid_after_utc:
            yield f"'{_subject(each)}' is valid from {each.not_valid_before_utc} to {each.not_valid_after_utc}, not now"


def _issuer(certificate: x509.Certificate, public_key: PublicKey, trust_domain: TrustDomain) -> Iterator[str]:
    if spki_sha256(certificate.public_key()) != spki_sha256(public_key):  # type: ignore[arg-type] # compared only
        yield "its first certificate has another public key than the one that was asked for"
    extensions = {each.oid: each.value for each in certificate.extensions}
    constraints = extensions.get(x509.BasicConstraints.oid)
    if not isinstance(constraints, x509.BasicConstraints) or not constraints.ca:
        yield "its first certificate is not a CA"
    elif constraints.path_length != 0:
        yield f"its path length is {constraints.path_length}, not 0: it could make further authorities"
    usage = extensions.get(x509.KeyUsage.oid)
    if not isinstance(usage, x509.KeyUsage) or not usage.key_cert_sign:
        yield "its key usage lacks keyCertSign"
    if x509.SubjectKeyIdentifier.oid not in extensions:
        yield "it has no subject key identifier"
    names = extensions.get(x509.SubjectAlternativeName.oid)
    uris = (
        names.get_values_for_type(x509.UniformResourceIdentifier)
        if isinstance(names, x509.SubjectAlternativeName)
        else []
    )
    if uris != [str(trust_domain.spiffe_id)]:
        yield f"its URI names are {uris}, not {trust_domain.spiffe_id} alone"


def _throwaway(
    chain: tuple[x509.Certificate, ...],
    signer: Signer,
    trust_domain: TrustDomain,
    roots: Sequence[x509.Certificate],
    now: datetime,
) -> Iterator[str]:
    """Sign a leaf that nobody will see, and have somebody else's verifier follow it to a root."""
    authority = Authority(0, "throwaway", chain, tuple(roots), 0, signer)
    public_key = generate("ecdsa-p256").public_key()
    name = x509.UniformResourceIdentifier(str(SpiffeId(trust_domain, ("meshca", "throwaway"))))
    draft = draft_leaf(
        (name,),
        public_key=public_key,
        spki=spki_of(public_key),
        authority=authority,
        lifetime=_THROWAWAY_LIFE,
        now=now,
    )
    leaf = x509.load_der_x509_certificate(sign(draft, signer))
    problem = unverifiable(leaf, chain, roots, now)
    if problem is not None:
        yield f"a throwaway leaf under it does not verify: {problem}"


def unverifiable(
    leaf: x509.Certificate,
    chain: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    now: datetime,
) -> str | None:
    """Why a leaf with this chain does not verify to these roots, or None when it does.

    Authorities' extensions are not held to the web's profile, since a company's root was made
    before us and mesh proxies do not demand it either.
    """
    authorities = ExtensionPolicy.permit_all().require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
    verifier = (
        PolicyBuilder()
        .store(Store(list(roots)))
        .time(now)
        .extension_policies(ca_policy=authorities, ee_policy=ExtensionPolicy.webpki_defaults_ee())
        .build_client_verifier()
    )
    try:
        verifier.verify(leaf, list(chain))
    except VerificationError as error:
        return str(error)
    return None


def _signed_by(child: x509.Certificate, parent: x509.Certificate) -> bool:
    try:
        child.verify_directly_issued_by(parent)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _subject(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()
