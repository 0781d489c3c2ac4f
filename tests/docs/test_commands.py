"""The commands of the README and of the operators' page do what the page says."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, Block, blocks, pages, rows, words
from tests.world import COMMAND, World

RUN = {"README.md": ROOT / "README.md", "operations.md": DOCS / "operations.md"}
OPERATIONS = RUN["operations.md"].read_text()
PORTS = ("15012", "8080", "9990")
"""Those of the operators' page; the test has others, since the machine may use these."""

_CURL = """\
import sys, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[-1], timeout=5).read().decode(), end="")
except OSError:
    sys.exit(22)
"""


def written(name: str) -> list[Block]:
    return list(blocks(RUN[name].read_text()))


def free_ports(count: int) -> list[str]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with what the commands call: ``meshca``, and ``curl`` where the machine has none."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script(folder / "meshca", f'exec {" ".join(COMMAND)} "$@"')
    if shutil.which("curl") is None:
        (folder / "curl.py").write_text(_CURL)
        script(folder / "curl", f'exec {sys.executable} "{folder}/curl.py" "$@"')
    return folder


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)


@pytest.fixture
def folder(tmp_path: Path, programs: Path) -> Iterator[Path]:
    """Where the commands are run; whatever they have left running is stopped."""
    folder = tmp_path / "folder"
    folder.mkdir()
    yield folder
    if (folder / "world").exists():
        subprocess.run([*COMMAND, "dev", "down", "--dir", str(folder / "world")], check=False, capture_output=True)


def run(commands: str, folder: Path, programs: Path) -> subprocess.CompletedProcess[str]:
    """All commands in one shell that ends at the first that fails, and takes with it what it started."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MESHCA")}
    environment |= {"PATH": f"{programs}:{environment['PATH']}", "PYTHONPATH": str(ROOT)}
    output = folder / "output"
    with output.open("w") as stream:
        shell = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=folder,
            env=environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = shell.wait(timeout=60)
        except subprocess.TimeoutExpired:
            code = -1
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
    return subprocess.CompletedProcess("bash", code, output.read_text())


def in_order(name: str) -> str:
    """The page's commands, each block behind a line that says where it stands."""
    found = [block for block in written(name) if not block.reason]
    assert found, f"{name} has no commands to run"
    return "\n".join(f"echo '--- {name}:{block.line}'\n{block.commands}" for block in found)


def test_the_readmes_commands_work_in_their_order(folder: Path, programs: Path) -> None:
    done = run(in_order("README.md"), folder, programs)

    assert done.returncode == 0, done.stdout
    assert "cart/leaf.pem: OK" in done.stdout
    assert "spiffe://cluster.local/ns/shop/sa/web" in done.stdout
    assert "retiring" in done.stdout
    assert "accepted: spiffe://cluster.local/ns/shop/sa/cart" in done.stdout


def test_the_operators_commands_work_in_their_order(folder: Path, programs: Path, tmp_path: Path) -> None:
    with World(tmp_path / "cluster") as cluster:
        shutil.copy(cluster.folder / "jwks.json", folder)
        shutil.copy(cluster.token_file("istio-ca", namespace="shop", account="cart"), folder / "token")
    commands = in_order("operations.md")
    for documented, port in zip(PORTS, free_ports(len(PORTS)), strict=True):
        assert f"127.0.0.1:{documented}" in commands
        commands = commands.replace(f"127.0.0.1:{documented}", f"127.0.0.1:{port}")

    done = run(commands, folder, programs)

    assert done.returncode == 0, done.stdout
    assert "cart/leaf.pem: OK" in done.stdout
    assert '"event": "refused"' in done.stdout
    assert '"event": "draining"' in (folder / "meshca.log").read_text()
    assert (folder / "backup" / "meshca.db").exists()
    assert_fields_are_documented(folder / "meshca.log")


def assert_fields_are_documented(log: Path) -> None:
    """Of the lines that this log has, the page lists every field and no other."""
    documented = {event: set(words(row[2])) for row in rows(OPERATIONS, "## Logs") for event in words(row[0])}
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    wanted = {"issued", "refused", "loaded", "listening", "ready", "issuer", "rotation wished"}
    assert wanted <= {line["event"] for line in lines}
    for line in lines:
        if line["event"] in wanted:
            always = {"time", "level", "event", "process", "worker"}
            assert set(line) - always == documented[line["event"]], line["event"]


def test_a_failing_command_fails_its_page(folder: Path, programs: Path) -> None:
    """Without this the two tests above would prove nothing."""
    done = run("echo before; meshca certs show 00 --server unix:none; echo after", folder, programs)

    assert done.returncode == 1
    assert "before" in done.stdout
    assert "after" not in done.stdout


@pytest.mark.parametrize("name", RUN)
def test_each_block_is_run_or_says_why_not(name: str) -> None:
    reasons = [block.reason for block in written(name) if block.reason]

    assert RUN[name].read_text().count("<!-- not run:") == len(reasons), "a reason stands just before its block"
    assert all(len(reason.split()) >= 4 for reason in reasons)


def test_no_other_page_shows_what_this_one_does_not_run() -> None:
    """Commands of meshca's in other pages would grow old unseen."""
    others = [page for page in pages() if page not in RUN.values() and page.name != "cli.md"]

    found = [f"{page.name}:{block.line}" for page in others for block in blocks(page.read_text()) if not block.reason]

    # Run by tests/csr/test_blocked.py.
    assert [each for each in found if not each.startswith("blocked-keys.md")] == []
