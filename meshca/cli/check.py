"""``meshca check``: is everything as it should be? The exit code tells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from meshca.cli.exits import ExitCode
from meshca.cli.options import DEFAULT_CONFIG, DEFAULT_SERVER, Config, Output, Server, Settings
from meshca.cli.output import Format

if TYPE_CHECKING:
    from meshca.config import Problem

_PROBLEM = ("path", "place", "seen", "remedy")
_FINDING = ("writer", "rows", "fault")


def register(app: typer.Typer) -> None:
    check = typer.Typer(no_args_is_help=True, help="Is everything as it should be? Exit code 1 when it is not.")
    check.command("config")(configuration)
    check.command("ledger")(ledger)
    app.add_typer(check, name="check")


def configuration(
    config: Config = DEFAULT_CONFIG,
    settings: Settings = None,
    show: Annotated[
        bool, typer.Option("--print", help="Print what is in effect, defaults included; secrets are masked.")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Judge the configuration as `serve` would, and list every problem. With -o json: the list of problems."""
    import os

    from meshca.cli.output import print_list, print_object, yaml_text
    from meshca.config import examine, shown_effective

    judged = examine(config, environ=os.environ, overrides=settings or ())
    if isinstance(judged, tuple):
        _refuse(config, judged, output)
    elif not show:
        if output is Format.TABLE:
            typer.echo(f"{config}: no problem found")
        else:
            print_list((), _PROBLEM, output)
    elif output is Format.JSON:
        print_object(shown_effective(judged), output)
    else:
        typer.echo(yaml_text(shown_effective(judged)), nl=False)


def _refuse(path: Path, problems: tuple[Problem, ...], output: Format) -> NoReturn:
    from meshca.cli.output import print_list
    from meshca.config.problems import report, written
    from meshca.errors import Misconfigured, shown

    if output is Format.TABLE:
        raise Misconfigured(report(problems, f"the configuration {shown(path)}"))
    rows = (
        {"path": written(each.path), "place": each.place, "seen": each.seen, "remedy": each.remedy} for each in problems
    )
    print_list(rows, _PROBLEM, output)
    raise typer.Exit(ExitCode.FAILED)


def ledger(output: Output = Format.TABLE, server: Server = DEFAULT_SERVER) -> None:
    """Walk the ledger's running hashes: was a row changed, taken out or put in?"""
    from meshca._pb.meshca import admin_pb2
    from meshca.cli.admin import admin
    from meshca.cli.output import print_list, record
    from meshca.cli.progress import waiting

    findings = []
    with admin(server) as stub, waiting("walking the ledger") as say:
        for finding in stub.CheckLedger(admin_pb2.CheckLedgerRequest()):
            findings.append(record(finding))
            say(f"{sum(each['rows'] for each in findings)} rows")
    print_list(findings, _FINDING, output)
    if any(each["fault"] for each in findings):
        typer.echo("error: the ledger is not as it was written; keep a copy of it before anything else", err=True)
        raise typer.Exit(ExitCode.FAILED)
