"""Attacks as data: each row is one hostile request, the check that must refuse it, and where it is from.

``csr_attacks()`` gives the rows for ``reference/ca-practice.md`` §6, cases 1–44. They speak for
``ACCOUNT`` in ``TRUST_DOMAIN``; ``form`` says which door a row is for (PEM: Istio, DER: Linkerd).
``blocked_hashes()`` must stand on the block-list and ``own_hashes()`` be the CA's own keys.
"""

from __future__ import annotations

from tests.attacks.attack import Attack
from tests.attacks.csr import asking_for_key, blocked_hashes, csr_attacks, own_hashes
from tests.attacks.requests import ACCOUNT, CONTROL_NAMESPACE, LINKERD_NAME, SPIFFE_ID, TRUST_DOMAIN

__all__ = [
    "ACCOUNT",
    "CONTROL_NAMESPACE",
    "LINKERD_NAME",
    "SPIFFE_ID",
    "TRUST_DOMAIN",
    "Attack",
    "asking_for_key",
    "blocked_hashes",
    "csr_attacks",
    "own_hashes",
]
