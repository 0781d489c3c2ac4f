"""``meshca issuers``."""

from __future__ import annotations

from typing import Annotated

import typer

from meshca.cli.options import DEFAULT_SERVER, Output, Server
from meshca.cli.output import Format

_COLUMNS = ("id", "state", "key_type", "not_before", "not_after", "live_leaves", "last_leaf_ends", "because")


def register(app: typer.Typer) -> None:
    issuers = typer.Typer(no_args_is_help=True, help="The issuers: the intermediates that sign leaves.")
    issuers.command("list")(list_issuers)
    issuers.command("show")(show)
    app.add_typer(issuers, name="issuers")


def list_issuers(output: Output = Format.TABLE, server: Server = DEFAULT_SERVER) -> None:
    """List all issuers, retired ones too, in the order in which they were made."""
    from meshca.cli.output import print_list

    print_list(_issuers(server), _COLUMNS, output)


def show(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="The issuer's ID, or its beginning.")],
    output: Output = Format.TABLE,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Show one issuer, with its chain."""
    from meshca.cli.output import print_object
    from meshca.errors import Conflict, shown

    found = [each for each in _issuers(server) if str(each["id"]).startswith(identifier)]
    if len(found) != 1 or not identifier:
        raise Conflict(f"{len(found)} issuers begin with {shown(identifier)}: see `meshca issuers list`")
    print_object(found[0], output, leave_out={"chain"})
    if output is Format.TABLE:
        typer.echo(found[0]["chain"], nl=False)


def _issuers(server: str) -> list[dict[str, object]]:
    from meshca._pb.meshca import admin_pb2
    from meshca.cli.admin import DEADLINE, admin
    from meshca.cli.output import record

    with admin(server) as stub:
        answer = stub.ListIssuers(admin_pb2.ListIssuersRequest(), timeout=DEADLINE)
    return [record(each) for each in answer.issuers]
