"""``meshca init``: a deployment's first authority set, from a root that is made or given.

In this order, so that what can fail fails before anything is kept: the root is opened or made, the
key-encryption key is read or made, the first issuer's key is sealed, its certificate signed and
judged, and the set stored if there is none. What a run has written is removed when it fails.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from meshca.errors import Conflict, Misconfigured
from meshca.keys.algorithms import spki_sha256
from meshca.keys.sealed import FileKek
from meshca.names import TrustDomain
from meshca.roots.chain import unfit
from meshca.roots.files import RootFiles, create_root, open_root, read_certificates
from meshca.roots.held import HeldRoot
from meshca.roots.judge import fingerprint
from meshca.rotation.authority_set import AuthoritySet, AuthorityStore, IssuerState, Root, RootState
from meshca.rotation.issuers import certify, staged_issuer


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRoot:
    """A root to be made: self-signed, its key in a file."""

    files: RootFiles
    key_type: str
    lifetime: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenRoot:
    """The root that a company has: the certificate of the signing key with what leads to the anchor."""

    certificate: Path
    key: Path | None
    """None looks for the key in the file of the certificate."""
    passphrase: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """What a deployment begins with."""

    trust_domain: TrustDomain
    root: NewRoot | GivenRoot
    kek_file: Path
    """Made when it is missing."""
    issuer_key_type: str
    issuer_lifetime: timedelta
    fingerprints: tuple[str, ...] = ()
    """When there are any: the only roots under which an issuer may chain (``sha256:…``)."""


class AlreadyInitialised(Conflict):
    """The store has an authority set of this trust domain; nothing was changed."""

    def __init__(self, present: AuthoritySet) -> None:
        super().__init__(
            f"already initialised: trust domain {present.trust_domain}, epoch {present.epoch}, "
            f"active issuer {present.active.id}; nothing was changed"
        )
        self.present = present


OpenStore = Callable[[], AbstractContextManager[AuthorityStore]]
"""Opens the store, and makes it when it is missing."""


def initialise(
    founding: Founding, *, store: OpenStore, store_files: Sequence[Path] = (), now: datetime
) -> AuthoritySet:
    """Store the first authority set: epoch 1, bundle sequence 1, one root, one active issuer.

    ``store_files`` are the files that opening the store may make. Raises AlreadyInitialised, or
    Conflict when the set that is there is another trust domain's or another run is at work;
    Misconfigured when the root, its key or the key-encryption key cannot be used; Unavailable when the
    store cannot be reached. Whenever it raises, the store is as it was and no file of this run remains.
    """
    with (
        _alone(founding.kek_file.parent),
        _removed_on_failure((*_written(founding), *store_files)),
        store() as authorities,
    ):
        _refuse_second(authorities.read(), founding.trust_domain)
        first = _first_set(founding, now)
        if authorities.create(first).active.id != first.active.id:
            raise Conflict("another `meshca init` came first: its authority set stands, and this one is thrown away")
        return first


def _refuse_second(present: AuthoritySet | None, trust_domain: TrustDomain) -> None:
    if present is None:
        return
    if present.trust_domain != trust_domain.name:
        raise Conflict(
            f"the store belongs to trust domain {present.trust_domain}, and the configuration says {trust_domain}: "
            "a trust domain cannot be changed; use another store"
        )
    raise AlreadyInitialised(present)


def _first_set(founding: Founding, now: datetime) -> AuthoritySet:
    source = _root(founding, now)
    (anchor,) = source.roots()
    _expect(anchor, founding.fingerprints)
    kek = _kek(founding.kek_file)
    root = Root(
        id=fingerprint(anchor).removeprefix("sha256:")[:16],
        certificate=anchor,
        spki_sha256=spki_sha256(anchor.public_key()),  # type: ignore[arg-type] # hashed only
        state=RootState.ACTIVE,
    )
    issuer, signer = staged_issuer(
        key_type=founding.issuer_key_type, kek=kek, root_id=root.id, because="meshca init", now=now
    )
    chain = certify(
        issuer,
        signer,
        source,
        trust_domain=founding.trust_domain,
        lifetime=founding.issuer_lifetime,
        now=now,
    )
    return AuthoritySet(
        trust_domain=founding.trust_domain.name,
        epoch=1,
        bundle_sequence=1,
        roots=(root,),
        issuers=(replace(issuer, state=IssuerState.ACTIVE, chain=chain),),
    )


def _root(founding: Founding, now: datetime) -> HeldRoot:
    root = founding.root
    if isinstance(root, GivenRoot):
        return _given(root, now)
    if founding.fingerprints:
        raise Misconfigured(
            "root.fingerprints names the roots to be trusted, so a new one cannot be made: "
            "give that root with --root-cert and --root-key, or take the fingerprints out"
        )
    for path in (root.files.key, root.files.certificate):
        _make_folder(path.parent)
    create_root(root.files, founding.trust_domain, key_type=root.key_type, lifetime=root.lifetime, now=now)
    return open_root(root.files)


def _given(root: GivenRoot, now: datetime) -> HeldRoot:
    read_certificates(root.certificate)  # so that a missing certificate is not told of as a missing key
    if root.key is None and b"PRIVATE KEY-----" not in root.certificate.read_bytes():
        raise Misconfigured(
            f"{root.certificate} holds no private key and none was given: add --root-key; "
            "signing an issuer with a root that stays offline follows in a later version"
        )
    files = RootFiles(root.certificate, root.key or root.certificate, root.passphrase)
    held = open_root(files)
    findings = unfit(held.chain, now)
    if findings:
        raise Misconfigured(f"no issuer can be signed under the root in {root.certificate}: " + "; ".join(findings))
    return held


def _expect(anchor: x509.Certificate, fingerprints: tuple[str, ...]) -> None:
    if fingerprints and fingerprint(anchor) not in fingerprints:
        raise Misconfigured(
            f"the root's anchor has the fingerprint {fingerprint(anchor)}, which is not in root.fingerprints: "
            "it is another root, or the list is out of date"
        )


def _kek(path: Path) -> FileKek:
    try:
        FileKek.create(path)
    except OSError as error:
        raise Misconfigured(f"the key-encryption key {path} cannot be written: {error.strerror}") from None
    return FileKek.read(path)


def _written(founding: Founding) -> tuple[Path, ...]:
    """The files that a run may write."""
    root = founding.root
    made = (root.files.key, root.files.certificate) if isinstance(root, NewRoot) else ()
    return (*made, founding.kek_file)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One run at a time, so that a file that was missing at the beginning was written by this run."""
    _make_folder(folder)
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise Misconfigured(f"the folder {folder} cannot be used: {error.strerror}") from None
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"another `meshca init` is at work in {folder}: wait until it has ended") from None
        yield


@contextlib.contextmanager
def _removed_on_failure(paths: tuple[Path, ...]) -> Iterator[None]:
    missing = [path for path in paths if not path.exists()]
    try:
        yield
    except BaseException:
        for path in missing:
            path.unlink(missing_ok=True)
        raise


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"the folder {path} cannot be made: {error.strerror}") from None
