"""All commands together, and what becomes of their errors."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

import typer

from meshca.cli import certs, check, dev, explain, fetch, init, issuers, roots, rotate, serve, version
from meshca.cli.exits import ExitCode
from meshca.errors import MeshcaError

EPILOG = "Exit codes: " + "; ".join(f"{code.value} {code.meaning}" for code in ExitCode) + "."


def build() -> typer.Typer:
    """The application with every command registered."""
    app = typer.Typer(
        name="meshca",
        help="The certificate authority and identity service that every service mesh can share.",
        epilog=EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for noun in (init, serve, dev, fetch, certs, issuers, roots, rotate, check, explain, version):
        noun.register(app)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. An error is one line on standard error, never a traceback."""
    try:
        result = build()(list(arguments), prog_name="meshca", standalone_mode=False)
        sys.stdout.flush()
    except MeshcaError as error:
        return _told(str(error))
    except typer.TyperException as error:
        return _usage(error)
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except OSError as error:
        return _of_the_system(error)
    return result if isinstance(result, int) else ExitCode.OK


def _told(message: str) -> int:
    typer.echo(f"error: {message}", err=True)
    return ExitCode.FAILED


def _usage(error: typer.TyperException) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the whole help
        typer.echo(error.format_message(), err=True)
        return ExitCode.USAGE
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "meshca"
    message = error.format_message().rstrip(".").replace("\n", " ")
    typer.echo(f"error: {message}; see `{command} --help`", err=True)
    return error.exit_code


def _of_the_system(error: OSError) -> int:
    if error.errno == errno.EPIPE:
        # Who read our output has gone; so that Python does not say so once more when it flushes at its end:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    where = f" {error.filename}" if error.filename else ""
    return _told(f"{error.strerror or error}{where}: this file or address cannot be used; look at its owner and mode")
