"""A process that records certificates until it is killed, and says each serial when its record returned.

``python -m tests.store.worker URL``: one line for each certificate, ``SERIAL EPOCH``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime

from meshca.errors import Superseded
from meshca.issuance.ledger import serial_text
from meshca.store import LedgerWriter, SqlAuthorityStore, open_store
from tests.store.entries import a_leaf

CALLERS = 8


async def _main(url: str) -> None:
    store = open_store(url)
    authorities = SqlAuthorityStore(store)
    ledger = LedgerWriter(store)
    await ledger.start()

    async def call(number: int) -> None:
        while True:
            entry = a_leaf(f"sa-{number}", issued=datetime.now(UTC), epoch=authorities.epoch())
            try:
                await ledger.record(entry)
            except Superseded:
                continue
            os.write(1, f"{serial_text(entry.serial)} {entry.epoch}\n".encode())

    await asyncio.gather(*map(call, range(CALLERS)))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
