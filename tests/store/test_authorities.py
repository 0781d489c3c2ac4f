"""What the database itself guards of the authority set, beyond the port's contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import text

from meshca.errors import Conflict, Misconfigured, Unavailable
from meshca.rotation.authority_set import AuthoritySet, IssuerState, stage
from meshca.store import SqlAuthorityStore, Store, open_store
from meshca.testing.authority_store import NOW, a_first_set, an_issuer


@pytest.fixture
def empty(store: Store) -> Store:
    with store.writing() as connection:
        connection.execute(text("DELETE FROM authority_set"))
    return store


@pytest.fixture
def authorities(empty: Store) -> SqlAuthorityStore:
    return SqlAuthorityStore(empty, clock=lambda: NOW)


def _two_on_their_way(before: AuthoritySet) -> AuthoritySet:
    states = (IssuerState.STAGED, IssuerState.LOADED)
    more = tuple(an_issuer(f"new-{state}", state=state) for state in states)
    return replace(before, epoch=2, issuers=(*before.issuers, *more))


def _two_active(before: AuthoritySet) -> AuthoritySet:
    return replace(before, epoch=2, issuers=(*before.issuers, an_issuer("usurper", state=IssuerState.ACTIVE)))


def _same_epoch(before: AuthoritySet) -> AuthoritySet:
    return replace(stage(before, an_issuer("new")), epoch=before.epoch)


def _smaller_sequence(before: AuthoritySet) -> AuthoritySet:
    return replace(before, epoch=2, bundle_sequence=0)


@pytest.mark.parametrize("change", [_two_on_their_way, _two_active, _same_epoch, _smaller_sequence])
def test_a_set_that_breaks_the_rules_is_not_written(
    authorities: SqlAuthorityStore, change: Callable[[AuthoritySet], AuthoritySet]
) -> None:
    first = authorities.create(a_first_set())
    with pytest.raises(Conflict):
        authorities.replace(first, change(first))
    assert authorities.read() == first


def test_an_issuers_row_is_never_lost(authorities: SqlAuthorityStore) -> None:
    first = a_first_set()
    first = authorities.create(replace(first, issuers=(an_issuer("gone", state=IssuerState.RETIRED), *first.issuers)))
    with pytest.raises(Conflict, match="would lose its row"):
        authorities.replace(first, replace(first, epoch=2, issuers=first.issuers[1:]))
    assert authorities.read() == first


def test_a_change_that_fails_half_way_leaves_the_set_and_its_epoch(
    empty: Store, authorities: SqlAuthorityStore
) -> None:
    first = authorities.create(a_first_set())
    with empty.writing() as connection:
        connection.execute(text("CREATE TRIGGER half BEFORE INSERT ON issuers BEGIN SELECT RAISE(FAIL, 'half'); END"))
    with pytest.raises((Conflict, Unavailable)):
        authorities.replace(first, stage(first, an_issuer("new")))
    assert authorities.read() == first


def test_there_is_never_a_second_set(empty: Store, authorities: SqlAuthorityStore) -> None:
    authorities.create(a_first_set())
    with pytest.raises(Conflict), empty.writing() as connection:
        connection.execute(text("INSERT INTO authority_set SELECT 2, trust_domain, 9, 9, 0 FROM authority_set"))


def test_what_one_process_wrote_another_reads(empty: Store, authorities: SqlAuthorityStore) -> None:
    first = authorities.create(a_first_set())
    other = open_store(str(empty.engine.url))
    assert SqlAuthorityStore(other).read() == first
    other.close()


def test_the_epoch_is_read_alone(authorities: SqlAuthorityStore) -> None:
    first = authorities.create(a_first_set())
    authorities.replace(first, stage(first, an_issuer("new")))
    assert authorities.epoch() == 2


def test_without_a_set_there_is_no_epoch_and_the_remedy_is_said(authorities: SqlAuthorityStore) -> None:
    with pytest.raises(Unavailable, match="meshca init"):
        authorities.epoch()


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE issuers SET state = 'crowned'",
        "UPDATE issuers SET chain = 'no certificate'",
        "UPDATE roots SET certificate = ''",
        "UPDATE roots SET state = ''",
    ],
)
def test_a_row_that_meshca_did_not_write_is_not_read(
    empty: Store, authorities: SqlAuthorityStore, tampering: str
) -> None:
    authorities.create(a_first_set())
    with empty.writing() as connection:
        connection.execute(text(tampering))
    with pytest.raises(Misconfigured, match="not one that meshca wrote"):
        authorities.read()


def test_when_the_set_was_created_is_kept(empty: Store, authorities: SqlAuthorityStore) -> None:
    authorities.create(a_first_set())
    with empty.reading() as connection:
        created = connection.scalar(text("SELECT created FROM authority_set"))
    assert created == 1_795_435_200_250_000, "2026-11-23T12:00:00.25Z"
