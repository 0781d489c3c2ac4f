"""A worker's view of the authority set: follows the epoch, holds the keys that it needs, says what it has loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from time import monotonic
from typing import Protocol, TypeVar

from meshca.errors import Misconfigured, Unavailable
from meshca.issuance.authorities import Authority
from meshca.keys.signer import Signer
from meshca.rotation.authority_set import KEY_NEEDED, AuthoritySet
from meshca.server.logs import Logger

Read = TypeVar("Read")

INTERVAL = timedelta(milliseconds=500)
"""Between two looks at the epoch; DESIGN §4 asks for 2 s at most."""

FRESH = timedelta(seconds=10)
"""A snapshot last confirmed longer ago signs nothing."""

HEARTBEAT = timedelta(seconds=2)
"""Between two rows that say which epoch is loaded; a change is said at once."""


class Store(Protocol):
    """What following needs of the store. Each call may wait for the database, so it runs in a thread."""

    def epoch(self) -> int:
        """The present epoch. Raises Unavailable."""

    def read(self) -> AuthoritySet | None:
        """The present set. Raises Unavailable."""

    def beat(self, epoch: int) -> None:
        """Write this worker's heartbeat row. Raises Unavailable."""


class Follower:
    """The worker's :class:`meshca.issuance.authorities.Authorities`."""

    def __init__(
        self,
        store: Store,
        *,
        key: Callable[[str], Awaitable[Signer]],
        loaded: Callable[[AuthoritySet, Authority], None],
        log: Logger,
    ) -> None:
        """``key`` asks the control process for an issuer's key; ``loaded`` hears of each new snapshot."""
        self._store = store
        self._key = key
        self._loaded = loaded
        self._log = log
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="follow")
        self._signers: dict[str, Signer] = {}
        self._authority: Authority | None = None
        self._confirmed = float("-inf")
        self._beaten = float("-inf")
        self._reading = asyncio.Lock()
        self.trouble: str | None = "no authority set has been read yet"
        """Why this worker is not ready, or None."""

    def current(self) -> Authority:
        if self._authority is None:
            raise Unavailable("no authority set has been read yet")
        if monotonic() - self._confirmed > FRESH.total_seconds():
            raise Unavailable(
                f"the store has not been read for more than {FRESH.total_seconds():.0f} s; nothing is signed"
            )
        return self._authority

    async def refresh(self) -> None:
        """Look at the store now. Raises Unavailable, and Misconfigured when a key does not open."""
        async with self._reading:
            began = monotonic()  # the snapshot is as old as the moment before it was read
            epoch = await self._in_thread(self._store.epoch)
            if self._authority is None or epoch != self._authority.epoch:
                await self._load()
            self._confirmed = began

    async def follow(self) -> None:
        """Look at the store again and again until cancelled."""
        while True:
            try:
                await self.refresh()
                await self._beat()
                self.trouble = None
            except (Unavailable, Misconfigured) as error:
                if self.trouble is None:
                    self._log.error("cannot follow the store", reason=str(error))
                self.trouble = str(error)
            await asyncio.sleep(INTERVAL.total_seconds())

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _load(self) -> None:
        present = await self._in_thread(self._store.read)
        if present is None:
            raise Unavailable("the store holds no authority set: run `meshca init`")
        needed = [issuer for issuer in present.issuers if issuer.state in KEY_NEEDED]
        for issuer in needed:
            if issuer.id not in self._signers:
                self._signers[issuer.id] = await self._key(issuer.id)
        # The key of a retired issuer is dropped as soon as it signs no more.
        self._signers = {issuer.id: self._signers[issuer.id] for issuer in needed}
        active = present.active
        authority = Authority(
            epoch=present.epoch,
            issuer_id=active.id,
            chain=active.chain,
            roots=present.bundle,
            bundle_sequence=present.bundle_sequence,
            signer=self._signers[active.id],
        )
        self._authority = authority
        self._beaten = float("-inf")
        self._loaded(present, authority)

    async def _beat(self) -> None:
        """Say which epoch is loaded; this write is also how a store that cannot commit is noticed without traffic."""
        if self._authority is not None and monotonic() - self._beaten > HEARTBEAT.total_seconds():
            epoch = self._authority.epoch
            await self._in_thread(lambda: self._store.beat(epoch))
            self._beaten = monotonic()

    async def _in_thread(self, call: Callable[[], Read]) -> Read:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)
