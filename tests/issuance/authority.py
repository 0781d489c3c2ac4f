"""An authority for tests: a root, an issuer under it, and the snapshot that issues."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509

from meshca.issuance.authorities import Authority
from meshca.issuance.draft import sign
from meshca.keys.algorithms import generate
from meshca.keys.local import LocalSigner
from meshca.names import TrustDomain
from meshca.roots.certificates import draft_root
from meshca.roots.held import HeldRoot
from meshca.roots.source import IssuerRequest

NOW = datetime(2026, 11, 23, 12, 0, 0, 250_000, tzinfo=UTC)
TD = TrustDomain("cluster.local")


def make_authority(
    *,
    issuer_type: str = "ecdsa-p256",
    root_life: timedelta = timedelta(days=3650),
    issuer_life: timedelta = timedelta(days=30),
    epoch: int = 1,
    now: datetime = NOW,
) -> Authority:
    """A root of its own with one issuer under it."""
    root_signer, signer = LocalSigner(generate("ecdsa-p256")), LocalSigner(generate(issuer_type))
    root = x509.load_der_x509_certificate(
        sign(draft_root(TD, root_signer.public_key, lifetime=root_life, now=now), root_signer)
    )
    chain = HeldRoot((root,), root_signer).certify(
        IssuerRequest(
            issuer_id="feedfacefeedface",
            trust_domain=TD,
            public_key=signer.public_key,
            csr=b"",
            not_before=now - timedelta(minutes=5),
            not_after=now + issuer_life,
        )
    )
    return Authority(
        epoch=epoch, issuer_id="feedfacefeedface", chain=chain, roots=(root,), bundle_sequence=1, signer=signer
    )
