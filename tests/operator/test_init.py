"""``meshca init``: which roots it takes, what it stores, and that nothing half-made stays."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from meshca.errors import Conflict, Misconfigured
from meshca.keys.sealed import FileKek
from meshca.names import TrustDomain
from meshca.operator.init import AlreadyInitialised, Founding, GivenRoot, NewRoot, initialise
from meshca.roots.files import RootFiles
from meshca.roots.judge import fingerprint
from meshca.rotation.authority_set import AuthoritySet, IssuerState
from meshca.rotation.issuers import open_key
from tests.operator.company import CA, SIGNS, Pair, authority, joined

# Later than every certificate that OpenSSL makes while the tests run, however long that takes.
NOW = datetime.now(UTC) + timedelta(hours=2)
"""After OpenSSL has made its certificates, which begin at the second in which they are made."""
PASSPHRASE = "correct horse battery staple"


class Store:
    """An authority store in memory, which somebody else may have reached first."""

    def __init__(self, present: AuthoritySet | None = None, *, winner: AuthoritySet | None = None) -> None:
        self.present = present
        self._winner = winner

    def read(self) -> AuthoritySet | None:
        return self.present

    def create(self, first: AuthoritySet) -> AuthoritySet:
        self.present = self.present or self._winner or first
        return self.present

    def replace(self, before: AuthoritySet, after: AuthoritySet) -> None:
        raise AssertionError("init replaces nothing")


def opened(store: Store, *, file: Path | None = None) -> Callable[[], contextlib.AbstractContextManager[Store]]:
    @contextlib.contextmanager
    def opening() -> Iterator[Store]:
        if file is not None:
            file.write_text("a database")
        yield store

    return opening


def new_root(folder: Path, *, passphrase: Path | None = None) -> NewRoot:
    files = RootFiles(folder / "root.crt", folder / "root.key", passphrase)
    return NewRoot(files=files, key_type="ecdsa-p256", lifetime=timedelta(days=3650))


def founding(folder: Path, root: NewRoot | GivenRoot, *, fingerprints: tuple[str, ...] = ()) -> Founding:
    return Founding(
        trust_domain=TrustDomain("example.org"),
        root=root,
        kek_file=folder / "kek",
        issuer_key_type="ecdsa-p256",
        issuer_lifetime=timedelta(days=30),
        fingerprints=fingerprints,
    )


def given(pair: Pair) -> GivenRoot:
    return GivenRoot(certificate=pair.certificate, key=pair.key)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where meshca's own files go."""
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


@pytest.fixture
def corp(tmp_path: Path) -> Path:
    """Where the company's files are."""
    folder = tmp_path / "corp"
    folder.mkdir()
    return folder


def openssl_accepts(present: AuthoritySet, folder: Path) -> bool:
    """OpenSSL's opinion of the issuer, as a CA below the stored root."""
    bundle, chain, issuer = folder / "v-root.pem", folder / "v-chain.pem", folder / "v-issuer.pem"
    bundle.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in present.bundle))
    certificates = [each.public_bytes(Encoding.PEM) for each in present.active.chain]
    issuer.write_bytes(certificates[0])
    chain.write_bytes(b"".join(certificates[1:]))
    command = ["openssl", "verify", "-x509_strict", "-attime", str(int(NOW.timestamp())), "-CAfile", str(bundle)]
    if certificates[1:]:
        command += ["-untrusted", str(chain)]
    return subprocess.run([*command, str(issuer)], check=False, capture_output=True).returncode == 0


def test_first_set_has_epoch_one_and_an_active_issuer_under_the_new_root(state: Path, tmp_path: Path) -> None:
    store = Store()

    first = initialise(founding(state, new_root(state)), store=opened(store), now=NOW)

    assert (first.trust_domain, first.epoch, first.bundle_sequence) == ("example.org", 1, 1)
    assert [each.state for each in first.issuers] == [IssuerState.ACTIVE]
    assert store.present == first
    assert openssl_accepts(first, tmp_path)


