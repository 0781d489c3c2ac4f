"""The sabotage runner, on a small tree: what it calls noticed was noticed, and nothing else is."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "lib" / "sabotage.py"

PRODUCT = """
def allowed(age):
    return age >= 18


def greeting(name):
    return "hello " + name
"""

TESTS = """
import subprocess, sys
import pytest
from meshca.door import allowed, greeting


@pytest.fixture
def grown_up():
    assert allowed(18)
    return 18


@pytest.mark.parametrize("age", [3, 17, 18, 90])
def test_the_young_are_refused(age):
    assert allowed(age) == (age in (18, 90))


def test_one_may_come_in(grown_up):
    assert allowed(grown_up + 1)


class TestGreeting:
    def test_a_name_is_in_it(self):
        assert "you" in greeting("you")


def test_it_says_something():
    assert greeting("you")


@pytest.mark.skipif(not allowed(18), reason="nobody is here")
def test_it_says_hello():
    assert greeting("you").startswith("hello")


def test_that_leaves_a_process_behind(tmp_path):
    program = "import time; time.sleep(300)"
    left = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    with open(TRACE, "a") as trace:
        trace.write(f"{left.pid} ")
    assert greeting("you") == "hello you"
"""

YOUNG = "tests/test_door.py::test_the_young_are_refused"


def load() -> ModuleType:
    specification = importlib.util.spec_from_file_location("sabotage_runner", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # where dataclasses look themselves up
    specification.loader.exec_module(module)
    return module


RUNNER = load()
Sabotaging = Callable[..., tuple[int, str]]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "trace"


@pytest.fixture
def sabotaging(tmp_path: Path, trace: Path, capsys: pytest.CaptureFixture[str]) -> Sabotaging:
    """Write sabotages into a small tree and run them; the exit status, and all that was printed."""
    root = tmp_path / "tree"
    (root / "tests" / "sabotage").mkdir(parents=True)
    (root / "meshca").mkdir()
    (root / "meshca" / "__init__.py").touch()
    (root / "meshca" / "door.py").write_text(PRODUCT)
    (root / "tests" / "__init__.py").touch()
    (root / "tests" / "test_door.py").write_text(TESTS.replace("TRACE", repr(str(trace))))
    (root / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")

    def run(*chosen: str, **sabotages: dict[str, object]) -> tuple[int, str]:
        for name, sabotage in sabotages.items():
            text = "".join(f"{field} = {json.dumps(value)}\n" for field, value in sabotage.items())
            (root / "tests" / "sabotage" / f"{name}.toml").write_text(text)
        status = RUNNER.run_all(root, chosen)
        return int(status), "".join(capsys.readouterr())

    return run


def sabotage(find: str, replace: str, *tests: str, file: str = "meshca/door.py") -> dict[str, object]:
    return {"why": "anybody could come in", "file": file, "find": find, "replace": replace, "tests": tests or (YOUNG,)}


def test_a_sabotage_whose_test_fails_is_noticed(sabotaging: Sabotaging) -> None:
    status, printed = sabotaging(open_door=sabotage("age >= 18", "True"))
    assert status == 0
    assert "noticed  open_door: anybody could come in" in printed
    assert "1 of 1 sabotages were noticed" in printed


def test_a_sabotage_that_survives_is_missed(sabotaging: Sabotaging) -> None:
    status, printed = sabotaging(
        open_door=sabotage("age >= 18", "True"),
        mute=sabotage('"hello " + name', "name", "tests/test_door.py::test_it_says_something"),
    )
    assert status == 1
    assert "MISSED   mute: tests/test_door.py::test_it_says_something: SURVIVED" in printed
    assert "noticed  open_door" in printed
    assert "1 of 2 sabotages were noticed" in printed


def test_each_test_that_is_named_must_notice(sabotaging: Sabotaging) -> None:
    blind = "tests/test_door.py::test_it_says_something"
    status, printed = sabotaging(open_door=sabotage("age >= 18", "True", YOUNG, blind))
    assert status == 1
    assert f"{blind}: SURVIVED" in printed
    assert f"{YOUNG}:" not in printed


def test_a_method_of_a_class_and_one_row_can_be_named(sabotaging: Sabotaging) -> None:
    status, _ = sabotaging(
        nameless=sabotage(' + name"'.rstrip('"'), "", "tests/test_door.py::TestGreeting::test_a_name_is_in_it"),
        open_door=sabotage("age >= 18", "age >= 17", f"{YOUNG}[17]"),
    )
    assert status == 0


def test_a_row_that_does_not_notice_is_not_excused_by_its_neighbour(sabotaging: Sabotaging) -> None:
    status, printed = sabotaging(open_door=sabotage("age >= 18", "age >= 17", f"{YOUNG}[3]"))
    assert status == 1
    assert "SURVIVED" in printed


@pytest.mark.parametrize(
    ("find", "seen"),
    [("age > 18", "0 times"), ("def ", "2 times")],
    ids=["overtaken by the code", "ambiguous"],
)
def test_a_text_that_is_not_found_once_is_an_error(sabotaging: Sabotaging, find: str, seen: str) -> None:
    status, printed = sabotaging(open_door=sabotage(find, "True"))
    assert status == 1
    assert f"does not apply: its text stands in meshca/door.py {seen}" in printed


def test_a_file_that_is_gone_is_an_error(sabotaging: Sabotaging) -> None:
    status, printed = sabotaging(open_door=sabotage("age >= 18", "True", file="meshca/gate.py"))
    assert status == 1
    assert "does not apply: meshca/gate.py is not there" in printed


def test_what_leaves_no_python_is_an_error(sabotaging: Sabotaging) -> None:
    status, printed = sabotaging(open_door=sabotage("age >= 18", "age >="))
    assert status == 1
    assert "it leaves no valid Python" in printed


def test_a_broken_collection_is_not_noticing(sabotaging: Sabotaging) -> None:
    status, printed = sabotaging(open_door=sabotage("def allowed", "def admitted"))
    assert status == 1
    assert f"{YOUNG}: it did not run" in printed


def test_a_broken_fixture_is_not_noticing(sabotaging: Sabotaging) -> None:
    test = "tests/test_door.py::test_one_may_come_in"
    status, printed = sabotaging(shut=sabotage("age >= 18", "False", test))
    assert status == 1
    assert f"{test}: it broke (collection or fixture) instead of failing" in printed


def test_a_test_that_is_skipped_does_not_notice(sabotaging: Sabotaging) -> None:
    test = "tests/test_door.py::test_it_says_hello"
    status, printed = sabotaging(shut=sabotage("age >= 18", "False", test))
    assert status == 1
    assert f"{test}: it was skipped" in printed


@pytest.mark.parametrize("test", ["tests/test_door.py::test_that_is_gone", "tests/test_gone.py::test_it"])
def test_a_test_that_does_not_pass_before_proves_nothing(sabotaging: Sabotaging, test: str) -> None:
    status, printed = sabotaging(open_door=sabotage("age >= 18", "True", test))
    assert status == 1
    assert "do not pass before any sabotage" in printed
    assert f"{test}: not run" in printed


def test_a_failing_test_is_found_before_any_sabotage(sabotaging: Sabotaging, tmp_path: Path) -> None:
    door = tmp_path / "tree" / "meshca" / "door.py"
    door.write_text(door.read_text().replace("18", "21"))
    status, printed = sabotaging(open_door=sabotage("age >= 21", "True"))
    assert status == 1
    assert f"{YOUNG}: failed" in printed


@pytest.mark.parametrize(
    "written",
    [{"tests": []}, {"tests": ["tests/test_door.py"]}, {"severity": "high"}],
    ids=["no test", "a whole file", "a field that nobody reads"],
)
def test_a_sabotage_that_is_not_written_as_it_must_be_is_refused(
    sabotaging: Sabotaging, written: dict[str, object]
) -> None:
    status, printed = sabotaging(open_door={**sabotage("age >= 18", "True"), **written})
    assert status == 1
    assert "open_door.toml must have file, find, replace, tests, why" in printed


def test_chosen_ones_run_alone_and_unknown_ones_are_told(sabotaging: Sabotaging) -> None:
    mute = sabotage('"hello " + name', "name", "tests/test_door.py::test_it_says_something")
    status, printed = sabotaging("open_door", open_door=sabotage("age >= 18", "True"), mute=mute)
    assert (status, "mute" in printed) == (0, False)
    status, printed = sabotaging("open_dor")
    assert status == 1
    assert "there are: mute, open_door" in printed


def test_nothing_is_left_of_what_a_broken_product_started(sabotaging: Sabotaging, trace: Path) -> None:
    status, _ = sabotaging(
        mute=sabotage('"hello " + name', "name", "tests/test_door.py::test_that_leaves_a_process_behind")
    )
    assert status == 0
    left = [int(pid) for pid in trace.read_text().split()]
    assert len(left) == 2
    deadline = time.monotonic() + 5
    while any(running(pid) for pid in left):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_tree_itself_is_never_touched(sabotaging: Sabotaging, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in (tmp_path / "tree").rglob("*.py")}
    sabotaging(open_door=sabotage("age >= 18", "True"))
    assert {path: path.read_bytes() for path in (tmp_path / "tree").rglob("*.py")} == before


def test_every_sabotage_of_the_product_still_applies_to_it() -> None:
    """The quick half of ``scripts/sabotage``: code that moved on is noticed in every run of the tests."""
    root = SCRIPT.parents[2]
    sabotages = [RUNNER.Sabotage.read(path) for path in (root / "tests" / "sabotage").glob("*.toml")]
    assert len(sabotages) >= 15
    gone = [each.name for each in sabotages if (root / each.file).read_text().count(each.find) != 1]
    assert gone == [], f"write them anew: {os.fspath(root / 'tests' / 'sabotage')}"
