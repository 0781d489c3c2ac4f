"""Bytes from outside stand in a message only in a form that forges nothing."""

from __future__ import annotations

import ast
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshca import errors
from meshca.errors import BadRequest, Denied, MeshcaError, Refused, shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("web", "'web'"),
        (b"web", "'web'"),
        ("two\nlines", r"'two\nlines'"),
        ("a\r\nlevel=info msg=issued", r"'a\r\nlevel=info msg=issued'"),
        ("\x1b[31mred", r"'\x1b[31mred'"),
        ("nul\0", r"'nul\x00'"),
        ("\u202ebew", r"'\u202ebew'"),
        ("wеb", r"'w\u0435b'"),
        ("a…b", r"'a\u2026b'"),
        (r"a\u2026b", r"'a\\u2026b'"),
        ("\U0001f600", r"'\U0001f600'"),
        ("it's", '"it\'s"'),
        (b"\xff\xfe", r"'\\xff\\xfe'"),
        ("\ud800", r"'\ud800'"),
        ("", "''"),
        (None, "'None'"),
        (5, "'5'"),
    ],
)
def test_text_from_outside_is_quoted_and_escaped(value: object, text: str) -> None:
    assert shown(value) == text


@given(st.text() | st.binary())
def test_what_is_shown_is_one_line_of_ascii(value: str | bytes) -> None:
    text = shown(value).removesuffix("…")

    assert text.isascii()
    assert text.isprintable()


@given(st.text(max_size=120))
def test_what_is_shown_says_exactly_what_was_seen(value: str) -> None:
    assert ast.literal_eval(shown(value)) == value


@given(st.text(min_size=1), st.integers(1, 200))
def test_long_text_is_cut_and_marked(value: str, limit: int) -> None:
    text = shown(value, limit=limit)

    assert text.endswith("…") == (len(value) > limit)
    assert ast.literal_eval(text.removesuffix("…")) == value[:limit]


def test_a_megabyte_becomes_a_short_text() -> None:
    assert len(shown("a" * 1_000_000)) == 120 + len("''…")


def test_a_refusal_says_which_check_refused() -> None:
    refusal = BadRequest("no", check="size")

    assert (str(refusal), refusal.check) == ("no", "size")
    assert isinstance(refusal, Refused)
    assert not isinstance(refusal, Denied)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = re.findall(r"^[ │]*[├└]── (\w+)", errors.__doc__ or "", re.MULTILINE)
    classes = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, MeshcaError)}

    assert {"MeshcaError", *drawn} == classes
