"""``meshca serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meshca.cli.options import DEFAULT_CONFIG, Config, Settings


def register(app: typer.Typer) -> None:
    app.command()(serve)


def serve(
    config: Config = DEFAULT_CONFIG,
    settings: Settings = None,
    bundle_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep the trust bundle (PEM) current in this file.")
    ] = None,
) -> None:
    """Run the certificate authority until SIGTERM. SIGTERM drains: calls in flight are answered first."""
    import os

    from meshca.config import load
    from meshca.server import control

    loaded = load(config, environ=os.environ, overrides=settings or ())
    control.serve(loaded, bundle_file=bundle_file)
