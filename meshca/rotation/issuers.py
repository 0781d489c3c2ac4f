"""Making an issuer: its key, and its certificate from the root."""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509

from meshca.keys.algorithms import generate, spki_sha256
from meshca.keys.local import LocalSigner
from meshca.keys.sealed import KeyEncryptionKey, seal, unseal
from meshca.names import TrustDomain
from meshca.roots.certificates import backdate, issuer_csr
from meshca.roots.judge import judge
from meshca.roots.source import IssuerRequest, RootSource
from meshca.rotation.authority_set import Issuer, IssuerState


def staged_issuer(
    *, key_type: str, kek: KeyEncryptionKey, root_id: str, because: str, now: datetime
) -> tuple[Issuer, LocalSigner]:
    """A new key, sealed for the store, and the issuer that it will be.

    The row with its SPKI is stored before the root is asked, so that an answer that got lost can
    be found and asked for again (DESIGN §7).
    """
    signer = LocalSigner(generate(key_type))
    spki_hash = spki_sha256(signer.public_key)
    issuer_id = spki_hash.hex()[:16]
    issuer = Issuer(
        id=issuer_id,
        state=IssuerState.STAGED,
        root_id=root_id,
        spki_sha256=spki_hash,
        key_kind="sealed",
        sealed_key=seal(signer, kek, owner=issuer_id),
        chain=(),
        because=because,
        created=now,
    )
    return issuer, signer


def open_key(issuer: Issuer, kek: KeyEncryptionKey) -> LocalSigner:
    """The issuer's key. Raises Misconfigured when it does not open, Unavailable when the KEK is away."""
    return unseal(issuer.sealed_key, kek, owner=issuer.id, spki_hash=issuer.spki_sha256)


def certify(
    issuer: Issuer,
    signer: LocalSigner,
    source: RootSource,
    *,
    trust_domain: TrustDomain,
    lifetime: timedelta,
    now: datetime,
) -> tuple[x509.Certificate, ...]:
    """The issuer's chain from the root, judged. Raises Unavailable, Misconfigured and SignerFault."""
    request = IssuerRequest(
        issuer_id=issuer.id,
        trust_domain=trust_domain,
        public_key=signer.public_key,
        csr=issuer_csr(trust_domain, issuer.id, signer),
        not_before=now - backdate(lifetime),
        not_after=now + lifetime,
    )
    chain = source.certify(request)
    judge(chain, signer=signer, trust_domain=trust_domain, roots=source.roots(), now=now)
    return chain
