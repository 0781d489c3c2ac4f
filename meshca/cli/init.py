"""``meshca init``: a certificate authority begins."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meshca.cli.options import DEFAULT_CONFIG, Config, Output, Settings, duration
from meshca.cli.output import Format

if TYPE_CHECKING:
    from datetime import timedelta

    from meshca.config import Config as Loaded
    from meshca.operator.init import GivenRoot, NewRoot
    from meshca.rotation.authority_set import AuthoritySet, AuthorityStore

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
            help="Take this root (PEM; of a chain, all certificates from the signing one to the anchor). Unless given, "
            "the one that the configuration names is taken, or made when it is missing.",
        ),
    ] = None,
    root_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The key of that root; unless given, it is looked for in the same file."),
    ] = None,
    root_passphrase_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The passphrase of the root's key, to read or to encrypt it with."),
    ] = None,
    root_key_type: Annotated[
        str,
        typer.Option(
            metavar="TYPE", help="The type of a new root's key: ecdsa-p256, ecdsa-p384 or rsa-2048 to rsa-4096."
        ),
    ] = ROOT_KEY_TYPE,
    root_lifetime: Annotated[
        str, typer.Option(metavar="DURATION", help="How long a new root is valid.")
    ] = ROOT_LIFETIME,
    if_needed: Annotated[bool, typer.Option("--if-needed", help="Succeed when it was done before.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Make a root, or take the one that you have, and a first issuer whose key is sealed in the store.

    A store that was initialised before is never changed. When it fails, nothing of it remains.
    """
    import os

    from meshca.cli.output import print_object
    from meshca.config import load
    from meshca.errors import Misconfigured
    from meshca.operator.init import AlreadyInitialised

    loaded = load(config, environ=os.environ, overrides=settings or ())
    if root_cert is None and root_key is not None:
        raise Misconfigured("--root-key was given without the certificate of that key: add --root-cert")
    root = choose_root(
        loaded,
        certificate=root_cert,
        key=root_key,
        passphrase=root_passphrase_file,
        key_type=root_key_type,
        lifetime=duration(root_lifetime, "--root-lifetime"),
    )
    try:
        first, created = found(loaded, root), True
    except AlreadyInitialised as error:
        if not if_needed:
            raise
        first, created = error.present, False
    print_object(_summary(first, created=created), output)
    if root_cert is not None and created:
        _compare(loaded, root_cert.absolute(), (root_key or root_cert).absolute())


def _compare(config: Loaded, certificate: Path, key: Path) -> None:
    """Say so when the next issuer would be signed by another root, or by none."""
    from meshca.cli.output import notice

    if (config.root.certificate, config.root.key) != (certificate, key):
        notice(
            "note: the next issuer is signed with the root that the configuration names: "
            f"set root.certificate to {certificate} and root.key to {key}"
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


def found(config: Loaded, root: NewRoot | GivenRoot) -> AuthoritySet:
    """Make the store and its first authority set.

    Raises what :func:`meshca.operator.init.initialise` raises; a database that was made for it is then
    removed.
    """
    from meshca.clock import utc_now
    from meshca.names import TrustDomain
    from meshca.operator.init import Founding, initialise

    founding = Founding(
        trust_domain=TrustDomain(config.trust_domain),
        root=root,
        kek_file=config.issuer.keys.kek.file,
        issuer_key_type=config.issuer.key_type,
        issuer_lifetime=config.issuer.lifetime,
        fingerprints=config.root.fingerprints,
    )
    return initialise(
        founding, store=lambda: _opened(config.store.url), store_files=_files_of(config.store.url), now=utc_now()
    )


@contextlib.contextmanager
def _opened(url: str) -> Iterator[AuthorityStore]:
    from meshca.cli.files import folder
    from meshca.store import ControlStore

    for path in _files_of(url)[:1]:
        folder(path.parent)
    store = ControlStore(url, create=True)
    try:
        yield store.authorities
    finally:
        store.close()


def _files_of(url: str) -> tuple[Path, ...]:
    """The files of an SQLite database; the first is the database itself."""
    path = url.removeprefix("sqlite:///")
    return tuple(Path(path + suffix) for suffix in ("", "-wal", "-shm", "-journal"))


def _summary(present: AuthoritySet, *, created: bool) -> dict[str, object]:
    from meshca.roots.judge import fingerprint

    issuer, root = present.active, present.roots[0].certificate
    return {
        "created": created,
        "trust_domain": present.trust_domain,
        "epoch": present.epoch,
        "root": root.subject.rfc4514_string(),
        "root_fingerprint": fingerprint(root),
        "root_not_after": f"{root.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        "issuer": issuer.id,
        "issuer_not_after": f"{issuer.chain[0].not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
    }
