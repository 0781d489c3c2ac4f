"""Patterns of names."""

from __future__ import annotations

import pytest

from meshca.errors import Misconfigured
from meshca.patterns import ANY, Pattern


@pytest.mark.parametrize(
    ("text", "name", "matches"),
    [
        ("*", "shop", True),
        ("*", "", False),
        ("shop", "shop", True),
        ("shop", "Shop", False),
        ("shop", "shop.", False),
        ("shop", "", False),
        ("shop-*", "shop-", True),
        ("shop-*", "shop-1", True),
        ("shop-*", "shop", False),
        ("shop-*", "a-shop-1", False),
        ("a.c", "abc", False),
        ("a?", "ab", False),
        ("[ab]", "a", False),
        ("a/../b", "b", False),
    ],
)
def test_a_pattern_matches_a_name_exactly_or_by_its_beginning(text: str, name: str, matches: bool) -> None:
    assert Pattern(text).matches(name) is matches


@pytest.mark.parametrize("text", ["", "**", "*a", "a*b", "a**", "sh\u043ep", "a\nb", "a\0"])
def test_anything_else_is_no_pattern(text: str) -> None:
    with pytest.raises(Misconfigured, match="not a pattern"):
        Pattern(text)


def test_a_pattern_prints_as_it_was_written() -> None:
    assert [str(ANY), str(Pattern("a-*"))] == ["*", "a-*"]
