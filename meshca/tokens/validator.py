"""The port of everything that can prove who bears a token."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from meshca.identity import Identity

MAX_TOKEN = 16 * 1024
"""Bytes of a token, before anything else is looked at (``ca-practice.md`` §6 case 54)."""


@dataclass(frozen=True, slots=True)
class Proven:
    """An identity, and how it was proven."""

    identity: Identity
    kind: str
    """``jwks`` or ``review``: what the ledger's ``proof`` column says."""
    expires: datetime
    """The token's own end."""
    credential: str = ""
    """The token's identifier as audit logs of Kubernetes write it (``JTI=…``); empty where it has none; never
    the token."""


class Validator(Protocol):
    """Proves a bearer's token for one cluster."""

    @property
    def checks(self) -> tuple[str, ...]:
        """The names of what is checked, in the order in which it is: what stands before the check that
        refused has passed, which is how ``meshca explain token`` can tell it step by step."""

    async def prove(self, token: str, *, audiences: frozenset[str], now: datetime, unbound: bool = False) -> Proven:
        """Prove that the token speaks for a service account of this cluster, to one of our audiences.

        A token that is bound to no pod is refused unless ``unbound``: the listener says whether it
        takes such tokens (virtual machines have no other). The caller has capped the token's size.
        Raises NotProven, whose ``check`` is one of ``checks``; Unavailable when what it needs cannot
        be reached in time, which is never turned into a refusal.
        """
