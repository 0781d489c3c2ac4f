"""The contract of :class:`meshca.issuance.ledger.Ledger`, for whoever writes one.

Subclass :class:`LedgerContract`, give it the fixture ``stand``, and let pytest (with pytest-asyncio)
collect the subclass. ``tests/contracts/test_ledger.py`` does so for ours.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

import pytest

from meshca.errors import BadRequest, Superseded, Unavailable
from meshca.issuance.ledger import Entry, Ledger

SharedKeys = Literal["allow", "alarm", "refuse"]

EPOCH = 7
"""The epoch of the authority set that a stand begins with."""

SKEW = timedelta(minutes=2)
"""By how much an issuance may be older than the last one recorded."""

NOW = datetime(2026, 11, 23, 12, 0, 0, 250_000, tzinfo=UTC)


class LedgerStand(Protocol):
    """A ledger under test, and what a test does to it from outside."""

    @property
    def ledger(self) -> Ledger:
        """It is open until the stand's context ends, knows epoch EPOCH, and has the skew SKEW."""

    @property
    def alarms(self) -> list[tuple[Entry, str]]:
        """Each shared key that it told of: the entry, and the other identity."""

    def recorded(self) -> list[Entry]:
        """What is durable, in the order of recording, as a reader finds it that knows nothing of the ledger object."""

    def move_epoch(self, epoch: int) -> None:
        """Another process changes the authority set."""

    def fail(self) -> None:
        """From now on the store does not take what is written."""

    def recover(self) -> None:
        """It does again."""

    async def close(self) -> None:
        """Close the ledger early."""


OpenStand = Callable[[SharedKeys], AbstractAsyncContextManager[LedgerStand]]


def an_entry(account: str = "web", *, namespace: str = "shop", key: str | None = None, epoch: int = EPOCH) -> Entry:
    """A plausible entry with a serial and a key of its own, unless ``key`` names one. Its DER is no certificate."""
    return Entry(
        serial=secrets.randbits(126) | 1 << 126,
        identity=f"spiffe://cluster.local/ns/{namespace}/sa/{account}",
        cluster="Kubernetes",
        namespace=namespace,
        service_account=account,
        pod=f"{account}-7c9d8b5f6-x2x4z",
        pod_uid="0f8fad5b-d9cb-469f-a165-70867728950e",
        node="node-1",
        peer="10.1.2.3:45678",
        service="istio",
        proof="jwks",
        credential="jti 5f0c",
        request_id="8d3f",
        spki_sha256=hashlib.sha256((key or secrets.token_hex()).encode()).digest(),
        not_before=NOW.replace(microsecond=0) - timedelta(minutes=2),
        not_after=NOW.replace(microsecond=0) + timedelta(hours=24),
        issued=NOW,
        der=secrets.token_bytes(600),
        issuer_id="feedfacefeedface",
        epoch=epoch,
        bundle_sequence=3,
    )


