"""The sections about what signs and what is signed: root, issuer, leaf, CSR."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from meshca.config.section import Section
from meshca.config.values import File, Fingerprint, Fraction, Lifetime, later

_LATER = "follows in a later version; write"

RootKind = Annotated[
    Literal["file"],
    later(
        vault_pki=f"a root in Vault's PKI engine {_LATER} file",
        vault_transit=f"a root key in Vault's Transit engine {_LATER} file",
        pkcs11=f"a root key in an HSM {_LATER} file",
    ),
]

KeyKind = Annotated[
    Literal["sealed"],
    later(
        file=f"an issuer's key in a file of its own {_LATER} sealed",
        vault_transit=f"an issuer's key in Vault {_LATER} sealed",
        pkcs11=f"an issuer's key in an HSM {_LATER} sealed",
    ),
]


def _inside(share: float) -> float:
    if not 0 < share < 1:
        raise ValueError("write more than 0% and less than 100%: an issuer is replaced during its life")
    return share


def _shortest(known: dict[str, timedelta]) -> timedelta:
    """5 minutes or ``lifetime``. Where ``lifetime`` was refused, anything will do: the problem is told there."""
    return min(timedelta(minutes=5), known.get("lifetime", timedelta(minutes=5)))


def _longest(known: dict[str, timedelta]) -> timedelta:
    return known.get("lifetime", timedelta(hours=24))


class Root(Section):
    """Where trust comes from (DESIGN §7)."""

    kind: RootKind = "file"
    """Where the root's key lives. `file` is a PEM file, which may be encrypted, and may be kept offline and mounted
    only while an issuer is to be signed. Vault and HSMs follow in later versions."""
    certificate: File | None = None
    """PEM file of the root's certificate; where the root key belongs to an intermediate of your own PKI, the chain
    from it up to the anchor. `meshca init` writes it, or takes the one that is there."""
    key: File | None = None
    """PEM file of the root's private key, mode 0600 (or 0440). Without it a running server goes on issuing leaves,
    and only the next issuer waits, so that it may stay offline in between."""
    passphrase_file: File | None = None
    """File with the passphrase of an encrypted `root.key`. A passphrase itself never stands in the configuration."""
    fingerprints: tuple[Fingerprint, ...] = ()
    """SHA-256 fingerprints of the roots under which an issuer may chain. With at least one, an issuer whose chain ends
    elsewhere is refused, whatever the file above says: it keeps a swapped file from becoming a new trust anchor."""


class Kek(Section):
    """The key-encryption key."""

    file: File = Path("/var/lib/meshca/kek")
    """File with 32 random bytes in base64, mode 0600 (or 0440), made by `meshca init` when it is missing. Without it
    the sealed keys cannot be opened and a new issuer is needed, so back it up, and not beside the database."""


class IssuerKeys(Section):
    """Where the issuers' private keys live."""

    kind: KeyKind = "sealed"
    """`sealed` keeps them in the store, encrypted with AES-256-GCM under the key-encryption key. Other kinds follow in
    later versions."""
    kek: Kek = Kek()


class Issuer(Section):
    """The intermediate that signs leaves, and how often it is replaced (DESIGN §8)."""

    keys: IssuerKeys = IssuerKeys()
    key_type: Literal["ecdsa-p256", "ecdsa-p384", "rsa-2048", "rsa-3072", "rsa-4096"] = "ecdsa-p256"
    """Type of the next issuer's key. P-256 signs fastest and every client takes it; an RSA-4096 issuer signs about a
    tenth as many leaves in the same time."""
    lifetime: Lifetime = timedelta(days=30)
    """How long an issuer is valid. Longer means fewer signatures by the root (an offline key is fetched less often) and
    more time to notice that it cannot be reached; shorter bounds what a stolen issuer key is good for. Its rest after
    `rotate_at` must hold the longest leaf, `rotation.propagation` and `rotation.skew`."""
    rotate_at: Annotated[Fraction, AfterValidator(_inside)] = 0.5
    """The part of its life after which an issuer is replaced by itself. Later leaves less time for repairs when the
    root cannot be reached."""


class Leaf(Section):
    """The certificates of workloads."""

    lifetime: Lifetime = timedelta(hours=24)
    """How long a leaf is valid when its client asks for no particular time (Linkerd's never do; Istio's ask for 24h).
    Shorter bounds what a stolen key is good for, and costs issuances: clients renew at half (ztunnel) to seven tenths
    (Linkerd) of it, and a server that is down longer than the rest stops their traffic."""
    min_lifetime: Lifetime = Field(default_factory=_shortest)
    """The shortest life that is granted: what asks for less gets this. Unless set, 5m or `leaf.lifetime`, whichever is
    less."""
    max_lifetime: Lifetime = Field(default_factory=_longest)
    """The longest life that is granted: what asks for more gets this, and no error, since Istio's clients would not
    start after one. Unless set, `leaf.lifetime`. The rest of an issuer's life is measured by it."""
    jitter: Fraction = 0.05
    """A random part of each life, up to this share, is taken off, so that workloads that started together do not
    renew together for ever. At most 50%."""


class Csr(Section):
    """What is refused in a certificate signing request beyond what is never allowed."""

    blocked_keys: File | None = None
    """File of public keys that get no certificate, by the SHA-256 of their DER SubjectPublicKeyInfo;
    `docs/blocked-keys.md` has its format. For keys that are known to be compromised. Our own issuers' keys are
    always blocked."""
    shared_keys: Literal["allow", "alarm", "refuse"] = "alarm"
    """What happens when a second identity asks with a key that another one has used: a key that two workloads hold
    proves neither. `alarm` issues, logs and counts it; `refuse` stops workloads that share an image with a baked-in
    key."""
