"""The ledger's writer: entries of concurrent requests share a commit (DESIGN §2 "Record before release").

::

    record ─▶ waiting ─▶ gathered ─▶ (thread) fence, hash, insert, commit ─▶ settled ─▶ record returns
                 ▲                                                              │
                 └──────────────── what came meanwhile is the next group ◀──────┘

Everything but the commit happens on the event loop. A hand-over to a thread and back costs far more
than a commit (``performance.md``), so there is one thread, woken once for each group and answering
once. For the same reason a group is worth waiting for: when several callers were served together
lately, the next group is held until as many have come, until nobody has come for ``patience``, or
for ``longest`` at most. A lone caller never waits.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from queue import SimpleQueue
from time import perf_counter

from meshca.clock import Clock, utc_now
from meshca.errors import MeshcaError, Unavailable
from meshca.issuance.ledger import Entry
from meshca.store.encoding import body, values
from meshca.store.engine import Store
from meshca.store.group import Groups, Place, SharedKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long entries wait, and how many may."""

    patience: timedelta = timedelta(milliseconds=3)
    """A group is closed when nothing has joined it for so long."""
    longest: timedelta = timedelta(milliseconds=10)
    """… and when its first entry has waited for so long."""
    enough: int = 32
    """… and when it has so many: more would hardly cost less each, and all wait for the last."""
    largest: int = 256
    """Rows of one transaction; a storm's other entries wait for the next."""
    waiting: int = 4096
    """Entries that may wait; whoever comes then is told at once that we are not available."""
    deadline: timedelta = timedelta(seconds=5)
    """After so long a caller is told the same, also when the disk hangs in a commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """Who hears what happens, on the event loop."""

    committed: Callable[[int, float], None] = lambda rows, seconds: None
    """A group was recorded: its rows, and the seconds that it took."""
    failed: Callable[[Unavailable], None] = lambda failure: None
    """The database refused a group."""
    shared_key: Callable[[Entry, str], None] = lambda entry, other: None
    """The entry's key was used by this other identity before; said when it is recorded and when it is refused."""


@dataclass(slots=True, eq=False)
class _Waiting(Place):
    """A place whose owner waits."""

    released: asyncio.Future[None] = field(kw_only=True)
    since: float = field(kw_only=True)


