"""The options that several commands have, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meshca.cli.output import Format

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
