"""A proof is remembered for a moment, so that a proxy that tries again costs no second review."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, NamedTuple

from meshca.tokens.validator import Proven, Validator

KEEP: Final = timedelta(seconds=60)
"""The longest that a proof is remembered: how long a deleted pod's token may still work because of us."""

CAPACITY: Final = 10_000
"""Proofs, at about a kilobyte each; the least recently used one goes first."""


class _Question(NamedTuple):
    token: bytes
    """SHA-256: the token itself is not kept."""
    audiences: frozenset[str]
    unbound: bool


@dataclass(frozen=True, slots=True)
class _Answer:
    proven: Proven
    since: datetime
    until: datetime


class CachedValidator:
    """Remembers what another validator has proven, for at most a minute and never past the token's end.

    Refusals and failures are never remembered: a pod may be seconds younger than the API server's view
    of it, and an outage should end when it ends (``ca-practice.md`` §6 case 56). Callers who show the
    same token at once share one question; one of them hanging up takes the answer from nobody.
    """

    def __init__(self, validator: Validator, *, keep: timedelta = KEEP, capacity: int = CAPACITY) -> None:
        self._validator = validator
        self._keep = min(keep, KEEP)
        self._capacity = capacity
        self._answers: OrderedDict[_Question, _Answer] = OrderedDict()
        self._asking: dict[_Question, asyncio.Task[Proven]] = {}

    @property
    def checks(self) -> tuple[str, ...]:
        return self._validator.checks

    async def prove(self, token: str, *, audiences: frozenset[str], now: datetime, unbound: bool = False) -> Proven:
        """See ``Validator.prove``."""
        question = _Question(sha256(token.encode()).digest(), audiences, unbound)
        answer = self._answers.get(question)
        # Before `since` the clock was set back: what is remembered would outlive its minute.
        if answer is not None and answer.since <= now < answer.until:
            self._answers.move_to_end(question)
            return answer.proven
        asking = self._asking.get(question)
        if asking is None:
            asking = asyncio.create_task(self._ask(question, token, now))
            self._asking[question] = asking
            asking.add_done_callback(lambda _: self._asking.pop(question))
        return await asyncio.shield(asking)

    async def _ask(self, question: _Question, token: str, now: datetime) -> Proven:
        proven = await self._validator.prove(token, audiences=question.audiences, now=now, unbound=question.unbound)
        # From when the question was asked, so that a slow answer is not believed for longer.
        self._remember(question, _Answer(proven, now, min(proven.expires, now + self._keep)))
        return proven

    def _remember(self, question: _Question, answer: _Answer) -> None:
        self._answers[question] = answer
        self._answers.move_to_end(question)
        while len(self._answers) > self._capacity:
            self._answers.popitem(last=False)
