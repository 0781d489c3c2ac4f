"""``meshca rotate``: the wish for a new issuer; the server's controller acts on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from meshca.cli.exits import ExitCode
from meshca.cli.options import DEFAULT_SERVER, Output, Server
from meshca.cli.output import Format

if TYPE_CHECKING:
    from meshca._pb.meshca import admin_pb2
    from meshca._pb.meshca.admin_pb2_grpc import AdminStub

_GATES = ("name", "state", "have", "need", "reason")
_PAUSE = 0.2

Because = Annotated[str, typer.Option(metavar="TEXT", help="The reason, for the audit log.")]
Wait = Annotated[bool, typer.Option("--wait", help="Return when the new issuer is active.")]
Timeout = Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="How long --wait waits at most.")]


def register(app: typer.Typer) -> None:
    rotate = typer.Typer(invoke_without_command=True, help="Replace the issuer, without a broken handshake.")
    rotate.callback()(unless_said)
    rotate.command("issuer")(issuer)
    rotate.command("status")(status)
    app.add_typer(rotate, name="rotate")


def unless_said(
    context: typer.Context,
    because: Because = "",
    wait: Wait = False,
    timeout: Timeout = 600,
    output: Output = Format.TABLE,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Replace the issuer, without a broken handshake (`meshca rotate` is `meshca rotate issuer`)."""
    if context.invoked_subcommand is None:
        issuer(because=because, wait=wait, timeout=timeout, output=output, server=server)


def issuer(
    because: Because = "",
    wait: Wait = False,
    timeout: Timeout = 600,
    output: Output = Format.TABLE,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Ask for a new issuer; a rotation that is under way is joined (exit code 3)."""
    from meshca._pb.meshca import admin_pb2
    from meshca.cli.admin import DEADLINE, admin
    from meshca.cli.output import notice

    with admin(server) as stub:
        wish = stub.RotateIssuer(admin_pb2.RotateIssuerRequest(because=because), timeout=DEADLINE)
        if wait:
            rotation, settled = _wait(stub, wish, timeout)
        else:
            rotation, settled = wish, True
    _print(rotation, output)
    if not settled:
        notice(
            f"not active after {timeout:g} s: {rotation.trouble or 'its gates wait'}; the rotation goes on by itself"
        )
        raise typer.Exit(ExitCode.WAITING)
    if wish.joined:
        raise typer.Exit(ExitCode.JOINED)


def status(output: Output = Format.TABLE, server: Server = DEFAULT_SERVER) -> None:
    """Show the rotation that is under way, and the gates of its next step."""
    from meshca._pb.meshca import admin_pb2
    from meshca.cli.admin import DEADLINE, admin

    with admin(server) as stub:
        rotation = stub.GetRotation(admin_pb2.GetRotationRequest(), timeout=DEADLINE)
    _print(rotation, output)


def _wait(stub: AdminStub, wish: admin_pb2.Rotation, timeout: float) -> tuple[admin_pb2.Rotation, bool]:
    """Follow the rotation until its issuer is active. Raises Conflict when it was abandoned."""
    import time

    from meshca._pb.meshca import admin_pb2
    from meshca.cli.admin import DEADLINE
    from meshca.cli.progress import waiting
    from meshca.errors import Conflict

    until = time.monotonic() + timeout
    with waiting(f"issuer {wish.issuer}") as say:
        while True:
            issuers = stub.ListIssuers(admin_pb2.ListIssuersRequest(), timeout=DEADLINE).issuers
            state = next((each.state for each in issuers if each.id == wish.issuer), "abandoned")
            rotation: admin_pb2.Rotation = stub.GetRotation(admin_pb2.GetRotationRequest(), timeout=DEADLINE)
            if state == "abandoned":
                raise Conflict(f"issuer {wish.issuer} was abandoned before it was active; see the server's log")
            if state in {"active", "retiring", "retired"}:
                # What was wished for, as it is now: when it is active, no rotation is under way any more.
                rotation.MergeFrom(admin_pb2.Rotation(issuer=wish.issuer, state=state, because=wish.because))
                rotation.joined = wish.joined
                return rotation, True
            if time.monotonic() >= until:
                rotation.joined = wish.joined
                return rotation, False
            say(
                "; ".join(
                    [
                        state,
                        *filter(None, [rotation.trouble]),
                        *(gate.reason for gate in rotation.gates if gate.state == "waits"),
                    ]
                )
            )
            time.sleep(_PAUSE)


def _print(rotation: admin_pb2.Rotation, output: Format) -> None:
    from meshca.cli.output import print_list, print_object, record

    fields = record(rotation)
    if output is not Format.TABLE:
        print_object(fields, output)
        return
    if not rotation.issuer:
        typer.echo(f"no rotation is under way; issuer {rotation.active_issuer} is active (epoch {rotation.epoch})")
        return
    print_object(fields, output, leave_out={"gates"})
    print_list(fields["gates"], _GATES, output)
