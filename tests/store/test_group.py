"""Committing a group: what the thread asks the database, and what it decides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from meshca.errors import BadRequest
from meshca.issuance.ledger import Entry
from meshca.store import Store
from meshca.store.group import Groups, Place, SharedKeys
from meshca.testing.ledger import NOW, an_entry
from tests.store.database import explained, in_order, place, plan_of

WRITER = "0123456789abcdef"


def _groups(store: Store, *, shared_keys: SharedKeys = "alarm") -> Groups:
    return Groups(store, WRITER, shared_keys=shared_keys, clock=lambda: NOW)


def _place(entry: Entry) -> Place:
    return place(entry, WRITER)


def _entry(account: str, key: str) -> Entry:
    return replace(an_entry(account, key=key), epoch=1)


def test_the_last_issuance_is_one_look_in_an_index(store: Store) -> None:
    plan = plan_of(store, _groups(store).open)
    assert "SEARCH ledger USING COVERING INDEX ledger_issued" in plan


def test_another_user_of_a_key_is_two_looks_in_an_index(store: Store) -> None:
    statements: list[str] = []
    groups = _groups(store)
    groups.commit([_place(_entry("web", "one"))])
    driver: Any = groups._connection.driver_connection  # type: ignore[union-attr]
    driver.set_trace_callback(statements.append)
    groups.commit([_place(_entry("web", "one"))])
    groups.close()
    plan = explained(store, [statement for statement in statements if "coalesce" in statement])
    assert plan.count("USING COVERING INDEX ledger_keys (spki_sha256=? AND identity") == 2


def test_a_thief_in_the_group_does_not_lock_out_the_keys_owner(store: Store) -> None:
    groups = _groups(store, shared_keys="refuse")
    groups.commit([_place(_entry("owner", "one"))])
    thief, owner = _place(_entry("thief", "one")), _place(_entry("owner", "one"))
    groups.commit([thief, owner])
    groups.close()
    assert isinstance(thief.refusal, BadRequest)
    assert owner.refusal is None
    assert [entry.service_account for entry in in_order(store)] == ["owner", "owner"]


def test_with_the_policy_allow_nobody_looks_for_other_users(store: Store) -> None:
    statements: list[str] = []
    groups = _groups(store, shared_keys="allow")
    groups.commit([_place(_entry("web", "one"))])
    driver: Any = groups._connection.driver_connection  # type: ignore[union-attr]
    driver.set_trace_callback(statements.append)
    groups.commit([_place(_entry("db", "one"))])
    groups.close()
    assert len(statements) == 4, "BEGIN IMMEDIATE, the epoch, one INSERT, COMMIT"


def test_a_group_is_one_transaction_with_one_look_for_each_key(store: Store) -> None:
    statements: list[str] = []
    groups = _groups(store)
    groups.commit([_place(_entry("web", "one"))])
    driver: Any = groups._connection.driver_connection  # type: ignore[union-attr]
    driver.set_trace_callback(statements.append)
    groups.commit([_place(_entry("db", f"key-{number}")) for number in range(8)])
    groups.close()
    assert statements[0] == "BEGIN IMMEDIATE", "nobody moves the epoch between its reading and the commit"
    kinds = [statement.split()[0] for statement in statements]
    assert kinds == ["BEGIN", "SELECT", *["SELECT"] * 8, *["INSERT"] * 8, "COMMIT"]