def test_key_of_the_first_issuer_is_sealed_under_the_kek(state: Path) -> None:
    first = initialise(founding(state, new_root(state)), store=opened(Store()), now=NOW)

    signer = open_key(first.active, FileKek.read(state / "kek"))

    assert signer.public_key == first.active.chain[0].public_key()


def test_files_of_a_new_root_are_for_their_owner_alone(state: Path) -> None:
    initialise(founding(state, new_root(state)), store=opened(Store()), now=NOW)

    modes = {path.name: path.stat().st_mode & 0o777 for path in state.iterdir()}
    assert modes == {"root.crt": 0o644, "root.key": 0o600, "kek": 0o600}


def test_key_of_a_new_root_is_encrypted_under_the_passphrase(state: Path) -> None:
    passphrase = state / "passphrase"
    passphrase.write_text(PASSPHRASE + "\n")
    passphrase.chmod(0o600)

    initialise(founding(state, new_root(state, passphrase=passphrase)), store=opened(Store()), now=NOW)

    def opens(word: str) -> bool:
        command = ["openssl", "pkey", "-noout", "-in", str(state / "root.key"), "-passin", f"pass:{word}"]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    assert opens(PASSPHRASE)
    assert not opens("another")


def test_existing_kek_is_kept(state: Path) -> None:
    FileKek.create(state / "kek")
    before = (state / "kek").read_bytes()

    initialise(founding(state, new_root(state)), store=opened(Store()), now=NOW)

    assert (state / "kek").read_bytes() == before


@pytest.mark.parametrize("key", ["p256", "p384", "rsa2048"])
def test_company_root_of_any_usable_key_is_taken(key: str, state: Path, corp: Path, tmp_path: Path) -> None:
    root = authority(corp, "root", key=key)

    first = initialise(founding(state, given(root)), store=opened(Store()), now=NOW)

    assert [each.public_bytes(Encoding.PEM) for each in first.bundle] == [root.certificate.read_bytes()]
    assert openssl_accepts(first, tmp_path)


@pytest.mark.parametrize("anchor_first", [False, True])
@pytest.mark.parametrize("key", ["p256", "rsa2048"])
def test_chain_of_a_company_is_taken_in_either_order(
    key: str, anchor_first: bool, state: Path, corp: Path, tmp_path: Path
) -> None:
    root = authority(corp, "root", key=key)
    policy = authority(corp, "policy", key=key, parent=root, days=3000)
    meshes = authority(corp, "meshes", key=key, parent=policy, days=2000)
    order = [root, policy, meshes] if anchor_first else [meshes, policy, root]
    file = joined(corp / "chain.pem", *(each.certificate for each in order))

    first = initialise(founding(state, GivenRoot(certificate=file, key=meshes.key)), store=opened(Store()), now=NOW)

    assert [each.public_bytes(Encoding.PEM) for each in first.bundle] == [root.certificate.read_bytes()]
    assert [each.subject.rfc4514_string() for each in first.active.chain[1:]] == [
        "CN=meshes,O=Example Corp",
        "CN=policy,O=Example Corp",
    ]
    assert openssl_accepts(first, tmp_path)


def test_key_in_the_file_of_the_certificate_is_found(state: Path, corp: Path) -> None:
    root = authority(corp, "root")
    file = joined(corp / "both.pem", root.certificate, root.key)

    first = initialise(founding(state, GivenRoot(certificate=file, key=None)), store=opened(Store()), now=NOW)

    assert first.active.state is IssuerState.ACTIVE


def test_encrypted_key_of_a_company_is_opened_with_its_passphrase(state: Path, corp: Path) -> None:
    root = authority(corp, "root", passphrase=PASSPHRASE)
    word = corp / "word"
    word.write_text(PASSPHRASE)
    word.chmod(0o600)

    first = initialise(founding(state, replace(given(root), passphrase=word)), store=opened(Store()), now=NOW)

    assert first.active.state is IssuerState.ACTIVE


def test_issuer_never_outlives_the_root(state: Path, corp: Path) -> None:
    root = authority(corp, "root", days=10)

    first = initialise(founding(state, given(root)), store=opened(Store()), now=NOW)

    assert first.active.chain[0].not_valid_after_utc == first.bundle[0].not_valid_after_utc


