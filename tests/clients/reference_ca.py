"""A CA for the judges' own tests: a root, two intermediates, and a second root that only stands in the bundle."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BOTH_SIDES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
_NOTHING_KNOWS = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")


def pem(certificate: x509.Certificate) -> str:
    """The certificate as text."""
    return certificate.public_bytes(Encoding.PEM).decode()


def new_key() -> ec.EllipticCurvePrivateKey:
    """A P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True, slots=True)
class LeafPlan:
    """A leaf to be: as upstream's unless a test says otherwise."""

    public_key: CertificateIssuerPublicKeyTypes
    names: Sequence[x509.GeneralName]
    begins: datetime
    ends: datetime
    usages: Sequence[x509.ObjectIdentifier] = BOTH_SIDES
    ca: bool = False
    san_is_critical: bool = True
    key_identifier: bool = True
    unknown_critical: bool = False
    digest: hashes.SHA224 | hashes.SHA256 = field(default_factory=hashes.SHA256)
    foreign: bool = False
    """Signed by the issuer's namesake, with another key."""


class ReferenceCa:
    """``chain`` is the leaf's issuer, then the one above; ``bundle`` is the two roots.

    The issuer of ``constrained_chain`` is the same but for its URI name constraints.
    """

    def __init__(self, trust_domain: str = "cluster.local") -> None:
        self._serials = itertools.count(1)
        self._domain = trust_domain
        self._root_key, self._middle_key, self._issuer_key = new_key(), new_key(), new_key()
        other_key = new_key()
        self.root = self._authority("root", self._root_key, None, self._root_key)
        other_root = self._authority("other root", other_key, None, other_key)
        middle = self._authority("middle", self._middle_key, self.root, self._root_key)
        issuer = self._authority("issuer", self._issuer_key, middle, self._middle_key)
        twin = self._authority("issuer", self._issuer_key, middle, self._middle_key, constrained=True)
        self.chain = (issuer, middle)
        self.constrained_chain = (twin, middle)
        self.bundle = (self.root, other_root)

    @property
    def anchors(self) -> str:
        """The bundle as PEM."""
        return "".join(map(pem, self.bundle))

    def leaf(self, plan: LeafPlan) -> x509.Certificate:
        """Sign what was planned, good or bad."""
        issuer = self.chain[0]
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(issuer.subject)
            .serial_number(next(self._serials))
            .public_key(plan.public_key)
            .not_valid_before(plan.begins)
            .not_valid_after(plan.ends)
            .add_extension(x509.BasicConstraints(plan.ca, None), critical=True)
            .add_extension(_usage(plan.ca), critical=True)
            .add_extension(x509.ExtendedKeyUsage(plan.usages), critical=False)
        )
        if plan.names:
            builder = builder.add_extension(x509.SubjectAlternativeName(plan.names), plan.san_is_critical)
        if plan.key_identifier:
            own = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._issuer_key.public_key())
            builder = builder.add_extension(own, critical=False)
        if plan.ca:
            ski = x509.SubjectKeyIdentifier.from_public_key(plan.public_key)
            builder = builder.add_extension(ski, critical=False)
        if plan.unknown_critical:
            builder = builder.add_extension(_NOTHING_KNOWS, critical=True)
        return builder.sign(new_key() if plan.foreign else self._issuer_key, plan.digest)

    def _authority(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        parent: x509.Certificate | None,
        parent_key: ec.EllipticCurvePrivateKey,
        *,
        constrained: bool = False,
    ) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{self._domain} {name}")])
        ski = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(parent_key.public_key())
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(parent.subject if parent else subject)
            .serial_number(next(self._serials))
            .public_key(key.public_key())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(True, None), critical=True)
            .add_extension(_usage(True), critical=True)
            .add_extension(ski, critical=False)
            .add_extension(aki, critical=False)
        )
        if constrained:
            permitted = [x509.UniformResourceIdentifier(self._domain)]
            builder = builder.add_extension(x509.NameConstraints(permitted, None), critical=True)
        return builder.sign(parent_key, hashes.SHA256())


def _usage(ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
