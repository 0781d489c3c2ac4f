"""An in-memory double of the ledger; ``tests/contracts/test_ledger.py`` holds it to the same contract."""

from __future__ import annotations

from datetime import timedelta

from meshca.errors import BadRequest, Superseded, Unavailable
from meshca.issuance.ledger import Entry, serial_text
from meshca.store.group import SharedKeys


class MemoryLedger:
    """Records in a list. Tests set ``epoch``, ``down`` and ``shared_keys``, and read ``entries`` and ``alarms``."""

    def __init__(
        self, *, epoch: int = 1, shared_keys: SharedKeys = "alarm", skew: timedelta = timedelta(minutes=2)
    ) -> None:
        self.epoch = epoch
        self.shared_keys = shared_keys
        self.skew = skew
        self.down = False
        self.entries: list[Entry] = []
        self.alarms: list[tuple[Entry, str]] = []

    def issued(self) -> list[str]:
        """The serials, as they are printed, in the order of recording."""
        return [serial_text(entry.serial) for entry in self.entries]

    async def record(self, entry: Entry) -> None:
        """See :meth:`meshca.issuance.ledger.Ledger.record`."""
        if self.down:
            raise Unavailable("the ledger is down")
        if self.entries and entry.issued < max(each.issued for each in self.entries) - self.skew:
            raise Unavailable("the clock is behind the ledger's last certificate")
        if entry.epoch != self.epoch:
            raise Superseded(f"the authority set is at epoch {self.epoch}, this was signed at {entry.epoch}")
        self._compare_keys(entry)
        self.entries.append(entry)

    def _compare_keys(self, entry: Entry) -> None:
        for other in self.entries:
            if other.spki_sha256 == entry.spki_sha256 and other.identity != entry.identity:
                if self.shared_keys != "allow":
                    self.alarms.append((entry, other.identity))
                if self.shared_keys == "refuse":
                    raise BadRequest("another identity has used this key", check="shared-key")
                return
