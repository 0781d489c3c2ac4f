"""The port of the durable record of every certificate released."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

MAX_SERIAL_BITS = 127
"""So that the DER INTEGER of a serial has at most 16 octets and is positive (RFC 5280 §4.1.2.2)."""


def serial_text(serial: int) -> str:
    """A serial as logs, ``certs list`` and ``fetch --log`` print it: 32 lower-case hexadecimal digits."""
    return f"{serial:032x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One certificate about to be released: who, how proven, what, under which authority set.

    The ledger adds what only it knows: the writer, the writer's gapless counter and its running hash.
    """

    serial: int
    # who
    identity: str
    """The SPIFFE ID, or the first DNS name of a serving certificate."""
    cluster: str
    namespace: str
    service_account: str
    pod: str = ""
    pod_uid: str = ""
    node: str = ""
    peer: str = ""
    # how
    service: str
    """The door: ``linkerd``, ``istio``, or ``serving`` for our own."""
    proof: str
    """``jwks``, ``review``, or ``self``."""
    credential: str = ""
    request_id: str = ""
    # what
    spki_sha256: bytes
    not_before: datetime
    not_after: datetime
    issued: datetime
    der: bytes
    # under which authority set
    issuer_id: str
    epoch: int
    bundle_sequence: int


class Ledger(Protocol):
    """Records certificates before they are released."""

    async def record(self, entry: Entry) -> None:
        """Return only when the entry is durable and the epoch it was signed under was still current
        in the transaction that holds it (the fence of DESIGN §2).

        Entries of concurrent calls share a transaction. Raises Superseded when the epoch has moved
        on, BadRequest (check ``shared-key``) when the policy forbids a key that another identity
        has used, Unavailable when the store cannot commit or did not answer in time. In each case
        nothing may be released; after an answer that came too late the row may be there.
        """
