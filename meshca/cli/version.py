"""``meshca version``."""

from __future__ import annotations

import typer

from meshca.cli.options import Output
from meshca.cli.output import Format


def register(app: typer.Typer) -> None:
    app.command()(version)


def version(output: Output = Format.TABLE) -> None:
    """Print the version of this program."""
    from meshca import __version__
    from meshca.cli.output import print_object

    if output is Format.TABLE:
        typer.echo(__version__)
    else:
        print_object({"version": __version__}, output)
