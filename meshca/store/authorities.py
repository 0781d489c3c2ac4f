"""The authority set in the database; it changes by compare-and-swap on the epoch, and in no other way."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Connection, Row, insert, select, update

from meshca.clock import Clock, utc_now
from meshca.errors import Conflict, Misconfigured, Superseded, Unavailable, shown
from meshca.rotation.authority_set import ON_ITS_WAY, AuthoritySet, Issuer, IssuerState, Root, RootState
from meshca.store.engine import Store
from meshca.store.schema import authority_set, issuers, roots
from meshca.store.times import micros, moment

_ONLY = 1
"""The identifier of the one row of ``authority_set``."""


class SqlAuthorityStore:
    """See :class:`meshca.rotation.authority_set.AuthorityStore`."""

    def __init__(self, store: Store, *, clock: Clock = utc_now) -> None:
        self._store = store
        self._clock = clock

    def read(self) -> AuthoritySet | None:
        """The present set, of one moment. Raises Unavailable, and Misconfigured when a row was tampered with."""
        with self._store.reading() as connection:
            return _read(connection)

    def epoch(self) -> int:
        """The present epoch alone, for those who look often. Raises Unavailable, also when there is no set."""
        with self._store.reading() as connection:
            epoch: int | None = connection.scalar(select(authority_set.c.epoch))
        if epoch is None:
            raise Unavailable("the store holds no authority set: run `meshca init`")
        return epoch

    def create(self, first: AuthoritySet) -> AuthoritySet:
        """Store the first set unless there is one; returns the set that is there afterwards."""
        with self._store.writing() as connection:
            present = _read(connection)
            if present is not None:
                return present
            connection.execute(
                insert(authority_set).values(
                    id=_ONLY,
                    trust_domain=first.trust_domain,
                    epoch=first.epoch,
                    bundle_sequence=first.bundle_sequence,
                    created=micros(self._clock()),
                )
            )
            _write(connection, first)
            return first

    def replace(self, before: AuthoritySet, after: AuthoritySet) -> None:
        """Write ``after`` if the stored epoch is still ``before``'s.

        Raises Superseded when it is not; Conflict when ``after`` has two issuers on their way or two
        active ones, loses an issuer's row, or does not go forward; Unavailable.
        """
        if after.epoch <= before.epoch or after.bundle_sequence < before.bundle_sequence:
            raise Conflict(
                f"epoch {before.epoch} with bundle {before.bundle_sequence} cannot become epoch {after.epoch} "
                f"with bundle {after.bundle_sequence}: they only grow"
            )
        with self._store.writing() as connection:
            changed = connection.execute(
                update(authority_set)
                .where(authority_set.c.epoch == before.epoch)
                .values(epoch=after.epoch, bundle_sequence=after.bundle_sequence)
            )
            if changed.rowcount != 1:
                raise Superseded(f"the authority set is no longer at epoch {before.epoch}: read it and decide again")
            _write(connection, after)


def _read(connection: Connection) -> AuthoritySet | None:
    present = connection.execute(select(authority_set)).one_or_none()
    if present is None:
        return None
    stored_roots = connection.execute(select(roots).order_by(roots.c.position))
    stored_issuers = connection.execute(select(issuers).order_by(issuers.c.position))
    try:
        return AuthoritySet(
            trust_domain=present.trust_domain,
            epoch=present.epoch,
            bundle_sequence=present.bundle_sequence,
            roots=tuple(_root(row) for row in stored_roots),
            issuers=tuple(_issuer(row) for row in stored_issuers),
        )
    except ValueError as error:
        raise Misconfigured(
            f"the stored authority set is not one that meshca wrote ({shown(error)}): restore the store from a backup"
        ) from error


def _root(row: Row[Any]) -> Root:
    return Root(
        id=row.id,
        certificate=x509.load_pem_x509_certificate(row.certificate.encode()),
        spki_sha256=row.spki_sha256,
        state=RootState(row.state),
    )


def _issuer(row: Row[Any]) -> Issuer:
    chain = x509.load_pem_x509_certificates(row.chain.encode()) if row.chain else ()
    return Issuer(
        id=row.id,
        state=IssuerState(row.state),
        root_id=row.root_id,
        spki_sha256=row.spki_sha256,
        key_kind=row.key_kind,
        sealed_key=row.sealed_key,
        chain=tuple(chain),
        because=row.because,
        created=moment(row.created),
    )


def _write(connection: Connection, after: AuthoritySet) -> None:
    """Make the rows those of ``after``."""
    connection.execute(roots.delete())
    for position, root in enumerate(after.roots):
        connection.execute(insert(roots).values({**_root_values(root), "position": position}))
    known = set(connection.scalars(select(issuers.c.id)))
    lost = known - {issuer.id for issuer in after.issuers}
    if lost:
        raise Conflict(f"issuer {sorted(lost)[0]} would lose its row; abandon or retire it instead")
    rows = [(position, issuer) for position, issuer in enumerate(after.issuers)]
    # The states that only one issuer may have are given last, after another has left them.
    rows.sort(key=lambda row: row[1].state in {*ON_ITS_WAY, IssuerState.ACTIVE})
    for position, issuer in rows:
        values = {**_issuer_values(issuer), "position": position}
        if issuer.id in known:
            connection.execute(update(issuers).where(issuers.c.id == issuer.id).values(values))
        else:
            connection.execute(insert(issuers).values({**values, "id": issuer.id, "authority_set": _ONLY}))


def _root_values(root: Root) -> dict[str, Any]:
    return {
        "id": root.id,
        "authority_set": _ONLY,
        "state": root.state,
        "spki_sha256": root.spki_sha256,
        "certificate": _pem(root.certificate),
    }


def _issuer_values(issuer: Issuer) -> dict[str, Any]:
    return {
        "state": issuer.state,
        "root_id": issuer.root_id,
        "spki_sha256": issuer.spki_sha256,
        "key_kind": issuer.key_kind,
        "sealed_key": issuer.sealed_key,
        "chain": "".join(_pem(certificate) for certificate in issuer.chain),
        "because": issuer.because,
        "created": micros(issuer.created),
    }


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
