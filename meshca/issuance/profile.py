"""What a leaf looks like, for each mesh, and for how long it is valid.

Nothing of the CSR enters a leaf but its public key. Subjects are empty, so the SAN is critical
(X509-4). Every leaf says ``CA:FALSE``, since py-spiffe refuses one that keeps silent (X509-10).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from meshca.csr import Expected, Form
from meshca.errors import BadRequest, Unavailable
from meshca.identity import Identity
from meshca.issuance.authorities import Authority
from meshca.issuance.draft import Draft, extension, random_serial
from meshca.keys.algorithms import PublicKey
from meshca.names import BadName

MAX_BACKDATE = timedelta(minutes=2)
"""How much earlier than now a leaf may begin, for peers whose clocks are behind."""

BACKDATE_SHARE = 20
"""A leaf is backdated by at most a twentieth of its life: ztunnel renews at the middle between
notBefore and notAfter, which must lie well ahead of now (``istio.md`` §0.4)."""

SHORTEST = timedelta(seconds=1)
"""Certificates count whole seconds: what would live shorter is not worth its signature."""

EMPTY_NAME = x509.Name([]).public_bytes()

_LEAF = extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
_BOTH_SIDES = extension(
    x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
)


def key_usage(*, encipherment: bool = False, signs_certificates: bool = False) -> x509.KeyUsage:
    """Leaves: digitalSignature, with keyEncipherment for RSA alone. Authorities: keyCertSign, cRLSign (X509-14…16)."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


_USAGE = extension(key_usage(), critical=True)
_USAGE_RSA = extension(key_usage(encipherment=True), critical=True)


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long leaves are valid."""

    default: timedelta
    minimum: timedelta
    maximum: timedelta
    jitter: float
    """The share of a life, 0 to 0.5, by which a random part is taken off, so that proxies that
    started together do not renew together for ever."""

    def within(self, minimum: timedelta | None, maximum: timedelta | None) -> Lifetimes:
        """The same, narrowed by the bounds of a policy rule."""
        if minimum is None and maximum is None:
            return self
        low = self.minimum if minimum is None else max(minimum, self.minimum)
        high = self.maximum if maximum is None else min(maximum, self.maximum)
        low = min(low, high)
        return replace(self, minimum=low, maximum=high, default=min(max(self.default, low), high))

    def granted(self, asked: timedelta | None) -> timedelta:
        """Zero, negative or nothing asks for the default; what is out of bounds is clamped (case 45)."""
        if asked is None or asked <= timedelta():
            asked = self.default
        granted = min(max(asked, self.minimum), self.maximum)
        # Jitter only shortens, and never below the minimum; not a secret, so any generator will do.
        shortened = granted * (1 - self.jitter * random.random())  # noqa: S311 - not a secret
        return max(shortened, min(self.minimum, granted))


@dataclass(frozen=True, slots=True)
class Profile:
    """One mesh's door: the CSR that its clients send, and the leaf that they take."""

    service: str
    """``linkerd``, ``istio`` or ``serving``: what the ledger calls the door."""
    form: Form
    expected: Callable[[Identity], Expected]
    """What the CSR must name. Raises BadName when the mesh has no name for the identity."""
    names: Callable[[Identity], tuple[x509.GeneralName, ...]]
    """The SANs of the leaf, in order."""

    def expect(self, identity: Identity) -> tuple[Expected, tuple[x509.GeneralName, ...]]:
        """What the CSR must name, and what the leaf will. Raises BadRequest when this mesh has no name for it."""
        try:
            return self.expected(identity), self.names(identity)
        except BadName as error:
            raise BadRequest(str(error), check="identity") from None


def istio_profile() -> Profile:
    """PEM in; one critical URI SAN (``istio.md`` §2.3)."""
    return Profile(
        service="istio",
        form=Form.PEM,
        expected=lambda identity: Expected.istio(identity.spiffe_id),
        names=lambda identity: (x509.UniformResourceIdentifier(str(identity.spiffe_id)),),
    )


def linkerd_profile(control_namespace: str) -> Profile:
    """DER in; the DNS name first, since a peer's identity is the first SAN, then the SPIFFE ID (``linkerd.md`` §0)."""
    return Profile(
        service="linkerd",
        form=Form.DER,
        expected=lambda identity: Expected.linkerd(identity.linkerd_name(control_namespace)),
        names=lambda identity: (
            x509.DNSName(str(identity.linkerd_name(control_namespace))),
            x509.UniformResourceIdentifier(str(identity.spiffe_id)),
        ),
    )


def draft_leaf(
    names: tuple[x509.GeneralName, ...],
    *,
    public_key: PublicKey,
    spki: bytes,
    authority: Authority,
    lifetime: timedelta,
    now: datetime,
) -> Draft:
    """A leaf for these names under this authority.

    Valid from now, backdated, for ``lifetime``, and never outside any certificate of the chain.
    Raises Unavailable when the chain has ended or not begun, so that no leaf could be valid now.
    """
    end = min(now + lifetime, authority.not_after)
    if now < authority.not_before or end - now < SHORTEST:
        raise Unavailable(
            f"issuer {authority.issuer_id} can sign nothing now: its chain is valid from {authority.not_before} to "
            f"{authority.not_after}, and it is {now}; rotate the issuer, or mend the clock"
        )
    begin = max(now - min(MAX_BACKDATE, (end - now) / BACKDATE_SHARE), authority.not_before)
    return Draft(
        serial=random_serial(),
        issuer_name=authority.issuer_name,
        # A part of a second is cut off at both ends: it begins a little earlier and ends no later.
        not_before=begin.replace(microsecond=0),
        not_after=end.replace(microsecond=0),
        subject=EMPTY_NAME,
        spki=spki,
        extensions=(
            _LEAF,
            _USAGE_RSA if isinstance(public_key, rsa.RSAPublicKey) else _USAGE,
            _BOTH_SIDES,
            extension(x509.SubjectAlternativeName(names), critical=True),
            # By key alone: issuer and serial would bind a leaf to one of two cross-signed twins.
            extension(x509.AuthorityKeyIdentifier(authority.key_identifier, None, None), critical=False),
        ),
    )
