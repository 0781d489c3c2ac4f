"""The application as a whole: errors, exit codes, help, speed, and its reference page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from meshca import __version__
from meshca.cli import reference
from meshca.cli.app import build, run
from meshca.cli.exits import ExitCode

MESHCA = [sys.executable, "-m", "meshca"]
DOCS = Path(__file__).parents[2] / "docs" / "cli.md"
HEAVY = {"grpc", "sqlalchemy", "yaml", "cryptography", "google.protobuf", "starlette", "meshca.config"}
"""pydantic is not here, since typer itself reads options with it."""


def every_command() -> Iterator[str]:
    def walk(command: Any, path: str) -> Iterator[str]:
        yield path
        for name, each in getattr(command, "commands", {}).items():
            yield from walk(each, f"{path} {name}".strip())

    yield from walk(typer.main.get_command(build()), "")


def test_commands_that_others_script_against_are_all_there() -> None:
    fixed = {
        *("init", "serve", "dev up", "dev down", "dev token", "fetch", "certs list", "certs show", "issuers list"),
        *("issuers show", "roots list", "roots export", "rotate", "rotate issuer", "rotate status", "check config"),
        *("check ledger", "explain token", "explain csr", "version"),
    }

    assert fixed <= set(every_command())


@pytest.mark.parametrize("command", list(every_command()))
def test_help_is_there_for_every_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = run([*command.split(), "--help"])

    assert code == 0
    assert "Usage: meshca" in capsys.readouterr().out


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version"]) == 0
    assert run(["version", "-o", "json"]) == 0

    plain, _, as_json = capsys.readouterr().out.partition("\n")
    assert plain == __version__
    assert json.loads(as_json) == {"version": __version__}


@pytest.mark.parametrize("arguments", ["version", "--help", "dev up --help", "fetch --help"])
def test_nothing_heavy_is_imported_for(arguments: str) -> None:
    script = f"import sys; from meshca.cli.app import run; run({arguments.split()!r}); print(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    assert not HEAVY & set(done.stdout.splitlines()[-1].split())


USAGE = {
    "unknown command": ["nonsense"],
    "unknown option": ["version", "--nonsense"],
    "wrong choice": ["version", "-o", "xml"],
    "number out of range": ["certs", "list", "--limit", "-1"],
    "missing argument": ["certs", "show"],
    "missing option": ["fetch", "--as", "linkerd"],
    "unknown mesh": ["fetch", "--as", "consul", "--service-account", "a/b", "--out", "x"],
}


@pytest.mark.parametrize("arguments", USAGE.values(), ids=USAGE)
def test_command_line_that_is_not_understood_ends_with_two(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(arguments)

    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith("error: ")
    assert error.endswith("--help`\n")
    assert error.count("\n") == 1


FAILURES = {
    "no server": (["issuers", "list", "--server", "unix:/nowhere/s"], "no meshca serves at unix:/nowhere/s: start it"),
    "no socket's address": (["issuers", "list", "--server", "localhost:1"], "is not unix:/path"),
    "no configuration": (["init", "--config", "/nowhere/m.yaml"], "there is no configuration at '/nowhere/m.yaml'"),
    "no configuration to serve": (["serve", "--config", "/nowhere/m.yaml"], "there is no configuration"),
    "no token file": (["explain", "token", "/nowhere/token"], "/nowhere/token cannot be read"),
    "no world": (["dev", "token", "--dir", "/nowhere", "--namespace", "a", "--service-account", "b", "--audience", "c"],
                 "holds no development world"),
    "no account": (["fetch", "--as", "istio", "--service-account", "a", "--out", "/nowhere/x"], "write NAMESPACE/NAME"),
    "no address": (["fetch", "--as", "istio", "--service-account", "a/b", "--out", "/x"], "nor --address was"),
    "key without certificate": (["init", "--config", "{config}", "--root-key", "k"], "add --root-cert"),
    "bad lifetime": (["init", "--config", "{config}", "--root-lifetime", "30"], "--root-lifetime is '30': write"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), FAILURES.values(), ids=FAILURES)
def test_failure_is_told_on_standard_error_and_ends_with_one(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "meshca.yaml"
    config.write_text("trust_domain: cluster.local\n")

    code = run([each.format(config=config) for each in arguments])

    printed = capsys.readouterr()
    assert (code, printed.out) == (ExitCode.FAILED, "")
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert "Traceback" not in printed.err


def test_server_is_found_in_the_environment() -> None:
    environment = {**os.environ, "MESHCA_SERVER": "unix:/nowhere/from-environment"}

    done = subprocess.run([*MESHCA, "roots", "list"], check=False, capture_output=True, text=True, env=environment)

    assert done.returncode == 1
    assert "unix:/nowhere/from-environment" in done.stderr


def test_reader_that_goes_away_is_no_traceback() -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m meshca --help | true"], check=True, capture_output=True, text=True
    )

    assert done.stderr == ""


def test_reference_page_is_current() -> None:
    assert DOCS.read_text() == reference.reference(), "run: python -m meshca.cli.reference > docs/cli.md"


def test_every_command_is_on_the_reference_page() -> None:
    page = DOCS.read_text()

    leaves = [
        each
        for each in every_command()
        if each and each not in {"dev", "certs", "issuers", "roots", "check", "explain"}
    ]
    assert [each for each in leaves if f"## `meshca {each}`" not in page] == []


def test_problems_of_a_configuration_are_a_json_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "meshca.yaml"
    config.write_text("trust_domain: cluster.local\nleaf: {lifetim: 1h}\n")

    code = run(["check", "config", "--config", str(config), "-o", "json"])

    (problem,) = json.loads(capsys.readouterr().out)
    assert code == 1
    assert problem["path"] == "leaf.lifetim"
    assert problem["place"] == "line 2"


def test_problems_of_a_configuration_are_told_to_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "meshca.yaml"
    config.write_text("trust_domain: cluster.local\nleaf: {lifetim: 1h}\n")

    assert run(["check", "config", "--config", str(config)]) == 1
    assert "leaf.lifetim (line 2)" in capsys.readouterr().err


def test_effective_configuration_is_printed_with_what_was_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "meshca.yaml"
    config.write_text("trust_domain: cluster.local\n")

    code = run(["check", "config", "--config", str(config), "--print", "-o", "json", "--set", "leaf.lifetime=20s"])

    printed = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (printed["trust_domain"], printed["leaf"]["lifetime"]) == ("cluster.local", "20s")


def test_good_configuration_is_said_to_be_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "meshca.yaml"
    config.write_text("trust_domain: cluster.local\n")

    assert run(["check", "config", "--config", str(config)]) == 0
    assert "no problem found" in capsys.readouterr().out
