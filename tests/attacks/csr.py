"""Hostile requests: ``reference/ca-practice.md`` §6, cases 1–44."""

from __future__ import annotations

import hashlib
from functools import cache

from meshca.csr import Form
from tests.attacks import csr_form, csr_keys, csr_names, keys
from tests.attacks.attack import Attack
from tests.attacks.keys import Key
from tests.attacks.requests import ISTIO, LINKERD, Body


@cache
def csr_attacks() -> tuple[Attack, ...]:
    """All rows. Their requests are made when they are first asked for."""
    return (*csr_keys.rows(), *csr_form.rows(), *csr_names.rows())


def blocked_hashes() -> frozenset[bytes]:
    """SHA-256 of the SubjectPublicKeyInfos that cases 10 and 11 take to be on the block-list."""
    return _hashes(keys.rsa_of(3072), keys.p256("compromised"))


def own_hashes() -> frozenset[bytes]:
    """The same for the CA's own keys."""
    return _hashes(keys.p256("issuer"))


def asking_for_key(spki: bytes, form: Form) -> bytes:
    """A request for a key that we have not, such as a live CA's own; another key signed it."""
    key = Key(spki, keys.ECDSA_SHA256, keys.p256().sign)
    return Body(door=ISTIO if form is Form.PEM else LINKERD, key=key).encoded()


def _hashes(*found: Key) -> frozenset[bytes]:
    return frozenset(hashlib.sha256(key.spki).digest() for key in found)
