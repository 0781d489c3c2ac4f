from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import pytest

from meshca.config import Config, examine, reference
from meshca.config.fields import Declared, declared
from tests.config.examined import judged_file

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_reference_page_is_current() -> None:
    assert PAGE.read_text() == reference.page(), (
        "docs/configuration.md is old: .venv/bin/python -m meshca.config.reference > docs/configuration.md"
    )


def test_the_example_at_the_top_loads(tmp_path: Path) -> None:
    example = re.search(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert example is not None
    config = judged_file(tmp_path, example[1])
    assert isinstance(config, Config), config
    assert [cluster.name for cluster in config.clusters] == ["Kubernetes", "west"]


def test_the_default_lists_of_the_page_load_as_the_defaults(tmp_path: Path) -> None:
    lists = re.findall(r"Unless set:\n\n```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(lists) == 3
    assert judged_file(tmp_path, "trust_domain: a\n" + "".join(lists)) == Config(trust_domain="a")


@pytest.mark.parametrize("one", list(declared()), ids=lambda one: ".".join(one.path))
def test_every_field_says_what_it_is_for(one: Declared) -> None:
    text = reference.docstrings(one.owner).get(one.attribute)
    if one.section is not None:
        assert one.section.__doc__
    else:
        assert text, "write a docstring under the field"
        assert text.endswith("."), "a docstring is a sentence"


def test_every_variable_of_the_page_is_one_that_the_environment_takes() -> None:
    names = re.findall(r"`(MESHCA__[A-Z0-9_]+)`$", PAGE.read_text(), re.MULTILINE)
    assert len(names) > 50
    # A value that fits nowhere: each is found, and refused for its value and not for its name.
    for name in names:
        judged = examine(None, environ={name: "\0"})
        assert not isinstance(judged, Config)
        assert "no such field" not in " ".join(problem.remedy for problem in judged), name


def test_a_type_without_words_fails_rather_than_being_left_out() -> None:
    with pytest.raises(TypeError, match="no words"):
        reference.type_text(Annotated[bytes, "unknown"])


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("leaf.lifetime", "duration of 1s or more"),
        ("clusters.0.jwks.url", "https URL"),
        ("log.level", "`debug` or `info` or `warning` or `error`"),
        ("workers", "whole number, 1 to 256"),
        ("clusters.0.aliases", "list of: name of a cluster"),
    ],
)
def test_a_type_is_named_as_people_say_it(path: str, words: str) -> None:
    (one,) = (each for each in declared() if ".".join(each.path) == path)
    assert reference.type_text(one.hint) == words
