"""``docs/cli.md``, made from the commands themselves: ``python -m meshca.cli.reference > docs/cli.md``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer

from meshca.cli.app import build
from meshca.cli.exits import ExitCode

_HEAD = """\
# The command line

<!-- Made by `python -m meshca.cli.reference > docs/cli.md`; a test says whether it is current. -->

A running server is found by `--server` or `MESHCA_SERVER`: the Unix socket of its admin listener, guarded by its
folder's mode. Output is a table to read; `-o json` and `-o yaml` are for programs: `list` prints one array, `show` one
object, whose keys are the fields of [`proto/meshca/admin.proto`](../proto/meshca/admin.proto); times are RFC 3339 in
UTC, bytes are hexadecimal, and what is not known is `null`. An error is on standard error and begins with `error:`; it
says what was seen and what to do. Progress is shown on a terminal only. `meshca --install-completion` sets up
completion for the shell.
"""


def reference() -> str:
    """The whole page."""
    command: Any = typer.main.get_command(build())
    parts = [_HEAD, _exit_codes()]
    for path, each in _commands(command, "meshca"):
        parts.append(_section(path, each))
    return "\n".join(parts)


def _exit_codes() -> str:
    rows = "".join(f"| {code.value} | {code.meaning} |\n" for code in ExitCode)
    return f"## Exit codes\n\n| code | meaning |\n|---|---|\n{rows}"


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    inside = getattr(command, "commands", {})
    if not inside or getattr(command, "invoke_without_command", False):
        yield path, command
    for name, each in inside.items():
        yield from _commands(each, f"{path} {name}")


def _section(path: str, command: Any) -> str:
    context = typer.Context(command, info_name=path)
    parameters = [each for each in command.params if not getattr(each, "hidden", False)]
    arguments = [each for each in parameters if each.param_type_name == "argument"]
    words = [path, *(_placeholder(each) for each in arguments), "[OPTIONS]"]
    lines = [f"## `{path}`", "", inspect.cleandoc(command.help or ""), "", "```", " ".join(words), "```", ""]
    if parameters:
        lines += ["| option | meaning |", "|---|---|"]
        lines += [_row(each, context) for each in parameters]
        lines.append("")
    return "\n".join(lines)


def _row(parameter: Any, context: typer.Context) -> str:
    if parameter.param_type_name == "argument":
        return f"| `{_placeholder(parameter)}` | {_escaped(parameter.help)} |"
    value = "" if parameter.is_flag else f" {parameter.metavar or parameter.display_type(context)}"
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    notes = []
    if parameter.required:
        notes.append("Required.")
    default = parameter.get_default(context)
    if not parameter.is_flag and default not in (None, "", []):
        notes.append(f"Default: `{default}`.")
    if parameter.envvar:
        notes.append(f"Also: `{parameter.envvar}`.")
    return f"| `{_escaped(names + value)}` | {' '.join([_escaped(parameter.help), *notes]).strip()} |"


def _placeholder(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _escaped(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "").replace("|", "\\|")


if __name__ == "__main__":
    print(reference(), end="")
