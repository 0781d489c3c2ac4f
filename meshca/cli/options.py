"""The options that several commands have, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meshca.cli.output import Format

if TYPE_CHECKING:
    from datetime import timedelta

DEFAULT_CONFIG = Path("/etc/meshca/meshca.yaml")
DEFAULT_SERVER = "unix:/run/meshca/admin.sock"

Config = Annotated[Path, typer.Option("--config", metavar="FILE", help="The configuration.", show_default=True)]

Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Set a field of the configuration, such as leaf.lifetime=20s; can be given several times.",
    ),
]

Output = Annotated[Format, typer.Option("--output", "-o", help="A table to read, or JSON or YAML for programs.")]

Server = Annotated[
    str,
    typer.Option("--server", envvar="MESHCA_SERVER", metavar="unix:PATH", help="The admin socket of a running meshca."),
]


def duration(text: str, option: str) -> timedelta:
    """A duration as the configuration writes it, such as 30d or 20s. Raises Misconfigured, naming the option."""
    from meshca.config.notation import parse_duration
    from meshca.errors import Misconfigured, shown

    try:
        return parse_duration(text)
    except ValueError as error:
        raise Misconfigured(f"{option} is {shown(text)}: {error}") from None