def refusal_no_key(corp: Path) -> GivenRoot:
    return GivenRoot(certificate=authority(corp, "root").certificate, key=None)


def refusal_wrong_key(corp: Path) -> GivenRoot:
    return GivenRoot(certificate=authority(corp, "root").certificate, key=authority(corp, "other").key)


def refusal_encrypted(corp: Path) -> GivenRoot:
    return given(authority(corp, "root", passphrase=PASSPHRASE))


def refusal_passphrase(corp: Path) -> GivenRoot:
    word = corp / "word"
    word.write_text("another")
    word.chmod(0o600)
    return replace(given(authority(corp, "root", passphrase=PASSPHRASE)), passphrase=word)


def refusal_open_key(corp: Path) -> GivenRoot:
    root = authority(corp, "root")
    root.key.chmod(0o644)
    return given(root)


def refusal_missing_file(corp: Path) -> GivenRoot:
    return GivenRoot(certificate=corp / "nowhere.crt", key=None)


def refusal_not_pem(corp: Path) -> GivenRoot:
    (corp / "root.crt").write_bytes(b"\x30\x82 this is DER, perhaps")
    return GivenRoot(certificate=corp / "root.crt", key=None)


def refusal_path_length(corp: Path) -> GivenRoot:
    return given(authority(corp, "root", extensions=(CA + ",pathlen:0", SIGNS)))


def refusal_path_length_above(corp: Path) -> GivenRoot:
    root = authority(corp, "root", extensions=(CA + ",pathlen:1", SIGNS))
    meshes = authority(corp, "meshes", parent=root)
    return GivenRoot(certificate=joined(corp / "c.pem", meshes.certificate, root.certificate), key=meshes.key)


def refusal_no_ca(corp: Path) -> GivenRoot:
    return given(authority(corp, "root", extensions=("basicConstraints=critical,CA:FALSE",)))


def refusal_key_usage(corp: Path) -> GivenRoot:
    return given(authority(corp, "root", extensions=(CA, "keyUsage=critical,digitalSignature")))


def refusal_ed25519(corp: Path) -> GivenRoot:
    return given(authority(corp, "root", key="ed25519"))


def refusal_no_anchor(corp: Path) -> GivenRoot:
    return given(authority(corp, "meshes", parent=authority(corp, "root")))


def refusal_stranger(corp: Path) -> GivenRoot:
    root, other = authority(corp, "root"), authority(corp, "other")
    return GivenRoot(certificate=joined(corp / "c.pem", root.certificate, other.certificate), key=root.key)


REFUSALS: dict[str, tuple[Callable[[Path], GivenRoot], str]] = {
    "no key anywhere": (refusal_no_key, "add --root-key; .* offline follows"),
    "another authority's key": (refusal_wrong_key, "belongs to none of its certificates"),
    "encrypted, no passphrase": (refusal_encrypted, "is encrypted: give its passphrase"),
    "encrypted, wrong passphrase": (refusal_passphrase, "passphrase is wrong"),
    "key that everybody can read": (refusal_open_key, "mode 0644"),
    "no such file": (refusal_missing_file, "nowhere.crt cannot be read"),
    "not PEM": (refusal_not_pem, "no readable PEM certificate"),
    "root of path length 0": (refusal_path_length, "allows 0 authorities below it .* an issuer makes 1"),
    "path length too short further up": (refusal_path_length_above, "allows 1 authorities .* an issuer makes 2"),
    "not a CA": (refusal_no_ca, "is not a CA"),
    "key usage without keyCertSign": (refusal_key_usage, "lacks keyCertSign"),
    "Ed25519": (refusal_ed25519, "use P-256, P-384 or RSA"),
    "chain without its anchor": (refusal_no_anchor, "add the certificates up to the self-signed anchor"),
    "certificate of a stranger": (refusal_stranger, "leave it out of the file"),
}


