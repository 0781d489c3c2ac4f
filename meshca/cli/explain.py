"""``meshca explain``: why a token or a CSR is accepted or refused."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meshca.cli.exits import ExitCode
from meshca.cli.options import DEFAULT_SERVER, Output, Server
from meshca.cli.output import Format

if TYPE_CHECKING:
    from meshca._pb.meshca import admin_pb2

_COLUMNS = ("name", "result", "detail")
_MAX_FILE = 64 * 1024


class Service(enum.StrEnum):
    """A service whose rules apply."""

    LINKERD = "linkerd"
    ISTIO = "istio"


For = Annotated[Service, typer.Option("--service", help="The service whose audiences and rules apply.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="The file that holds it; - is standard input.")]


def register(app: typer.Typer) -> None:
    explain = typer.Typer(
        no_args_is_help=True,
        help="Why a token or a CSR is accepted or refused, check by check; exit code 1 when refused.",
    )
    explain.command("token")(token)
    explain.command("csr")(csr)
    app.add_typer(explain, name="explain")


def token(
    file: File,
    service: For = Service.ISTIO,
    cluster: Annotated[str, typer.Option(help="The cluster that the client names; unless said, it names none.")] = "",
    output: Output = Format.TABLE,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Explain a service account's token. It is sent to the server and nowhere else, and never printed."""
    from meshca._pb.meshca import admin_pb2
    from meshca.cli.admin import DEADLINE, admin

    text = _read(file).decode("latin-1").strip()
    request = admin_pb2.ExplainTokenRequest(token=text, service=service, cluster=cluster)
    with admin(server) as stub:
        answer = stub.ExplainToken(request, timeout=DEADLINE)
    _print(answer, output)


def csr(
    file: File,
    service_account: Annotated[
        str, typer.Option(metavar="NAMESPACE/NAME", help="The account that the token would prove.")
    ],
    service: For = Service.ISTIO,
    output: Output = Format.TABLE,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Explain a certificate signing request, PEM or DER."""
    from meshca._pb.meshca import admin_pb2
    from meshca.cli.admin import DEADLINE, admin

    request = admin_pb2.ExplainCsrRequest(csr=_read(file), service=service, service_account=service_account)
    with admin(server) as stub:
        answer = stub.ExplainCsr(request, timeout=DEADLINE)
    _print(answer, output)


def _read(path: Path) -> bytes:
    import sys

    from meshca.errors import Misconfigured

    try:
        with sys.stdin.buffer if str(path) == "-" else path.open("rb") as file:
            content = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > _MAX_FILE:
        raise Misconfigured(f"{path} is over {_MAX_FILE} bytes, which no token or CSR is")
    return content


def _print(explanation: admin_pb2.Explanation, output: Format) -> None:
    from meshca.cli.output import print_list, print_object, record

    fields = record(explanation)
    if output is Format.TABLE:
        print_list(fields["checks"], _COLUMNS, output)
        away = any(check.result == "unavailable" for check in explanation.checks)
        refusal = "undecided: ask again when what is unavailable is there" if away else "refused"
        typer.echo(f"accepted: {explanation.identity}" if explanation.accepted else refusal)
    else:
        print_object(fields, output)
    if not explanation.accepted:
        raise typer.Exit(ExitCode.FAILED)
