"""What a rule is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from meshca.config.model import Config
from meshca.config.problems import Problem


@dataclass(frozen=True, slots=True)
class Rule:
    """A check of several fields against each other, and the sections that it reads."""

    reads: frozenset[str]
    check: Callable[[Config], Iterator[Problem]]


def rule(*reads: str) -> Callable[[Callable[[Config], Iterator[Problem]]], Rule]:
    """Make a function the rule about these sections."""
    return lambda check: Rule(frozenset(reads), check)
