from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from meshca.config.document import MAX_TEXT, read, read_value
from tests.config.examined import problems_of


def test_scalars_stay_the_text_that_was_written() -> None:
    text = "{a: no, b: 12:30, c: 0x10, d: 2001-01-01, e: 1_000, f: 'null', g: 0.10, h: on}"
    assert read(text).tree == {
        "a": "no",
        "b": "12:30",
        "c": "0x10",
        "d": "2001-01-01",
        "e": "1_000",
        "f": "null",
        "g": "0.10",
        "h": "on",
    }


@pytest.mark.parametrize("text", ["", "\n", "# a comment\n", "null", "---\n", "~"])
def test_a_file_that_says_nothing_is_empty(text: str) -> None:
    document = read(text)
    assert (document.tree, document.problems) == ({}, [])


def test_null_is_nothing_unless_quoted() -> None:
    assert read("{a: null, b: ~, c: , d: '', e: 'null'}").tree == {
        "a": None,
        "b": None,
        "c": None,
        "d": "",
        "e": "null",
    }


def test_what_pyyaml_reads_without_types_is_what_we_read() -> None:
    text = "a:\n  - b: |\n      two\n      lines\n    c: >-\n      folded\n      lines\n"
    text += "  - 'it''s'\nd: {e: [f, \"g\\u0068\"]}\n"
    assert read(text).tree == yaml.load(text, Loader=yaml.BaseLoader)


def test_every_part_has_its_line() -> None:
    document = read("a: 1\nb:\n  c:\n    - x\n    - y: 2\n")
    assert document.places[("b", "c", 1, "y")] == "line 5"
    assert document.place_of(("b", "c", 1, "nothing", "here")) == "line 5"
    assert document.place_of(("b", "c")) == "line 3"
    assert document.place_of(("z",)) == ""


@pytest.mark.parametrize(
    ("text", "line", "remedy"),
    [
        ("a: 1\na: 2\n", 2, "a second time"),
        ("a:\n  b: 1\n  c: 2\n  b: 3\n", 4, "a second time"),
        ("a: {b: 1,\n  b: 2}", 2, "a second time"),
        ("x: &anchor 1\n", 1, "anchors"),
        ("x: 1\ny: *anchor\n", 2, "anchors and aliases"),
        ("a: 1\nb: !!python/object:os.system x\n", 2, "tags"),
        ("a: !!int 1", 1, "tags"),
        ("a: !secret 1", 1, "tags"),
        ("a: !!set {b, c}", 1, "tags"),
        ("? [a]\n: b", 1, "names of fields"),
        ("? {a: b}\n: c", 1, "names of fields"),
        ("- a\n- b", 0, "at the top"),
        ("text", 0, "at the top"),
        ("a: [1, 2\nb: 3", 2, "not the YAML"),
        ("a: 'x\n\n", 3, "not the YAML"),
        ("\ta: 1", 1, "not the YAML"),
        ("a: 1\n--- \nb: 2\n", 2, "not the YAML"),
        ("a: \x00", 1, "does not allow"),
        ("a: 1\nb: \x07", 2, "does not allow"),
        ('a: "\\UFFFFFFFF"', 0, "escape"),
        ('a: "\\ud800"', 1, "half a character"),
        ("a: " + "[" * 40 + "]" * 40, 1, "deeper"),
        ("a: " + "[" * 100_000, 1, "deeper"),
        ("a: " + "x" * MAX_TEXT, 0, "characters"),
    ],
)
def test_what_is_not_taken_is_refused_with_its_line(text: str, line: int, remedy: str) -> None:
    problems = read(text).problems
    assert len(problems) == 1, problems
    assert remedy in problems[0].remedy
    assert not line or problems[0].place == f"line {line}"


@pytest.mark.parametrize("text", ["a: !hunter2!x 1", "a: *hunter2", 'a: "\\hunter2', "a: @hunter2"])
def test_what_pyyaml_quotes_of_a_file_is_not_repeated(text: str) -> None:
    (problem,) = read(text).problems
    assert "hunter2" not in str(problem)


def test_a_billion_laughs_are_refused_before_they_expand() -> None:
    levels = ["a0: &a0 [lol, lol]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 64))]
    assert "anchors" in read("\n".join(levels)).problems[0].remedy


def test_merge_keys_are_names_that_nobody_knows(tmp_path: Path) -> None:
    assert "no such field" in problems_of(tmp_path, "trust_domain: a\n<<: {workers: 1}\n")["<<"].remedy


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("20s", "20s"),
        ("", None),
        ("null", None),
        ("*", "*"),
        ("a: b", "a: b"),
        ('"quoted"', '"quoted"'),
        ("[::1]:80", "[::1]:80"),
        ("#x", "#x"),
        ("[a, 'b c']", ["a", "b c"]),
        ("{a: {b: 1}}", {"a": {"b": "1"}}),
        ("[]", []),
    ],
)
def test_a_value_is_literal_unless_in_brackets(text: str, value: object) -> None:
    assert read_value(text) == value


@pytest.mark.parametrize("text", ["[a]\nb: [c]", "{a: 1, a: 2}", "[*a]", "[&a b]", "[!!int 1]", "[a]b]"])
def test_a_value_in_brackets_that_is_no_yaml_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="YAML"):
        read_value(text)
