"""A small authority made with ``cryptography`` alone, which issues what a client must accept and what it must not."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from meshca.cli.fetching.verdict import Delivery

NOW = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
NAME = "cart.shop.serviceaccount.identity.linkerd.cluster.local"
SPIFFE_ID = "spiffe://cluster.local/ns/shop/sa/cart"
BOTH = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]

Key = ec.EllipticCurvePrivateKey


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Leaf:
    """What the leaf says; a test replaces what it is about."""

    names: tuple[x509.GeneralName, ...]
    key: Key = field(default_factory=new_key)
    begin: datetime = NOW - timedelta(minutes=1)
    end: datetime = NOW + timedelta(hours=1)
    usages: tuple[x509.ObjectIdentifier, ...] = tuple(BOTH)
    ca: bool = False


@dataclass(frozen=True)
class Chain:
    """A root and an issuer, with their keys."""

    root: x509.Certificate
    issuer: x509.Certificate
    issuer_key: Key

    def deliver(self, leaf: Leaf, *, valid_until: datetime | None = None) -> Delivery:
        return Delivery(
            leaf=self.sign(leaf), chain=(self.issuer,), roots=(self.root,), valid_until=valid_until or leaf.end
        )

    def sign(self, leaf: Leaf) -> x509.Certificate:
        builder = _builder(x509.Name([]), self.issuer.subject, leaf.key, leaf.begin, leaf.end)
        builder = builder.add_extension(x509.BasicConstraints(leaf.ca, None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName(leaf.names), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(leaf.usages), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.issuer_key.public_key()), critical=False
        )
        return builder.sign(self.issuer_key, hashes.SHA256())


def make_chain(name: str = "one") -> Chain:
    root_key, issuer_key = new_key(), new_key()
    root_name, issuer_name = _name(f"root {name}"), _name(f"issuer {name}")
    root = _authority(root_name, root_name, root_key, root_key)
    return Chain(root, _authority(issuer_name, root_name, issuer_key, root_key), issuer_key)


def linkerd_leaf() -> Leaf:
    return Leaf((x509.DNSName(NAME), x509.UniformResourceIdentifier(SPIFFE_ID)))


def istio_leaf() -> Leaf:
    return Leaf((x509.UniformResourceIdentifier(SPIFFE_ID),))


def with_names(leaf: Leaf, *names: x509.GeneralName) -> Leaf:
    return replace(leaf, names=names)


def _authority(subject: x509.Name, issuer: x509.Name, key: Key, parent: Key) -> x509.Certificate:
    builder = _builder(subject, issuer, key, NOW - timedelta(days=1), NOW + timedelta(days=30))
    builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return builder.sign(parent, hashes.SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(1 + int.from_bytes(os.urandom(15)))
        .not_valid_before(begin)
        .not_valid_after(end)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