@pytest.mark.asyncio
class LedgerContract:
    """What every ledger must do."""

    @pytest.fixture
    def stand(self) -> OpenStand:
        """Opens a stand whose ledger has this policy on shared keys."""
        raise NotImplementedError("a subclass gives the fixture `stand`")

    async def test_what_was_recorded_is_found_with_every_field(self, stand: OpenStand) -> None:
        async with stand("alarm") as on:
            entry = an_entry()
            await on.ledger.record(entry)
            assert on.recorded() == [entry]

    async def test_empty_fields_and_any_text_come_back_as_they_were(self, stand: OpenStand) -> None:
        bare = replace(an_entry(), pod="", pod_uid="", node="", peer="", credential="", request_id="")
        odd = replace(an_entry("db"), pod="a\x00b\n'\"; --", node="größe-\u202e", peer="[2001:db8::1]:443")
        async with stand("alarm") as on:
            await on.ledger.record(bare)
            await on.ledger.record(odd)
            assert on.recorded() == [bare, odd]

    async def test_callers_at_the_same_time_are_all_recorded(self, stand: OpenStand) -> None:
        entries = [an_entry(f"sa-{number}") for number in range(200)]
        async with stand("alarm") as on:
            await asyncio.gather(*map(on.ledger.record, entries))
            assert sorted(entry.serial for entry in on.recorded()) == sorted(entry.serial for entry in entries)

    @pytest.mark.parametrize("signed_under", [EPOCH - 1, EPOCH + 1], ids=["older", "newer"])
    async def test_an_entry_of_another_epoch_is_superseded_and_not_recorded(
        self, stand: OpenStand, signed_under: int
    ) -> None:
        async with stand("alarm") as on:
            with pytest.raises(Superseded):
                await on.ledger.record(an_entry(epoch=signed_under))
            assert on.recorded() == []

    async def test_an_epoch_that_moves_between_signing_and_recording_is_noticed(self, stand: OpenStand) -> None:
        async with stand("alarm") as on:
            await on.ledger.record(an_entry("before"))
            entry = an_entry("between")
            on.move_epoch(EPOCH + 1)
            with pytest.raises(Superseded):
                await on.ledger.record(entry)
            await on.ledger.record(replace(entry, epoch=EPOCH + 1))
            assert [each.epoch for each in on.recorded()] == [EPOCH, EPOCH + 1]

    async def test_a_superseded_entry_does_not_take_its_group_with_it(self, stand: OpenStand) -> None:
        entries = [an_entry("old", epoch=EPOCH - 1), *(an_entry(f"sa-{number}") for number in range(5))]
        async with stand("alarm") as on:
            results = await asyncio.gather(*map(on.ledger.record, entries), return_exceptions=True)
            assert [type(result) for result in results] == [Superseded, *[type(None)] * 5]
            assert {entry.serial for entry in on.recorded()} == {entry.serial for entry in entries[1:]}

    async def test_a_store_that_fails_records_nothing_and_says_unavailable(self, stand: OpenStand) -> None:
        async with stand("alarm") as on:
            await on.ledger.record(an_entry("before"))
            on.fail()
            results = await asyncio.gather(
                *(on.ledger.record(an_entry(f"during-{number}")) for number in range(4)), return_exceptions=True
            )
            assert [type(result) for result in results] == [Unavailable] * 4
            on.recover()
            assert [entry.service_account for entry in on.recorded()] == ["before"]

    async def test_a_store_that_recovers_is_used_again(self, stand: OpenStand) -> None:
        async with stand("alarm") as on:
            on.fail()
            with pytest.raises(Unavailable):
                await on.ledger.record(an_entry("during"))
            on.recover()
            await on.ledger.record(an_entry("after"))
            assert [entry.service_account for entry in on.recorded()] == ["after"]

    async def test_a_shared_key_is_refused_where_the_policy_says_so(self, stand: OpenStand) -> None:
        async with stand("refuse") as on:
            await on.ledger.record(an_entry("web", key="one"))
            with pytest.raises(BadRequest) as refusal:
                await on.ledger.record(an_entry("db", key="one"))
            assert refusal.value.check == "shared-key"
            assert "web" not in str(refusal.value), "a caller must not learn whose key it is"
            assert [entry.service_account for entry in on.recorded()] == ["web"]

    async def test_of_two_identities_with_one_key_at_the_same_time_one_is_refused(self, stand: OpenStand) -> None:
        entries = [an_entry("web", key="one"), an_entry("db", key="one"), an_entry("cache")]
        async with stand("refuse") as on:
            results = await asyncio.gather(*map(on.ledger.record, entries), return_exceptions=True)
            assert sorted(type(result).__name__ for result in results) == ["BadRequest", "NoneType", "NoneType"]
            assert len(on.recorded()) == 2

    async def test_an_identity_may_use_its_key_again_however_strict_the_policy(self, stand: OpenStand) -> None:
        async with stand("refuse") as on:
            for _ in range(3):
                await on.ledger.record(an_entry("web", key="one"))
            assert len(on.recorded()) == 3
            assert on.alarms == []

    @pytest.mark.parametrize("order", [("web", "db"), ("db", "web")], ids="-".join)
    async def test_a_shared_key_raises_an_alarm_and_is_recorded(self, stand: OpenStand, order: tuple[str, str]) -> None:
        first, second = (an_entry(account, key="one") for account in order)
        async with stand("alarm") as on:
            await on.ledger.record(first)
            await on.ledger.record(second)
            assert on.recorded() == [first, second]
            assert on.alarms == [(second, first.identity)]

    async def test_a_shared_key_goes_unsaid_where_the_policy_allows_it(self, stand: OpenStand) -> None:
        async with stand("allow") as on:
            await on.ledger.record(an_entry("web", key="one"))
            await on.ledger.record(an_entry("db", key="one"))
            assert len(on.recorded()) == 2
            assert on.alarms == []

    async def test_a_refused_entry_does_not_make_its_key_somebodys(self, stand: OpenStand) -> None:
        async with stand("refuse") as on:
            with pytest.raises(Superseded):
                await on.ledger.record(an_entry("web", key="one", epoch=EPOCH - 1))
            await on.ledger.record(an_entry("db", key="one"))
            assert [entry.service_account for entry in on.recorded()] == ["db"]

    async def test_a_clock_far_behind_the_last_issuance_records_nothing(self, stand: OpenStand) -> None:
        async with stand("alarm") as on:
            await on.ledger.record(an_entry("first"))
            late = replace(an_entry("late"), issued=NOW - SKEW - timedelta(seconds=1))
            with pytest.raises(Unavailable, match="clock"):
                await on.ledger.record(late)
            assert [entry.service_account for entry in on.recorded()] == ["first"]

    async def test_a_clock_a_little_behind_the_last_issuance_is_borne(self, stand: OpenStand) -> None:
        async with stand("alarm") as on:
            await on.ledger.record(an_entry("first"))
            await on.ledger.record(replace(an_entry("second"), issued=NOW - SKEW))
            assert len(on.recorded()) == 2

    async def test_a_clock_that_creeps_back_is_measured_by_the_newest_issuance(self, stand: OpenStand) -> None:
        async with stand("alarm") as on:
            await on.ledger.record(an_entry("first"))
            await on.ledger.record(replace(an_entry("second"), issued=NOW - SKEW))
            with pytest.raises(Unavailable, match="clock"):
                await on.ledger.record(replace(an_entry("third"), issued=NOW - SKEW - timedelta(seconds=1)))

    async def test_a_closed_ledger_records_nothing(self, stand: OpenStand) -> None:
        async with stand("alarm") as on:
            await on.close()
            with pytest.raises(Unavailable):
                await on.ledger.record(an_entry())
            assert on.recorded() == []
