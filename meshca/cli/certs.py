"""``meshca certs``: the ledger."""

from __future__ import annotations

from typing import Annotated

import typer

from meshca.cli.options import DEFAULT_SERVER, Output, Server
from meshca.cli.output import Format

_COLUMNS = ("serial", "identity", "service", "pod", "issuer", "issued", "not_after")


def register(app: typer.Typer) -> None:
    certs = typer.Typer(no_args_is_help=True, help="The ledger: who got which certificate, when, and until when.")
    certs.command("list")(list_certificates)
    certs.command("show")(show)
    app.add_typer(certs, name="certs")


def list_certificates(
    limit: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="At most so many; 0 is all.")] = 50,
    namespace: Annotated[str, typer.Option(help="Only this namespace.")] = "",
    service_account: Annotated[str, typer.Option(help="Only this service account.")] = "",
    pod: Annotated[str, typer.Option(help="Only this pod.")] = "",
    issuer: Annotated[str, typer.Option(help="Only what this issuer signed.")] = "",
    service: Annotated[str, typer.Option(help="Only what went out by this door: linkerd, istio or serving.")] = "",
    cluster: Annotated[str, typer.Option(help="Only this cluster.")] = "",
    live: Annotated[bool, typer.Option("--live", help="Only what is valid now.")] = False,
    output: Output = Format.TABLE,
    server: Server = DEFAULT_SERVER,
) -> None:
    """List certificates, the newest first."""
    from meshca._pb.meshca import admin_pb2
    from meshca.cli.admin import admin
    from meshca.cli.output import notice, print_list, record

    request = admin_pb2.ListCertificatesRequest(
        limit=limit,
        namespace=namespace,
        service_account=service_account,
        pod=pod,
        issuer=issuer,
        service=service,
        cluster=cluster,
        live=live,
    )
    with admin(server) as stub:
        rows = (record(each, without={"der"}) for each in stub.ListCertificates(request))
        count = print_list(rows, _COLUMNS, output)
    if output is Format.TABLE and count == limit:
        notice(f"the newest {limit}; --limit 0 lists all")
    elif output is Format.TABLE and not count:
        notice("no certificate fits")


def show(
    serial: Annotated[str, typer.Argument(help="The serial number, as `certs list` prints it.")],
    output: Output = Format.TABLE,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Show one certificate: all that the ledger knows of it, and the certificate itself."""
    from meshca import pem
    from meshca._pb.meshca import admin_pb2
    from meshca.cli.admin import DEADLINE, admin
    from meshca.cli.output import print_object, record

    with admin(server) as stub:
        certificate = stub.GetCertificate(admin_pb2.GetCertificateRequest(serial=serial), timeout=DEADLINE)
    print_object(record(certificate), output, leave_out={"der"})
    if output is Format.TABLE:
        typer.echo(pem.encode(certificate.der, label="CERTIFICATE"), nl=False)
