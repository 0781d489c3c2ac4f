"""Every hostile request is refused, and by the check that is meant for it."""

from __future__ import annotations

import pytest
from cryptography import x509

from meshca.csr import CHECKS, BlockedKeys, Form, Rules, judge
from meshca.errors import BadRequest
from tests.attacks import Attack, blocked_hashes, csr_attacks, keys, own_hashes

BY_POLICY = {12}
"""Cases that no request shows by itself: the ledger's contract suite has their tests."""


def judged_by_content() -> list[Attack]:
    """Rows that others can read, and whose signature is right."""
    checks = {"curve", "weak-key", "blocked-key", "attributes", "subject", "extensions", "names"}
    unreadable = ("even-modulus", "no-name-at-all")
    return [row for row in csr_attacks() if row.check in checks and not row.name.startswith(unreadable)]


@pytest.fixture(scope="module")
def rules() -> Rules:
    return Rules(blocked=BlockedKeys.of(blocked_hashes()), own_keys=own_hashes)


@pytest.mark.parametrize("attack", [row for row in csr_attacks() if row.judged], ids=str)
def test_a_hostile_request_is_refused_by_the_check_meant_for_it(attack: Attack, rules: Rules) -> None:
    with pytest.raises(BadRequest) as refusal:
        judge(attack.request, attack.form, expected=attack.expected, rules=rules)

    assert refusal.value.check == attack.check, str(refusal.value)


@pytest.mark.parametrize("attack", [row for row in csr_attacks() if row.judged], ids=str)
def test_the_message_of_a_refusal_is_one_short_line(attack: Attack, rules: Rules) -> None:
    with pytest.raises(BadRequest) as refusal:
        judge(attack.request, attack.form, expected=attack.expected, rules=rules)

    message = str(refusal.value)
    assert len(message) < 1000
    assert all(letter.isprintable() for letter in message), repr(message)


@pytest.mark.parametrize("attack", [row for row in csr_attacks() if not row.judged], ids=str)
def test_a_request_that_only_the_ledger_can_refuse_is_sound(attack: Attack, rules: Rules) -> None:
    csr = judge(attack.request, attack.form, expected=attack.expected, rules=rules)

    assert csr.spki == keys.p256("shared").spki


@pytest.mark.parametrize("attack", judged_by_content(), ids=str)
def test_what_is_refused_for_its_content_is_rightly_signed(attack: Attack) -> None:
    """Nothing but the check that is meant stands between these rows and a certificate."""
    load = x509.load_pem_x509_csr if attack.form is Form.PEM else x509.load_der_x509_csr

    assert load(attack.request).is_signature_valid


def test_cases_1_to_44_all_have_rows() -> None:
    rows = csr_attacks()

    assert {row.case for row in rows} == set(range(1, 45))
    assert {row.case for row in rows if not row.judged} == BY_POLICY


def test_every_check_is_the_reason_of_some_refusal() -> None:
    assert {row.check for row in csr_attacks() if row.judged} == set(CHECKS)


def test_no_two_rows_have_the_same_name() -> None:
    names = [str(row) for row in csr_attacks()]

    assert len(names) == len(set(names))
