"""What must fit together although each field alone is good. One small function for each rule.

A rule takes the configuration and yields a Problem for each contradiction. It says which sections
it reads, so that it can be asked even when others are broken: an operator shall see everything
that is wrong at once.
"""

from __future__ import annotations

from collections.abc import Iterator

from meshca.config.model import Config
from meshca.config.problems import Problem
from meshca.config.rules import callers, doors, lifetimes, storage
from meshca.config.rules.rule import Rule

RULES: tuple[Rule, ...] = (*storage.RULES, *lifetimes.RULES, *callers.RULES, *doors.RULES)


def judge(
    config: Config, *, broken: frozenset[str] = frozenset(), partial: frozenset[str] = frozenset()
) -> Iterator[Problem]:
    """Every contradiction in the sections that are not ``broken``.

    A ``partial`` section is a list that lacks items: it is judged by itself, and not against others,
    which may speak of an item that is not there.
    """
    for rule in RULES:
        alone = len(rule.reads) == 1
        if broken.isdisjoint(rule.reads) and (alone or partial.isdisjoint(rule.reads)):
            yield from rule.check(config)
