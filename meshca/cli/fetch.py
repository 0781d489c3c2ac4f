"""``meshca fetch``: a certificate as a proxy would get it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from meshca.cli.options import Output
from meshca.cli.output import Format
from meshca.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshca.cli.fetching.clients import Client
    from meshca.cli.fetching.requests import PrivateKey
    from meshca.names import ServiceAccount


Value = TypeVar("Value")


class Mesh(enum.StrEnum):
    """Whose proxy asks."""

    LINKERD = "linkerd"
    ISTIO = "istio"


class Key(enum.StrEnum):
    """The type of the proxy's key."""

    RSA_2048 = "rsa-2048"
    EC_P256 = "ec-p256"
    EC_P384 = "ec-p384"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to ask, and as whom."""

    address: str
    server_name: str
    roots: Path
    trust_domain: str
    control_namespace: str
    cluster: str
    token: Callable[[], str]


def register(app: typer.Typer) -> None:
    app.command()(fetch)


def fetch(
    mesh: Annotated[Mesh, typer.Option("--as", help="Whose proxy asks.")],
    service_account: Annotated[str, typer.Option(metavar="NAMESPACE/NAME", help="The account that asks.")],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="The folder for leaf.pem, chain.pem, roots.pem and key.pem.")
    ],
    dev: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Ask the world of `meshca dev up --dir DIR`, with a token of its own."),
    ] = None,
    key: Annotated[Key, typer.Option(help="The type of the key.")] = Key.EC_P256,
    count: Annotated[int, typer.Option(min=1, help="Ask so many times, with one key over one connection.")] = 1,
    log: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Append each serial, one a line, to the disk as soon as it was received."),
    ] = None,
    address: Annotated[str, typer.Option(metavar="HOST:PORT", help="Without --dev: where the service is.")] = "",
    server_name: Annotated[
        str,
        typer.Option(
            help="Without --dev: the name in the server's certificate. Unless given, Istio's is the host of the "
            "address, and Linkerd's is connected to in the clear, on this machine only."
        ),
    ] = "",
    roots: Annotated[Path | None, typer.Option(metavar="FILE", help="Without --dev: the roots to trust (PEM).")] = None,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Without --dev: the token; read anew for each certificate.")
    ] = None,
    trust_domain: Annotated[str, typer.Option(help="Without --dev: the trust domain.")] = "cluster.local",
    control_namespace: Annotated[str, typer.Option(help="Without --dev: of Linkerd's control plane.")] = "linkerd",
    cluster: Annotated[str, typer.Option(help="Without --dev: the cluster that Istio's client names.")] = "Kubernetes",
    output: Output = Format.TABLE,
) -> None:
    """Get a certificate as a proxy would, and verify it as that proxy would.

    The files hold the last certificate that was delivered and verified. The exit code is 0 only when everything
    that was asked for was. A server that gives no answer is given up within 5 seconds.
    """
    from meshca.cli.fetching.requests import KeyType, make_key
    from meshca.names import ServiceAccount

    account = ServiceAccount.parse(service_account)
    if dev is not None:
        place = _world(dev, mesh, account)
    else:
        place = Place(
            address=_given(address, "--address"),
            server_name=server_name or (address.rpartition(":")[0].strip("[]") if mesh is Mesh.ISTIO else ""),
            roots=_given(roots, "--roots"),
            trust_domain=trust_domain,
            control_namespace=control_namespace,
            cluster=cluster,
            token=_read_anew(_given(token_file, "--token-file")),
        )
    private_key = make_key(KeyType(key))
    client = _client(place, mesh, account, private_key)
    _run(client, place.token, private_key, out=out, count=count, log=log, output=output)


def _given(value: Value | None, option: str) -> Value:
    if not value:
        raise Misconfigured(f"neither --dev nor {option} was given: without a development world, {option} is needed")
    return value


def _world(folder: Path, mesh: Mesh, account: ServiceAccount) -> Place:
    from meshca.cli.dev.world import World, endpoints

    world = World(folder.resolve())
    config = world.load()
    found = endpoints(config)
    audience = config.audiences[mesh][0]
    return Place(
        address=found.istio if mesh is Mesh.ISTIO else found.linkerd,
        server_name=found.istio_name if mesh is Mesh.ISTIO else "",
        roots=world.roots,
        trust_domain=config.trust_domain,
        control_namespace=config.linkerd.control_namespace,
        cluster=config.clusters[0].name,
        token=_minted(world.folder, account, audience),
    )


def _minted(folder: Path, account: ServiceAccount, audience: str) -> Callable[[], str]:
    """A token of the development issuer, made anew when half of its life is over."""
    import time
    from datetime import timedelta

    from meshca.cli.dev.tokens import mint
    from meshca.cli.dev.world import World

    lifetime = timedelta(hours=1)
    token, fresh_until = "", 0.0

    def present() -> str:
        nonlocal token, fresh_until
        if time.monotonic() >= fresh_until:
            token = mint(World(folder), account, audience=audience, lifetime=lifetime)
            fresh_until = time.monotonic() + lifetime.total_seconds() / 2
        return token

    return present


def _read_anew(path: Path) -> Callable[[], str]:
    """The token in a file, which a kubelet replaces; read each time, as the real clients do."""

    def present() -> str:
        try:
            token = path.read_bytes().decode("ascii").strip()
        except OSError as error:
            raise Misconfigured(f"the token file {path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise Misconfigured(f"the file {path} holds no token") from None
        if not token:
            raise Misconfigured(f"the token file {path} is empty")
        return token

    return present


def _client(place: Place, mesh: Mesh, account: ServiceAccount, key: PrivateKey) -> Client:
    from meshca.cli.admin import quiet

    quiet()
    from meshca.cli.fetching.clients import IstioClient, LinkerdClient, Target
    from meshca.clock import utc_now
    from meshca.names import LinkerdName, TrustDomain

    try:
        roots_pem = place.roots.read_bytes()
    except OSError as error:
        raise Misconfigured(f"the roots {place.roots} cannot be read: {error.strerror}") from None
    target = Target(address=place.address, server_name=place.server_name, roots_pem=roots_pem)
    trust_domain = TrustDomain(place.trust_domain)
    if mesh is Mesh.LINKERD:
        name = LinkerdName(account, place.control_namespace, trust_domain)
        return LinkerdClient(target, name=str(name), key=key, clock=utc_now)
    return IstioClient(
        target, spiffe_id=str(account.spiffe_id(trust_domain)), cluster=place.cluster, key=key, clock=utc_now
    )


def _run(
    client: Client,
    token: Callable[[], str],
    key: PrivateKey,
    *,
    out: Path,
    count: int,
    log: Path | None,
    output: Format,
) -> None:
    import time

    from meshca.cli.fetching.delivery import SerialLog, deliver, write_files
    from meshca.cli.fetching.verdict import Delivery
    from meshca.cli.files import folder
    from meshca.cli.output import print_object
    from meshca.cli.progress import counting

    folder(out)
    started, delivered = time.monotonic(), 0
    last: Delivery | None = None
    try:
        with SerialLog(log) as serials, counting("certificates", count) as step:

            def received(delivery: Delivery) -> None:
                nonlocal last, delivered
                last, delivered = delivery, delivered + 1
                step()

            deliver(client, token=token, count=count, log=serials, received=received)
    finally:
        if last is not None:
            write_files(out, last, key)
    assert last is not None, "at least one was asked for, and all came"
    summary = {
        "delivered": delivered,
        "serial": last.serial,
        "not_before": f"{last.leaf.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{last.leaf.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        "seconds": round(time.monotonic() - started, 3),
        "out": str(out),
    }
    print_object(summary, output)
