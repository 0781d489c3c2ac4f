"""A root as people hand it over: certificates in some order, which must lead from the signing key to an anchor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from meshca.errors import Misconfigured
from meshca.keys.algorithms import PublicKey, spki_of


def in_order(certificates: Sequence[x509.Certificate], key: PublicKey) -> tuple[x509.Certificate, ...]:
    """The certificate of this key first, each one's parent after it, the self-signed anchor last.

    Files come in both orders, so the signatures decide and not the place. Raises Misconfigured when
    no certificate has the key, when the anchor is missing, and when a certificate is left over: what
    does not belong to the chain was put there for a reason that we do not know.
    """
    left = list(dict.fromkeys(certificates))
    current = next((each for each in left if _spki(each) == spki_of(key)), None)
    if current is None:
        names = ", ".join(f"'{subject(each)}'" for each in left) or "none"
        raise Misconfigured(
            f"the root's key belongs to none of its certificates ({names}): give the key of one of them"
        )
    chain = [current]
    left.remove(current)
    while not signed_by(current, current):
        parent = next((each for each in left if signed_by(current, each)), None)
        if parent is None:
            raise Misconfigured(
                f"the chain of the root ends at '{subject(current)}', which "
                f"'{current.issuer.rfc4514_string()}' signed: add the certificates up to the self-signed anchor"
            )
        chain.append(parent)
        left.remove(parent)
        current = parent
    if left:
        raise Misconfigured(
            f"'{subject(left[0])}' does not stand between the root's key and its anchor '{subject(current)}': "
            "leave it out of the file"
        )
    return tuple(chain)


def unfit(chain: Sequence[x509.Certificate], now: datetime) -> list[str]:
    """Why issuers cannot be signed under this chain (key's certificate first, anchor last); empty when they can.

    The same is found when an issuer under it is judged, but then told of the issuer; this says it of the
    file that an operator can change.
    """
    return [f"'{subject(each)}' {why}" for below, each in enumerate(chain) for why in _faults(each, below, now)]


def subject(certificate: x509.Certificate) -> str:
    """The subject as messages name it."""
    return certificate.subject.rfc4514_string() or "without a subject"


def signed_by(child: x509.Certificate, parent: x509.Certificate) -> bool:
    """Whether the parent's key signed the child, and its name says so."""
    try:
        child.verify_directly_issued_by(parent)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _faults(certificate: x509.Certificate, below: int, now: datetime) -> Iterator[str]:
    """``below`` is how many authorities of the chain stand below; one more, our issuer, will."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begin:
        yield f"is not valid before {begin:%Y-%m-%d %H:%M:%S}Z"
    if now >= end:
        yield f"expired at {end:%Y-%m-%d %H:%M:%S}Z"
    if certificate.version is not x509.Version.v3:
        yield "is an X.509 version 1 certificate, which cannot say that it is a CA"
        return
    extensions = {each.oid: each.value for each in certificate.extensions}
    constraints = extensions.get(x509.BasicConstraints.oid)
    if not isinstance(constraints, x509.BasicConstraints) or not constraints.ca:
        yield "is not a CA (basic constraints)"
    elif constraints.path_length is not None and constraints.path_length < below + 1:
        yield f"allows {constraints.path_length} authorities below it (path length), and an issuer makes {below + 1}"
    usage = extensions.get(x509.KeyUsage.oid)
    if isinstance(usage, x509.KeyUsage) and not usage.key_cert_sign:
        yield "must not sign certificates (key usage lacks keyCertSign)"


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
