"""``meshca roots``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meshca.cli.options import DEFAULT_SERVER, Output, Server
from meshca.cli.output import Format

if TYPE_CHECKING:
    from meshca._pb.meshca import admin_pb2

_COLUMNS = ("id", "state", "subject", "key_type", "not_before", "not_after", "fingerprint")


def register(app: typer.Typer) -> None:
    roots = typer.Typer(no_args_is_help=True, help="The roots: what peers are configured to trust.")
    roots.command("list")(list_roots)
    roots.command("export")(export)
    app.add_typer(roots, name="roots")


def list_roots(output: Output = Format.TABLE, server: Server = DEFAULT_SERVER) -> None:
    """List the roots of the trust bundle, the newest first."""
    from meshca.cli.output import print_list, record

    print_list((record(each) for each in _bundle(server).roots), _COLUMNS, output)


def export(
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it here, as a whole or not at all.")] = None,
    output: Output = Format.TABLE,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Print the trust bundle as PEM. With -o json or yaml: its sequence and its PEM."""
    from meshca.cli.files import write
    from meshca.cli.output import print_object

    bundle = _bundle(server)
    pem = "".join(root.certificate for root in bundle.roots)
    if out is not None:
        write(out, pem.encode(), mode=0o644)
    elif output is Format.TABLE:
        typer.echo(pem, nl=False)
    else:
        print_object({"bundle_sequence": bundle.bundle_sequence, "pem": pem}, output)


def _bundle(server: str) -> admin_pb2.ListRootsResponse:
    from meshca._pb.meshca import admin_pb2
    from meshca.cli.admin import DEADLINE, admin

    with admin(server) as stub:
        answer: admin_pb2.ListRootsResponse = stub.ListRoots(admin_pb2.ListRootsRequest(), timeout=DEADLINE)
    return answer
