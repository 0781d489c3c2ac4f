"""The decision cache: how long a proof is remembered, and that nothing else ever is (case 56)."""

from __future__ import annotations

import asyncio
import gc
from datetime import datetime, timedelta

import pytest

from meshca.errors import NotProven, Unavailable
from meshca.identity import Identity
from meshca.names import TrustDomain
from meshca.tokens.cache import KEEP, CachedValidator
from meshca.tokens.validator import Proven
from tests.tokens.mint import ACCOUNT, NOW

ISTIO, LINKERD = frozenset({"istio-ca"}), frozenset({"identity.l5d.io"})
HOUR = timedelta(hours=1)


class Asked:
    """A validator that counts how often it is asked, and answers what it is told to."""

    checks = ("authenticated",)

    def __init__(self) -> None:
        self.questions: list[tuple[str, frozenset[str], bool]] = []
        self.expires = NOW + HOUR
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def prove(self, token: str, *, audiences: frozenset[str], now: datetime, unbound: bool = False) -> Proven:
        self.questions.append((token, audiences, unbound))
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        account = ACCOUNT
        identity = Identity(account.spiffe_id(TrustDomain("cluster.local")), "Kubernetes", account)
        return Proven(identity, "review", self.expires)


@pytest.fixture
def asked() -> Asked:
    return Asked()


async def test_a_proof_is_remembered_for_a_minute_and_no_longer(asked: Asked) -> None:
    cached = CachedValidator(asked)
    first = await cached.prove("t", audiences=ISTIO, now=NOW)

    again = await cached.prove("t", audiences=ISTIO, now=NOW + KEEP - timedelta(microseconds=1))
    assert again is first
    assert len(asked.questions) == 1
    await cached.prove("t", audiences=ISTIO, now=NOW + KEEP)
    assert len(asked.questions) == 2


def test_the_longest_that_a_proof_is_remembered_is_a_minute() -> None:
    assert timedelta(seconds=60) == KEEP


async def test_who_asks_for_more_than_a_minute_gets_a_minute(asked: Asked) -> None:
    cached = CachedValidator(asked, keep=HOUR)
    await cached.prove("t", audiences=ISTIO, now=NOW)

    await cached.prove("t", audiences=ISTIO, now=NOW + KEEP)

    assert len(asked.questions) == 2


async def test_a_proof_is_never_remembered_past_the_tokens_end(asked: Asked) -> None:
    """52: the cache must not extend it."""
    asked.expires = NOW + timedelta(seconds=5)
    cached = CachedValidator(asked)
    await cached.prove("t", audiences=ISTIO, now=NOW)

    await cached.prove("t", audiences=ISTIO, now=NOW + timedelta(seconds=4))
    assert len(asked.questions) == 1
    await cached.prove("t", audiences=ISTIO, now=NOW + timedelta(seconds=5))
    assert len(asked.questions) == 2


async def test_a_token_that_the_api_server_forgives_for_being_late_is_not_remembered(asked: Asked) -> None:
    """An API server accepts a token for a minute past its end."""
    asked.expires = NOW - timedelta(seconds=1)
    cached = CachedValidator(asked)

    for _ in range(2):
        await cached.prove("t", audiences=ISTIO, now=NOW)

    assert len(asked.questions) == 2


async def test_a_clock_set_back_does_not_make_a_proof_live_longer(asked: Asked) -> None:
    cached = CachedValidator(asked)
    await cached.prove("t", audiences=ISTIO, now=NOW)

    await cached.prove("t", audiences=ISTIO, now=NOW - HOUR)

    assert len(asked.questions) == 2


async def test_a_proof_for_one_question_answers_no_other(asked: Asked) -> None:
    """A token for Istio opens nothing at Linkerd's service, nor does an unbound one where none is taken."""
    cached = CachedValidator(asked)
    await cached.prove("t", audiences=ISTIO, now=NOW, unbound=True)

    await cached.prove("t", audiences=LINKERD, now=NOW, unbound=True)
    await cached.prove("t", audiences=ISTIO, now=NOW)
    await cached.prove("u", audiences=ISTIO, now=NOW, unbound=True)

    assert asked.questions == [("t", ISTIO, True), ("t", LINKERD, True), ("t", ISTIO, False), ("u", ISTIO, True)]


