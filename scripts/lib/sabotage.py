"""Break one line at a time in a copy of the tree, and see the tests that must notice turn red.

A sabotage is a TOML file in ``tests/sabotage``::

    why = "what an attacker or an auditor would gain"
    file = "meshca/tokens/jwks.py"
    find = "the exact text, which stands in the file once"
    replace = "what stands there instead"
    tests = ["tests/tokens/test_jwks.py::test_another_audience_is_refused"]

Each of its tests must pass before and *fail* afterwards; of a test with many rows, one row must. An
error while collecting, or in a fixture, proves nothing, nor does a test that is skipped. A sabotage
whose text is not found once has been overtaken by the code and is an error too, as is one that leaves
no valid Python. Exit status: 0 when every sabotage was noticed, else 1.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("meshca", "tests", "proto", "docs", "deploy", "scripts", "pyproject.toml", "README.md")
TIMEOUT = 300
"""Seconds for one run of pytest."""

_MARK = "MESHCA_SABOTAGE"
"""In the environment of everything that a run starts: the folder of its tree."""

_FIELDS = {"why", "file", "find", "replace", "tests"}


class Unusable(Exception):
    """A sabotage that is not written as it must be, or does not apply any more."""


@dataclass(frozen=True, slots=True)
class Sabotage:
    """One line, broken."""

    name: str
    why: str
    file: str
    find: str
    replace: str
    tests: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> Sabotage:
        """Raises Unusable."""
        try:
            text = tomllib.loads(path.read_text())
        except tomllib.TOMLDecodeError as error:
            raise Unusable(f"{path.name} is not TOML: {error}") from None
        if text.keys() != _FIELDS or not text["tests"] or not all("::" in test for test in text["tests"]):
            raise Unusable(f"{path.name} must have {', '.join(sorted(_FIELDS))}, and name its tests one by one")
        return cls(path.stem, text["why"], text["file"], text["find"], text["replace"], tuple(text["tests"]))

    def apply(self, tree: Path) -> None:
        """Break the line in this tree. Raises Unusable."""
        path = tree / self.file
        if not path.is_file():
            raise Unusable(f"{self.file} is not there")
        text = path.read_text()
        if text.count(self.find) != 1:
            raise Unusable(f"its text stands in {self.file} {text.count(self.find)} times, not once")
        broken = text.replace(self.find, self.replace)
        if path.suffix == ".py":
            try:
                compile(broken, self.file, "exec")
            except SyntaxError as error:
                raise Unusable(f"it leaves no valid Python: {error}") from None
        path.write_text(broken)


@dataclass(frozen=True, slots=True)
class Run:
    """What pytest reported, by test: ``passed``, ``failed``, ``error`` or ``skipped`` for each of its rows."""

    results: dict[str, list[str]]
    output: str

    def of(self, test: str) -> str:
        """One word for a test that may have many rows; one that fails is enough."""
        seen = {result for name, results in self.results.items() if _is_of(name, test) for result in results}
        return next((word for word in ("failed", "error", "passed", "skipped") if word in seen), "not run")


def _is_of(name: str, test: str) -> bool:
    return name == test or name.startswith(f"{test}[")


def run_tests(tree: Path, tests: Sequence[str]) -> Run:
    """Run these tests in a copy of the tree, whose package shadows the installed one."""
    report = tree / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *tests]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", _MARK: str(tree)}
    environment.pop("PYTEST_ADDOPTS", None)  # an -x or a -k of whoever calls would hide tests
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        output = done.stdout + done.stderr
    except subprocess.TimeoutExpired:
        return Run({}, f"pytest took more than {TIMEOUT} s")
    finally:
        _end_leftovers(tree)
    results: defaultdict[str, list[str]] = defaultdict(list)
    for name, result in _reported(tree, report) if report.exists() else ():
        results[name].append(result)
    return Run(dict(results), output)


def _reported(tree: Path, report: Path) -> Iterator[tuple[str, str]]:
    for case in ET.parse(report).getroot().iter("testcase"):
        marks = {child.tag for child in case}
        result = next((word for tag, word in _WORDS if tag in marks), "passed")
        yield _name(tree, case.get("classname", ""), case.get("name", "")), result


_WORDS = (("failure", "failed"), ("error", "error"), ("skipped", "skipped"))


def _name(tree: Path, classname: str, name: str) -> str:
    """The test's name as pytest takes it, from JUnit's dotted one."""
    parts = classname.split(".") if classname else []
    for end in range(len(parts), 0, -1):
        file = Path(*parts[:end]).with_suffix(".py")
        if (tree / file).is_file():
            return "::".join((str(file), *parts[end:], name))
    return name  # a module that could not be collected


def _end_leftovers(tree: Path) -> None:
    """End what a broken product left running, such as a worker that no longer follows its parent."""
    mark = f"{_MARK}={tree}".encode()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in environ.read_bytes().split(b"\0"):
                os.kill(int(environ.parent.name), signal.SIGKILL)


def copy_tree(root: Path, folder: Path) -> Path:
    """A copy of what tests need."""
    ignored = shutil.ignore_patterns("__pycache__", ".hypothesis")
    for name in COPIED:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignored)
        elif source.exists():
            shutil.copy(source, folder / name)
    return folder


def judge(root: Path, sabotage: Sabotage) -> str | None:
    """Why this sabotage was not noticed as it should, or None."""
    with tempfile.TemporaryDirectory(prefix="meshca-sabotage-", ignore_cleanup_errors=True) as name:
        tree = copy_tree(root, Path(name))
        try:
            sabotage.apply(tree)
        except Unusable as error:
            return f"does not apply: {error}"
        run = run_tests(tree, sabotage.tests)
    wrong = [f"{test}: {_FAULTS[run.of(test)]}" for test in sabotage.tests if run.of(test) != "failed"]
    return "; ".join(wrong) or None


_FAULTS = {
    "passed": "SURVIVED, it passes all the same",
    "error": "it broke (collection or fixture) instead of failing",
    "skipped": "it was skipped",
    "not run": "it did not run",
}


def check_before(root: Path, tests: Sequence[str]) -> str | None:
    """Why these tests prove nothing, or None: they must pass as long as nothing is broken."""
    with tempfile.TemporaryDirectory(prefix="meshca-sabotage-", ignore_cleanup_errors=True) as name:
        run = run_tests(copy_tree(root, Path(name)), tests)
    wrong = [f"  {test}: {run.of(test)}" for test in tests if run.of(test) != "passed"]
    return "\n".join([*wrong, run.output[-3000:]]) if wrong else None


def run_all(root: Path, names: Sequence[str]) -> int:
    """Run the sabotages of these names, or all; the exit status."""
    try:
        sabotages = [Sabotage.read(path) for path in sorted((root / "tests" / "sabotage").glob("*.toml"))]
    except Unusable as error:
        print(error, file=sys.stderr)
        return 1
    chosen = [each for each in sabotages if not names or each.name in names]
    if not chosen or len(chosen) < len(names):
        print(f"unknown sabotage; there are: {', '.join(each.name for each in sabotages)}", file=sys.stderr)
        return 1
    problem = check_before(root, sorted({test for each in chosen for test in each.tests}))
    if problem is not None:
        print(f"these tests do not pass before any sabotage:\n{problem}", file=sys.stderr)
        return 1
    missed = 0
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for sabotage, problem in zip(chosen, pool.map(lambda each: judge(root, each), chosen), strict=True):
            missed += problem is not None
            word = "noticed" if problem is None else "MISSED "
            print(f"{word}  {sabotage.name}: {problem or sabotage.why}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} sabotages were noticed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(run_all(ROOT, sys.argv[1:]))
