"""``docs/conformance.md`` is current, and the script that makes it cannot be talked into a false claim."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.docs.pages import DOCS, ROOT

SCRIPT = ROOT / "scripts" / "lib" / "conformance.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("conformance_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look for their own names
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current(script: Any) -> None:
    assert (DOCS / "conformance.md").read_text() == script.page(), (
        "docs/conformance.md is old: .venv/bin/python scripts/lib/conformance.py > docs/conformance.md"
    )


def test_every_number_has_its_line(script: Any) -> None:
    numbers = re.findall(r"^\| (\S+) \|", (DOCS / "conformance.md").read_text(), re.M)

    expected = [f"X509-{n}" for n in range(1, 30)] + [f"ID-{n}" for n in range(1, 16)] + [str(n) for n in range(1, 73)]
    assert [number for number in numbers if number != "|"] == expected


def test_every_test_that_is_claimed_is_one_that_pytest_finds(script: Any) -> None:
    page = (DOCS / "conformance.md").read_text()
    claimed = set(re.findall(r"`([\w/]+\.py)::(test_\w+)`", page))
    assert len(claimed) > 60
    for path, name in claimed:
        file = ROOT / path if path.startswith("meshca/") else ROOT / "tests" / path
        assert re.search(rf"^\s*(async )?def {name}\(", file.read_text(), re.M), f"{path}::{name}"


def test_a_claimed_test_that_is_gone_is_an_error(script: Any) -> None:
    tests = [test for test in script.known_tests() if "test_names.py::test_id_13_ids_of_2048" not in test]

    with pytest.raises(script.Untrue, match=r"claimed and not there: .*::test_id_13_ids_of_2048"):
        script.attack_lines(tests, script.attack_rows())


def test_a_number_that_lost_its_only_test_is_an_error(script: Any) -> None:
    tests = [test for test in script.known_tests() if "test_x509_7_" not in test]
    x509, _ = script.spiffe_lines(tests)

    with pytest.raises(script.Untrue, match="X509-7 has no tests and no reason"):
        [line.covered() for line in x509]


def test_an_attack_that_lost_its_rows_is_an_error(script: Any) -> None:
    rows: Counter[int] = script.attack_rows()
    del rows[22]
    (line,) = [each for each in script.attack_lines(script.known_tests(), rows) if each.number == "22"]

    with pytest.raises(script.Untrue, match="attack 22 has no tests and no reason"):
        line.covered()


def test_a_reason_is_an_error_once_there_is_a_test(script: Any) -> None:
    x509, _ = script.spiffe_lines([*script.known_tests(), "tests/new.py::test_x509_21_the_scheme_is_looked_at"])

    with pytest.raises(script.Untrue, match="X509-21 has tests and a reason"):
        [line.covered() for line in x509]


def test_a_test_with_a_number_that_there_is_not_is_an_error(script: Any) -> None:
    with pytest.raises(script.Untrue, match="X509-30"):
        script.spiffe_lines([*script.known_tests(), "tests/new.py::test_x509_30_something_else"])


def test_numbers_are_read_from_names(script: Any) -> None:
    names = [
        "test_x509_23_24_25_a_bundle",
        "test_id_1_and_3_the_trust",
        "test_id_13_ids_of_2048_bytes",
        "test_idle_1_x",
    ]

    found = script.numbered(f"tests/a.py::{name}" for name in names)

    assert sorted(found) == ["ID-1", "ID-13", "ID-3", "X509-23", "X509-24", "X509-25"]


def test_a_test_in_a_class_and_an_async_one_are_found(script: Any, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "a.py").write_text("class C:\n    async def test_one(self): ...\ndef test_two(): ...\ndef no(): ...\n")
    monkeypatch.setattr(script, "ROOT", tmp_path)

    assert set(script._tests_in(tmp_path / "a.py")) == {"a.py::test_one", "a.py::test_two"}
