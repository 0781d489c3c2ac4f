"""Authority sets with real keys and certificates, for tests of gates and of the controller."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from cryptography import x509

from meshca.issuance.draft import sign
from meshca.keys.algorithms import generate, spki_sha256
from meshca.keys.local import LocalSigner
from meshca.keys.sealed import FileKek
from meshca.names import TrustDomain
from meshca.roots.certificates import draft_root
from meshca.roots.held import HeldRoot
from meshca.rotation.authority_set import AuthoritySet, IssuerState, Root, RootState, loaded, signed, stage
from meshca.rotation.issuers import certify, staged_issuer

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TRUST_DOMAIN = TrustDomain("cluster.local")
KEK = FileKek(bytes(range(32)), "a test")
LIFETIME = timedelta(days=30)
KEY_TYPE = "ecdsa-p256"


def new_root() -> HeldRoot:
    signer = LocalSigner(generate(KEY_TYPE))
    draft = draft_root(TRUST_DOMAIN, signer.public_key, lifetime=timedelta(days=3650), now=NOW)
    return HeldRoot((x509.load_der_x509_certificate(sign(draft, signer)),), signer)


def published(root: HeldRoot) -> Root:
    certificate = root.roots()[0]
    return Root("root", certificate, spki_sha256(certificate.public_key()), RootState.ACTIVE)  # type: ignore[arg-type] # ours


def active_set(root: HeldRoot) -> AuthoritySet:
    """The first set: one root, and an active issuer under it."""
    issuer, signer = staged_issuer(key_type=KEY_TYPE, kek=KEK, root_id="root", because="first", now=NOW)
    chain = certify(issuer, signer, root, trust_domain=TRUST_DOMAIN, lifetime=LIFETIME, now=NOW)
    return AuthoritySet(
        trust_domain=str(TRUST_DOMAIN),
        epoch=1,
        bundle_sequence=1,
        roots=(published(root),),
        issuers=(replace(issuer, state=IssuerState.ACTIVE, chain=chain),),
    )


def loaded_set(*, publish: bool = True) -> tuple[AuthoritySet, LocalSigner]:
    """A set whose second issuer is loaded, and that issuer's key; ``publish`` is whether its root is in the bundle."""
    root = new_root()
    present = active_set(root)
    issuer, signer = staged_issuer(key_type=KEY_TYPE, kek=KEK, root_id="root", because="a test", now=NOW)
    chain = certify(issuer, signer, root, trust_domain=TRUST_DOMAIN, lifetime=LIFETIME, now=NOW)
    present = loaded(signed(stage(present, issuer), issuer.id, chain), issuer.id)
    return (present if publish else replace(present, roots=(published(new_root()),))), signer
