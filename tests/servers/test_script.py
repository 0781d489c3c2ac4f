"""`scripts/servers` with a compiler that takes half a second: when it builds, where, and how often."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.process import ROOT

GO = """#!/bin/sh
[ "$1 $2" = "env GOVERSION" ] && { echo "${FAKE_GOVERSION-go1.26.99}"; exit; }
echo "$*" >>"$FAKE_LOG"
[ -e go.sum ] && [ "$GOTOOLCHAIN" = local ] || exit 3
sleep 0.5
[ -z "$FAKE_BROKEN" ] || { echo "main.go:1: no such thing, see https://index.invalid/x" >&2; exit 1; }
while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\\necho built\\n' >"$2/thing" && chmod +x "$2/thing"
"""


@dataclass
class Repository:
    """A copy of the script with one thing to build, and a cache of its own."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        log = str(self.folder / "builds")
        return {
            "PATH": path,
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "FAKE_LOG": log,
            "HOME": "/nowhere",
        }

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        command = [str(self.folder / "scripts" / "servers"), *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=self.environment | environment, stdout=pipe, stderr=pipe, text=True)

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        with self.start(*arguments, **environment) as process:
            out, err = process.communicate(timeout=30)
        return process.returncode, out, err

    def builds(self) -> int:
        log = self.folder / "builds"
        return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    (tmp_path / "scripts" / "lib").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "servers", tmp_path / "scripts")
    shutil.copy(ROOT / "scripts" / "lib" / "env.sh", tmp_path / "scripts" / "lib")
    sources = tmp_path / "tests" / "servers"
    (sources / "stuff").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "servers" / "go.txt", sources)
    (sources / "stuff" / "go.mod").write_text("module stuff\n\n// Building takes a moment.\ntool x.invalid/thing\n")
    (sources / "stuff" / "go.sum").touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "go").write_text(GO)
    (tmp_path / "bin" / "go").chmod(0o755)
    return Repository(tmp_path)


def test_what_is_built_is_found_and_not_built_again(repository: Repository) -> None:
    code, _, error = repository.run("path", "thing")
    assert (code, "run: scripts/servers build stuff" in error) == (1, True)
    assert repository.run("build")[0] == 0
    code, out, _ = repository.run("path", "thing")
    assert subprocess.run([out.strip()], capture_output=True, check=True).stdout == b"built\n"
    assert repository.run("build", "stuff") == (0, "", "")
    assert repository.builds() == 1


def test_two_builds_at_once_build_once(repository: Repository) -> None:
    runs = [repository.start("build") for _ in range(3)]
    for run in runs:
        run.communicate(timeout=30)
    assert [run.returncode for run in runs] == [0, 0, 0]
    assert repository.builds() == 1


@pytest.mark.parametrize("change", ["sources", "go"])
def test_another_source_or_another_go_is_another_build(repository: Repository, change: str) -> None:
    repository.run("build")
    before = repository.run("path", "thing")[1]
    environment = {}
    if change == "sources":
        (repository.folder / "tests" / "servers" / "stuff" / "main.go").write_text("package main\n")
    else:
        environment = {"FAKE_GOVERSION": "go1.27.1"}
    assert repository.run("path", "thing", **environment)[0] == 1
    repository.run("build", **environment)
    assert repository.run("path", "thing", **environment)[1] not in ("", before)
    assert repository.builds() == 2


def test_a_failed_build_says_why_without_addresses_and_leaves_nothing_to_be_found(
    repository: Repository,
) -> None:
    code, out, error = repository.run("build", FAKE_BROKEN="yes")
    assert (code, out) == (1, "")
    assert "main.go:1: no such thing, see <address>" in error
    assert "index.invalid" not in error
    assert repository.run("path", "thing")[0] == 1
    assert repository.run("build")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "scripts/servers build"),
        (("path",), 1, "path of what"),
        (("path", "x"), 1, "nothing here builds x"),
        (("build", "x"), 1, "no x to build; there are: stuff"),
    ],
)
def test_wrong_words_are_answered_with_the_right_ones(
    repository: Repository, arguments: tuple[str, ...], code: int, said: str
) -> None:
    answered, out, error = repository.run(*arguments)
    assert (answered, out) == (code, "")
    assert said in error
    assert repository.builds() == 0