@pytest.mark.parametrize("error", [NotProven("no", check="authenticated"), Unavailable("away")])
async def test_refusals_and_failures_are_never_remembered(asked: Asked, error: Exception) -> None:
    cached = CachedValidator(asked)
    asked.error = error
    for _ in range(2):
        with pytest.raises(type(error)):
            await cached.prove("t", audiences=ISTIO, now=NOW)
    assert len(asked.questions) == 2

    asked.error = None
    proven = await cached.prove("t", audiences=ISTIO, now=NOW)

    assert proven.identity.service_account == ACCOUNT


async def test_a_refusal_does_not_outlive_the_proof_before_it(asked: Asked) -> None:
    cached = CachedValidator(asked)
    await cached.prove("t", audiences=ISTIO, now=NOW)
    asked.error = NotProven("the pod is gone", check="authenticated")

    with pytest.raises(NotProven):
        await cached.prove("t", audiences=ISTIO, now=NOW + KEEP)
    with pytest.raises(NotProven):
        await cached.prove("t", audiences=ISTIO, now=NOW + KEEP)


async def test_the_least_recently_used_proof_makes_room(asked: Asked) -> None:
    cached = CachedValidator(asked, capacity=2)
    for token in ("a", "b", "a", "c", "a", "b"):
        await cached.prove(token, audiences=ISTIO, now=NOW)

    assert [question[0] for question in asked.questions] == ["a", "b", "c", "b"]


async def test_callers_with_the_same_token_at_once_share_one_question(asked: Asked) -> None:
    asked.gate = asyncio.Event()
    cached = CachedValidator(asked)
    waiting = [asyncio.create_task(cached.prove("t", audiences=ISTIO, now=NOW)) for _ in range(20)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    asked.gate.set()
    answers = await asyncio.gather(*waiting)

    assert len({id(answer) for answer in answers}) == 1
    assert len(asked.questions) == 1


async def test_a_failure_reaches_everybody_who_waits_and_nobody_later(asked: Asked) -> None:
    asked.gate, asked.error = asyncio.Event(), Unavailable("away")
    cached = CachedValidator(asked)
    waiting = [asyncio.create_task(cached.prove("t", audiences=ISTIO, now=NOW)) for _ in range(3)]
    await asyncio.sleep(0)

    asked.gate.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(answer) for answer in answers] == [Unavailable] * 3
    asked.error = None
    await cached.prove("t", audiences=ISTIO, now=NOW)
    assert len(asked.questions) == 2


async def test_a_caller_who_hangs_up_takes_the_answer_from_nobody(asked: Asked) -> None:
    asked.gate = asyncio.Event()
    cached = CachedValidator(asked)
    first = asyncio.create_task(cached.prove("t", audiences=ISTIO, now=NOW))
    second = asyncio.create_task(cached.prove("t", audiences=ISTIO, now=NOW))
    await asyncio.sleep(0)

    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    asked.gate.set()

    assert (await second).identity.service_account == ACCOUNT
    assert len(asked.questions) == 1


async def test_a_failure_that_everybody_hung_up_on_makes_no_noise(asked: Asked) -> None:
    asked.gate, asked.error = asyncio.Event(), Unavailable("away")
    cached = CachedValidator(asked)
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    only = asyncio.create_task(cached.prove("t", audiences=ISTIO, now=NOW))
    await asyncio.sleep(0)
    only.cancel()
    await asyncio.gather(only, return_exceptions=True)

    asked.gate.set()
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect()

    assert complaints == []


async def test_the_token_itself_is_not_kept(asked: Asked) -> None:
    cached = CachedValidator(asked)
    await cached.prove("the-secret-token", audiences=ISTIO, now=NOW)

    assert "the-secret-token" not in repr(vars(cached))


def test_its_checks_are_those_of_the_validator_behind_it(asked: Asked) -> None:
    assert CachedValidator(asked).checks == asked.checks
