"""The contract of :class:`meshca.rotation.authority_set.AuthorityStore`, for whoever writes one.

Subclass :class:`AuthorityStoreContract`, give it the fixture ``store`` with an empty store, and let
pytest collect the subclass. ``tests/contracts/test_authority_store.py`` does so for ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from meshca.errors import Superseded
from meshca.rotation.authority_set import (
    AuthoritySet,
    AuthorityStore,
    Issuer,
    IssuerState,
    Root,
    RootState,
    abandoned,
    activated,
    loaded,
    retired,
    signed,
    stage,
)

NOW = datetime(2026, 11, 23, 12, 0, 0, 250_000, tzinfo=UTC)


def a_certificate(name: str) -> x509.Certificate:
    """A self-signed certificate: a store judges none, it gives back what it was given."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    until = NOW + timedelta(days=30)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), NOW, until)
    return builder.sign(key, hashes.SHA256())


def a_root(name: str = "root") -> Root:
    """A root, active."""
    certificate = a_certificate(name)
    return Root(
        id=certificate.fingerprint(hashes.SHA256()).hex()[:16],
        certificate=certificate,
        spki_sha256=_spki_sha256(certificate),
        state=RootState.ACTIVE,
    )


def an_issuer(name: str, *, state: IssuerState = IssuerState.STAGED) -> Issuer:
    """An issuer with a sealed key, and with a chain of two unless it is staged."""
    chain = () if state is IssuerState.STAGED else a_chain(name)
    spki_sha256 = hashlib.sha256(name.encode()).digest()
    return Issuer(
        id=spki_sha256.hex()[:16],
        state=state,
        root_id="feedfacefeedface",
        spki_sha256=spki_sha256,
        key_kind="sealed",
        sealed_key=b"\x00sealed\xff" + name.encode(),
        chain=chain,
        because=f"a test wants “{name}”",
        created=NOW,
    )


def a_chain(name: str) -> tuple[x509.Certificate, ...]:
    """Two certificates, as an issuer below an intermediate has."""
    return a_certificate(name), a_certificate(f"above {name}")


def a_first_set(name: str = "first") -> AuthoritySet:
    """Epoch 1: two roots and an active issuer."""
    return AuthoritySet(
        trust_domain="cluster.local",
        epoch=1,
        bundle_sequence=1,
        roots=(a_root("newer"), a_root("older")),
        issuers=(an_issuer(name, state=IssuerState.ACTIVE),),
    )


class AuthorityStoreContract:
    """What every store of authority sets must do."""

    @pytest.fixture
    def store(self) -> AuthorityStore:
        """An empty one."""
        raise NotImplementedError("a subclass gives the fixture `store`")

    def test_an_empty_store_has_no_set(self, store: AuthorityStore) -> None:
        assert store.read() is None

    def test_the_first_set_is_read_as_it_was_created(self, store: AuthorityStore) -> None:
        first = a_first_set()
        assert store.create(first) == first
        assert store.read() == first

    def test_a_second_first_set_changes_nothing_and_is_given_the_winner(self, store: AuthorityStore) -> None:
        winner = store.create(a_first_set("winner"))
        assert store.create(a_first_set("loser")) == winner
        assert store.read() == winner

    def test_of_many_who_create_at_once_all_get_the_same_set(self, store: AuthorityStore) -> None:
        firsts = [a_first_set(f"replica-{number}") for number in range(6)]
        with ThreadPoolExecutor(len(firsts)) as pool:
            results = list(pool.map(store.create, firsts))
        assert results == [store.read()] * len(firsts)
        assert results[0] in firsts

    def test_every_step_of_a_rotation_is_read_as_it_was_written(self, store: AuthorityStore) -> None:
        issuer = an_issuer("second")
        steps: list[Callable[[AuthoritySet], AuthoritySet]] = [
            lambda before: stage(before, issuer),
            lambda before: signed(before, issuer.id, a_chain("second")),
            lambda before: loaded(before, issuer.id),
            lambda before: activated(before, issuer.id),
            lambda before: retired(before, before.issuers[0].id),
            lambda before: stage(before, an_issuer("third")),
        ]
        present = store.create(a_first_set())
        for step in steps:
            after = step(present)
            store.replace(present, after)
            assert store.read() == after
            present = after

    def test_an_abandoned_issuer_keeps_its_row_and_another_takes_its_place(self, store: AuthorityStore) -> None:
        present = store.create(a_first_set())
        staged = stage(present, an_issuer("given up"))
        store.replace(present, staged)
        both = abandoned(staged, staged.issuers[1].id)
        both = replace(both, issuers=(*both.issuers, an_issuer("next")))
        store.replace(staged, both)
        assert store.read() == both

    def test_an_older_issuer_can_take_over_again_from_the_newer_one(self, store: AuthorityStore) -> None:
        older, newer = an_issuer("older", state=IssuerState.RETIRING), an_issuer("newer", state=IssuerState.ACTIVE)
        present = store.create(replace(a_first_set(), issuers=(older, newer)))
        back = (replace(older, state=IssuerState.ACTIVE), replace(newer, state=IssuerState.RETIRING))
        after = replace(present, epoch=2, issuers=back)
        store.replace(present, after)
        assert store.read() == after

    def test_roots_keep_their_order_when_one_is_added(self, store: AuthorityStore) -> None:
        present = store.create(a_first_set())
        after = replace(present, epoch=2, bundle_sequence=2, roots=(a_root("newest"), *present.roots))
        store.replace(present, after)
        assert store.read() == after

    def test_whoever_comes_late_is_told_and_changes_nothing(self, store: AuthorityStore) -> None:
        present = store.create(a_first_set())
        winner = stage(present, an_issuer("winner"))
        store.replace(present, winner)
        with pytest.raises(Superseded):
            store.replace(present, stage(present, an_issuer("loser")))
        assert store.read() == winner

    def test_of_many_who_replace_at_once_exactly_one_comes_through(self, store: AuthorityStore) -> None:
        present = store.create(a_first_set())
        wishes = [stage(present, an_issuer(f"wish-{number}")) for number in range(6)]

        def attempt(after: AuthoritySet) -> bool:
            try:
                store.replace(present, after)
            except Superseded:
                return False
            return True

        with ThreadPoolExecutor(len(wishes)) as pool:
            won = list(pool.map(attempt, wishes))
        assert won.count(True) == 1
        assert store.read() == wishes[won.index(True)]


def _spki_sha256(certificate: x509.Certificate) -> bytes:
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).digest()