class LedgerWriter:
    """One writer of the ledger; :class:`meshca.issuance.ledger.Ledger` says what `record` promises.

    Between :meth:`start` and :meth:`close` it belongs to one event loop. When an entry's deadline
    passes in the middle of a commit, its row may be there later although its certificate was never
    released, as after a crash between commit and reply (``ca-practice.md`` §7.3).
    """

    def __init__(
        self,
        store: Store,
        *,
        shared_keys: SharedKeys = "alarm",
        skew: timedelta = timedelta(minutes=2),
        pace: Pace | None = None,
        reports: Reports | None = None,
        clock: Clock = utc_now,
    ) -> None:
        """``skew`` is by how much an issuance may be older than the last one recorded."""
        self.writer = secrets.token_hex(8)
        self._groups = Groups(store, self.writer, shared_keys=shared_keys, clock=clock)
        self._skew = skew
        self._pace = pace or Pace()
        self._reports = reports or Reports()
        self._last: datetime | None = None
        self._open = False
        self._waiting: deque[_Waiting] = deque()
        self._committing: list[_Waiting] = []
        self._expected = 1
        self._complete = False
        self._held: asyncio.TimerHandle | None = None
        self._expiring: asyncio.TimerHandle | None = None
        self._drained = asyncio.Event()
        self._handed: SimpleQueue[list[_Waiting] | None] = SimpleQueue()

    async def start(self) -> None:
        """Take a place among the writers. Raises Unavailable when the store does not answer."""
        self._loop = asyncio.get_running_loop()
        self._last = await asyncio.to_thread(self._groups.open)
        # A daemon, so that a commit that hangs in the kernel does not keep the process from ending.
        self._thread = threading.Thread(target=self._commit_groups, name="ledger", daemon=True)
        self._thread.start()
        self._open = True

    async def record(self, entry: Entry) -> None:
        """See :meth:`meshca.issuance.ledger.Ledger.record`. A cancelled call that still waits is not recorded."""
        self._admit(entry)
        row = values(entry)
        place = _Waiting(entry, row, body(self.writer, row), released=self._loop.create_future(), since=perf_counter())
        self._waiting.append(place)
        if self._expiring is None:
            self._expiring = self._loop.call_later(self._pace.deadline.total_seconds(), self._expire)
        self._gather()
        await place.released

    async def close(self) -> None:
        """Record what waits, refuse what comes, end the thread; not later than the deadline."""
        if not self._open:
            return
        self._open = False
        if self._waiting or self._committing:
            self._gather()
            try:
                async with asyncio.timeout(self._pace.deadline.total_seconds()):
                    await self._drained.wait()
            except TimeoutError:
                self._fail_all()
        if self._expiring is not None:
            self._expiring.cancel()
        self._handed.put(None)
        if not self._committing:
            await asyncio.to_thread(self._thread.join)

    def _admit(self, entry: Entry) -> None:
        if not self._open:
            raise Unavailable("the ledger is not open")
        if len(self._waiting) >= self._pace.waiting:
            raise Unavailable(f"{len(self._waiting)} certificates are waiting to be recorded; ask again later")
        if self._last is not None and entry.issued < self._last - self._skew:
            raise Unavailable(
                f"the clock says {entry.issued:%Y-%m-%d %H:%M:%S}Z, but the ledger's last certificate is of "
                f"{self._last:%Y-%m-%d %H:%M:%S}Z: set the clock; nothing is signed until then"
            )

    # --- gathering: on the event loop -----------------------------------------------------------

    def _gather(self) -> None:
        """Decide when the waiting become a group; called whenever one more waits or a group was settled."""
        if self._committing or self._complete or not self._waiting:
            return
        if len(self._waiting) >= self._expected or not self._open:
            # At the end of this turn of the loop, so that all who are ready in it come along.
            self._complete = True
            self._loop.call_soon(self._hand_over)
        elif self._held is None:
            patience = min(self._pace.patience, self._pace.longest)
            self._held = self._loop.call_later(patience.total_seconds(), self._look_again)

    def _look_again(self) -> None:
        """Patience has passed since someone came; was that the last one?"""
        self._held = None
        if self._committing or self._complete or not self._waiting:
            return
        now, pace = perf_counter(), self._pace
        rest = min(
            self._waiting[-1].since + pace.patience.total_seconds() - now,
            self._waiting[0].since + pace.longest.total_seconds() - now,
        )
        if rest > pace.patience.total_seconds() / 8:  # what is less is not worth another timer
            self._held = self._loop.call_later(rest, self._look_again)
        else:
            self._hand_over()

    def _hand_over(self) -> None:
        self._complete = False
        if self._held is not None:
            self._held.cancel()
            self._held = None
        group = self._committing
        while self._waiting and len(group) < self._pace.largest:
            place = self._waiting.popleft()
            if not place.released.done():  # its caller may have gone
                group.append(place)
        if group:
            self._handed.put(group)
        elif not self._open:
            self._drained.set()

    # --- committing: in the thread --------------------------------------------------------------

    def _commit_groups(self) -> None:
        while (group := self._handed.get()) is not None:
            began = perf_counter()
            failure = self._groups.commit(group)
            try:
                self._loop.call_soon_threadsafe(self._settle, failure, perf_counter() - began)
            except RuntimeError:  # the loop is gone, and with it everyone who waited
                break
        self._groups.close()

    # --- settling: on the event loop ------------------------------------------------------------

    def _settle(self, failure: Unavailable | None, seconds: float) -> None:
        group, self._committing = self._committing, []
        self._expected = min(len(group) + len(self._waiting), self._pace.enough)
        recorded = [place.entry for place in group if place.refusal is None]
        if recorded:
            newest = max(entry.issued for entry in recorded)
            self._last = newest if self._last is None else max(self._last, newest)
        for place in group:
            _release(place, place.refusal)
        if self._waiting:
            self._gather()
        elif not self._open:
            self._drained.set()
        self._report(group, len(recorded), failure, seconds)

    def _report(self, group: list[_Waiting], recorded: int, failure: Unavailable | None, seconds: float) -> None:
        if failure is not None:
            self._reports.failed(failure)
            return
        if recorded:
            self._reports.committed(recorded, seconds)
        for place in group:
            if place.shared_with is not None:
                self._reports.shared_key(place.entry, place.shared_with)

    def _expire(self) -> None:
        """Tell those who have waited too long; one timer serves them all."""
        self._expiring = None
        now, deadline = perf_counter(), self._pace.deadline.total_seconds()
        for place in (*self._committing, *self._waiting):
            if now - place.since >= deadline:
                _release(place, Unavailable(f"the ledger did not commit within the deadline of {deadline:g} s"))
        left = [place.since for place in (*self._committing, *self._waiting) if not place.released.done()]
        if left:
            self._expiring = self._loop.call_later(max(0.01, min(left) + deadline - now), self._expire)

    def _fail_all(self) -> None:
        for place in (*self._committing, *self._waiting):
            _release(place, Unavailable("the ledger did not commit before it was closed"))
        self._waiting.clear()


def _release(place: _Waiting, refusal: MeshcaError | None) -> None:
    if place.released.done():  # cancelled, or past its deadline
        return
    if refusal is None:
        place.released.set_result(None)
    else:
        place.released.set_exception(refusal)
