"""Break one line at a time in a copy of the tree, and see the tests that must notice turn red.

A sabotage is a TOML file in ``tests/sabotage``::

    why = "what an attacker or an auditor would gain"
    file = "meshca/tokens/jwks.py"
    find = "the exact text, which stands in the file once"
    replace = "what stands there instead"
    tests = ["tests/tokens/test_jwks.py::test_another_audience_is_refused"]

Its tests must pass before, and at least one must *fail* afterwards: an error while collecting, or
in a fixture, proves nothing. A sabotage whose text is not found once has been overtaken by the
code and is an error too. Exit status: 0 when every sabotage was noticed, else 1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("meshca", "tests", "proto", "docs", "deploy", "scripts", "pyproject.toml", "README.md")
TIMEOUT = 600
"""Seconds for one run of pytest."""


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
        text = tomllib.loads(path.read_text())
        return cls(path.stem, text["why"], text["file"], text["find"], text["replace"], tuple(text["tests"]))

    def breaks(self, tree: Path) -> str | None:
        """Apply it to this tree; returns why it does not apply."""
        path = tree / self.file
        if not path.is_file():
            return f"{self.file} is not there"
        text = path.read_text()
        if text.count(self.find) != 1:
            return f"its text stands in {self.file} {text.count(self.find)} times, not once"
        path.write_text(text.replace(self.find, self.replace))
        return None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What pytest counted."""

    passed: int
    failed: int
    errors: int


def run_tests(tree: Path, tests: Sequence[str]) -> Outcome:
    """Run these tests in a copy of the tree, whose package shadows the installed one."""
    report = tree / "report.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"--junitxml={report}", *tests]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        subprocess.run(command, cwd=tree, env=environment, capture_output=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return Outcome(0, 0, 1)
    if not report.exists():
        return Outcome(0, 0, 1)
    suite = ET.parse(report).getroot().find("testsuite")
    assert suite is not None
    total, failed, errors = (int(suite.get(name, "0")) for name in ("tests", "failures", "errors"))
    skipped = int(suite.get("skipped", "0"))
    return Outcome(total - failed - errors - skipped, failed, errors)


def copy_tree(folder: Path) -> Path:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, folder / name)
    return folder


def judge(sabotage: Sabotage) -> str | None:
    """Why this sabotage was not noticed as it should, or None."""
    with tempfile.TemporaryDirectory(prefix="meshca-sabotage-") as name:
        tree = copy_tree(Path(name))
        problem = sabotage.breaks(tree)
        if problem is not None:
            return f"does not apply: {problem}"
        outcome = run_tests(tree, sabotage.tests)
    if outcome.failed:
        return None
    if outcome.errors:
        return "its tests broke (collection or fixture) instead of failing"
    return f"SURVIVED: {outcome.passed} tests passed all the same"


def main() -> int:
    sabotages = [Sabotage.read(path) for path in sorted((ROOT / "tests" / "sabotage").glob("*.toml"))]
    chosen = [each for each in sabotages if not sys.argv[1:] or each.name in sys.argv[1:]]
    if not chosen or len(chosen) < len(sys.argv[1:]):
        print(f"unknown sabotage; there are: {', '.join(each.name for each in sabotages)}", file=sys.stderr)
        return 1
    tests = sorted({test for each in chosen for test in each.tests})
    with tempfile.TemporaryDirectory(prefix="meshca-sabotage-") as name:
        before = run_tests(copy_tree(Path(name)), tests)
    if before.failed or before.errors or not before.passed:
        print(f"the tests do not pass before any sabotage: {before}", file=sys.stderr)
        return 1
    missed = 0
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for sabotage, problem in zip(chosen, pool.map(judge, chosen), strict=True):
            missed += problem is not None
            print(
                f"{'noticed' if problem is None else 'MISSED '}  {sabotage.name}: {problem or sabotage.why}", flush=True
            )
    print(f"{len(chosen) - missed} of {len(chosen)} sabotages were noticed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
