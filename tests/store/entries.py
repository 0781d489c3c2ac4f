"""Entries whose certificates are real, for tests that compare the two."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from meshca.issuance.ledger import Entry
from meshca.keys.algorithms import spki_sha256

NOW = datetime(2026, 11, 23, 12, 0, 0, 250_000, tzinfo=UTC)


@cache
def _issuer_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def a_leaf(
    account: str = "web",
    *,
    namespace: str = "shop",
    issued: datetime = NOW,
    lifetime: timedelta = timedelta(hours=24),
    service: str = "istio",
    pod: str = "",
    cluster: str = "Kubernetes",
    issuer_id: str = "feedfacefeedface",
    epoch: int = 1,
) -> Entry:
    """An entry with a certificate and a key of its own."""
    identity = f"spiffe://cluster.local/ns/{namespace}/sa/{account}"
    public_key = ec.generate_private_key(ec.SECP256R1()).public_key()
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an issuer")])
    begin = issued.replace(microsecond=0)
    certificate = (
        x509.CertificateBuilder(
            issuer, x509.Name([]), public_key, secrets.randbits(126) | 1 << 126, begin, begin + lifetime
        )
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), critical=True)
        .sign(_issuer_key(), hashes.SHA256())
    )
    return Entry(
        serial=certificate.serial_number,
        identity=identity,
        cluster=cluster,
        namespace=namespace,
        service_account=account,
        pod=pod or f"{account}-7c9d8b5f6-x2x4z",
        pod_uid="0f8fad5b-d9cb-469f-a165-70867728950e",
        node="node-1",
        peer="10.1.2.3:45678",
        service=service,
        proof="jwks",
        credential="jti 5f0c",
        request_id="8d3f",
        spki_sha256=spki_sha256(public_key),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        issued=issued,
        der=certificate.public_bytes(Encoding.DER),
        issuer_id=issuer_id,
        epoch=epoch,
        bundle_sequence=1,
    )
