"""``meshca dev``: a whole local world in one folder, with no cluster.

``world`` is the folder and the configuration in it, ``process`` the running server, ``tokens`` the
issuer of Kubernetes-shaped tokens, ``follow`` what the foreground shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meshca.cli.options import Output, Settings, duration
from meshca.cli.output import Format

Folder = Annotated[Path, typer.Option("--dir", metavar="DIR", help="The folder of this world.")]


def register(app: typer.Typer) -> None:
    dev = typer.Typer(
        no_args_is_help=True,
        help="A whole local world with no cluster: a CA, a Kubernetes-shaped token issuer, both meshes' listeners.",
    )
    dev.command()(up)
    dev.command()(down)
    dev.command()(token)
    app.add_typer(dev, name="dev")


def up(
    folder: Folder,
    detach: Annotated[bool, typer.Option("--detach", help="Return when it is ready; it goes on running.")] = False,
    settings: Settings = None,
    output: Output = Format.TABLE,
) -> None:
    """Make the world in DIR, or take it up where it was, and write DIR/dev.env.

    `. DIR/dev.env` sets MESHCA_SERVER (the admin socket), MESHCA_DEV_LINKERD and MESHCA_DEV_ISTIO (host:port),
    MESHCA_DEV_ISTIO_NAME (the name in Istio's listener's certificate), MESHCA_DEV_ROOTS (the trust
    bundle, PEM, kept current), MESHCA_DEV_HTTP (the URL of metrics and health) and MESHCA_DEV_PID (the process that
    `meshca serve` runs as). Ports and everything that was --set stay as they are. Without --detach it
    shows what happens, until Ctrl-C.
    """
    from meshca.cli.dev import process
    from meshca.cli.dev.follow import follow
    from meshca.cli.dev.world import World
    from meshca.cli.files import folder as made
    from meshca.cli.output import print_object

    world = World(made(folder))
    logged = world.log.stat().st_size if world.log.exists() else 0
    pid, server = process.up(world, settings or ())
    if output is not Format.TABLE:
        print_object({"started": server is not None, **world.environment(world.load(), pid)}, output)
    elif server is None:
        typer.echo(f"it runs already, as process {pid}: `. {world.env}` sets what scripts need")
    else:
        typer.echo(f"ready: `. {world.env}` sets what scripts need; the log is {world.log}")
    if server is not None and not detach:
        follow(world, server, since=logged)


def down(folder: Folder, output: Output = Format.TABLE) -> None:
    """Stop the server of this world. The folder stays, so that `up` takes it up again."""
    from meshca.cli.dev import process
    from meshca.cli.dev.world import World
    from meshca.cli.output import print_object

    world = World(folder.resolve())
    pid = process.down(world) if world.config.exists() else None
    if output is not Format.TABLE:
        print_object({"stopped": pid}, output)
    else:
        typer.echo("it did not run" if pid is None else f"process {pid} has ended")


def token(
    folder: Folder,
    namespace: Annotated[str, typer.Option(help="The namespace of the service account.")],
    service_account: Annotated[str, typer.Option(help="The name of the service account.")],
    audience: Annotated[str, typer.Option(help="istio-ca opens Istio's service, identity.l5d.io Linkerd's.")],
    lifetime: Annotated[str, typer.Option(metavar="DURATION", help="How long the token is valid.")] = "1h",
    output: Output = Format.TABLE,
) -> None:
    """Print a token as a cluster would project it into a pod of this service account. The pod is invented."""
    from meshca.cli.dev.tokens import mint
    from meshca.cli.dev.world import World
    from meshca.cli.output import print_object
    from meshca.names import ServiceAccount

    valid = duration(lifetime, "--lifetime")
    account = ServiceAccount(namespace, service_account)
    minted = mint(World(folder.resolve()), account, audience=audience, lifetime=valid)
    if output is not Format.TABLE:
        print_object({"token": minted}, output)
    else:
        typer.echo(minted)