@pytest.mark.parametrize(("make", "reason"), REFUSALS.values(), ids=REFUSALS)
def test_unusable_root_is_refused_and_nothing_stays(
    make: Callable[[Path], GivenRoot], reason: str, state: Path, corp: Path
) -> None:
    root, store, database = make(corp), Store(), state / "meshca.db"

    with pytest.raises(Misconfigured, match=reason):
        initialise(founding(state, root), store=opened(store, file=database), store_files=(database,), now=NOW)

    assert store.present is None
    assert list(state.iterdir()) == []


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (NOW + timedelta(days=20), "expired at"),
        (NOW - timedelta(days=1), "is not valid before"),
    ],
    ids=["expired root", "root of tomorrow"],
)
def test_root_that_is_not_valid_now_is_refused(now: datetime, reason: str, state: Path, corp: Path) -> None:
    root = authority(corp, "root", days=10)

    with pytest.raises(Misconfigured, match=reason):
        initialise(founding(state, given(root)), store=opened(Store()), now=now)


def test_company_root_of_the_configured_fingerprint_is_taken(state: Path, corp: Path) -> None:
    root = authority(corp, "root")
    command = ["openssl", "x509", "-in", str(root.certificate), "-noout", "-fingerprint", "-sha256"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().partition("=")[2]
    expected = "sha256:" + said.replace(":", "").lower()

    first = initialise(founding(state, given(root), fingerprints=(expected,)), store=opened(Store()), now=NOW)

    assert fingerprint(first.bundle[0]) == expected


def test_company_root_of_another_fingerprint_is_refused(state: Path, corp: Path) -> None:
    root = authority(corp, "root")

    with pytest.raises(Misconfigured, match=r"not in root\.fingerprints"):
        initialise(founding(state, given(root), fingerprints=("sha256:" + "0" * 64,)), store=opened(Store()), now=NOW)


def test_new_root_is_not_made_where_fingerprints_name_others(state: Path) -> None:
    with pytest.raises(Misconfigured, match="a new one cannot be made"):
        initialise(
            founding(state, new_root(state), fingerprints=("sha256:" + "0" * 64,)),
            store=opened(Store()),
            now=NOW,
        )

    assert list(state.iterdir()) == []


def test_second_init_changes_nothing(state: Path, tmp_path: Path) -> None:
    store = Store()
    first = initialise(founding(state, new_root(state)), store=opened(store), now=NOW)
    before = {path: path.read_bytes() for path in state.iterdir()}

    with pytest.raises(AlreadyInitialised, match=r"already initialised: trust domain example\.org, epoch 1"):
        initialise(founding(state, new_root(tmp_path)), store=opened(store), now=NOW)

    assert store.present == first
    assert {path: path.read_bytes() for path in state.iterdir()} == before
    assert not (tmp_path / "root.key").exists()


def test_store_of_another_trust_domain_is_refused(state: Path) -> None:
    store = Store()
    initialise(founding(state, new_root(state)), store=opened(store), now=NOW)
    other = replace(founding(state, new_root(state)), trust_domain=TrustDomain("other.org"))

    with pytest.raises(Conflict, match=r"belongs to trust domain example\.org") as raised:
        initialise(other, store=opened(store), now=NOW)

    assert not isinstance(raised.value, AlreadyInitialised)


def test_loser_of_a_race_leaves_no_root_behind(state: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    winner = initialise(founding(elsewhere, new_root(elsewhere)), store=opened(Store()), now=NOW)

    with pytest.raises(Conflict, match="another `meshca init` came first"):
        initialise(founding(state, new_root(state)), store=opened(Store(winner=winner)), now=NOW)

    assert list(state.iterdir()) == []


def test_root_that_is_there_is_never_overwritten_nor_removed(state: Path) -> None:
    (state / "root.key").write_text("precious")

    with pytest.raises(Misconfigured, match="never overwritten"):
        initialise(founding(state, new_root(state)), store=opened(Store()), now=NOW)

    assert {path.name: path.read_text() for path in state.iterdir()} == {"root.key": "precious"}


def test_two_runs_at_once_do_not_touch_each_others_files(state: Path) -> None:
    descriptor = os.open(state, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(Conflict, match="another `meshca init` is at work"):
            initialise(founding(state, new_root(state)), store=opened(Store()), now=NOW)
    finally:
        os.close(descriptor)
