"""``meshca init``: a certificate authority begins."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meshca.cli.options import DEFAULT_CONFIG, Config, Output, Settings
from meshca.cli.output import Format

if TYPE_CHECKING:
    from meshca.config import Config as Loaded
    from meshca.operator.init import Founding, GivenRoot, NewRoot
    from meshca.rotation.authority_set import AuthoritySet

ROOT_KEY_TYPE = "ecdsa-p256"
ROOT_LIFETIME = "3650d"


def register(app: typer.Typer) -> None:
    app.command()(init)


def init(
    config: Config = DEFAULT_CONFIG,
    settings: Settings = None,
    root_cert: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Take this root (PEM; of a chain, all certificates from the signing one to the anchor), "
            "unless root.certificate of the configuration is there already.",
        ),
    ] = None,
    root_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The key of that root; unless given, it is looked for in the same file."),
    ] = None,
    root_passphrase_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The passphrase of the root's key, to read or to encrypt it with.")
    ] = None,
    root_key_type: Annotated[str, typer.Option(help="The type of a new root's key.")] = ROOT_KEY_TYPE,
    root_lifetime: Annotated[str, typer.Option(help="How long a new root is valid.")] = ROOT_LIFETIME,
    if_needed: Annotated[bool, typer.Option("--if-needed", help="Succeed when it was done before.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Make a root, or take the one that you have, and a first issuer whose key is sealed in the store.

    A store that was initialised before is never changed. When it fails, nothing of it remains.
    """
    import os

    from meshca.cli.output import notice, print_object
    from meshca.config import load
    from meshca.config.notation import parse_duration
    from meshca.errors import Misconfigured

    loaded = load(config, environ=os.environ, overrides=settings or ())
    if root_cert is None and root_key is not None:
        raise Misconfigured("--root-key was given without the certificate of that key: add --root-cert")
    try:
        lifetime = parse_duration(root_lifetime)
    except ValueError as error:
        raise Misconfigured(f"--root-lifetime {root_lifetime}: {error}") from None
    root = choose_root(
        loaded,
        certificate=root_cert,
        key=root_key,
        passphrase=root_passphrase_file,
        key_type=root_key_type,
        lifetime=lifetime,
    )
    first, made = found(loaded, root, if_needed=if_needed)
    print_object(_summary(first, created=made), output)
    if root_cert is not None and made and (loaded.root.certificate, loaded.root.key) != (root_cert, root_key or root_cert):
        notice(
            f"note: the next issuer is signed with the root that the configuration names: "
            f"set root.certificate to {root_cert} and root.key to {root_key or root_cert}"
        )


def choose_root(
    config: Loaded,
    *,
    certificate: Path | None,
    key: Path | None,
    passphrase: Path | None,
    key_type: str,
    lifetime: timedelta,
) -> NewRoot | GivenRoot:
    """The root of the command line, else the one that the configuration names, made when it is missing."""
    from meshca.operator.init import GivenRoot, NewRoot
    from meshca.roots.files import RootFiles
    from meshca.server import build

    if certificate is not None:
        return GivenRoot(certificate=certificate, key=key, passphrase=passphrase or config.root.passphrase_file)
    files = build.root_files(config)
    files = RootFiles(files.certificate, files.key, passphrase or files.passphrase)
    if files.certificate.exists():
        return GivenRoot(certificate=files.certificate, key=files.key, passphrase=files.passphrase)
    return NewRoot(files=files, key_type=key_type, lifetime=lifetime)


def found(config: Loaded, root: NewRoot | GivenRoot, *, if_needed: bool) -> tuple[AuthoritySet, bool]:
    """Make the store and its first authority set. Returns the set, and whether it was made now.

    Raises what :func:`meshca.operator.init.initialise` raises; a database file that was made for it is
    then removed.
    """
    from meshca.clock import utc_now
    from meshca.names import TrustDomain
    from meshca.operator.init import Founding, initialise
    from meshca.store import ControlStore

    founding = Founding(
        trust_domain=TrustDomain(config.trust_domain),
        root=root,
        kek_file=config.issuer.keys.kek.file,
        issuer_key_type=config.issuer.key_type,
        issuer_lifetime=config.issuer.lifetime,
        fingerprints=config.root.fingerprints,
    )
    with _database(config), contextlib.closing(ControlStore(config.store.url)) as store:
        present = store.authorities.read()
        if present is not None and if_needed:
            return present, False
        return initialise(founding, store=store.authorities, now=utc_now()), True
