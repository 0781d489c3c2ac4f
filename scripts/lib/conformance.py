"""Which requirement and which attack has a test: prints ``docs/conformance.md``.

    python scripts/lib/conformance.py > docs/conformance.md

A requirement of SPIFFE is covered by the tests that carry its number: ``test_x509_12_…``,
``test_id_3_…``, ``test_x509_23_24_25_…``. Attacks 1–44 are rows of data in ``tests/attacks``, whose
``case`` is the number; the tests that try every row are named here. For the others, which are
properties and not rows, the tests are named here one by one.

What is claimed is looked up: a test that is not there, a number that has neither a test nor a reason,
and a reason for something that has a test are errors (exit status 1, nothing on standard output).
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ("tests", "meshca/testing")
"""Where tests are: the suite, and the contracts that it runs."""

X509 = {
    1: "one URI SAN in each SVID",
    2: "an SVID with two URI SANs is refused",
    3: "a leaf's ID has a path",
    4: "the SAN is critical when the subject is empty",
    5: "a signing certificate is an SVID itself",
    6: "a signing certificate's ID has no path",
    7: "its ID is in the trust domain of its leaves",
    8: "a signing certificate authenticates nobody",
    9: "a signing certificate is a CA",
    10: "a leaf says that it is no CA",
    11: "no path length in leaves",
    12: "name constraints, if any, fit what is below",
    13: "key usage is there and critical",
    14: "a signing certificate may sign certificates",
    15: "a leaf may make digital signatures",
    16: "a leaf may sign no certificates and no CRLs",
    17: "a leaf has an extended key usage",
    18: "which is for servers and for clients",
    19: "paths are validated (RFC 5280)",
    20: "a validator refuses an authority as a leaf",
    21: "a validator looks at the scheme",
    22: "a validator wants a path",
    23: "bundle: use is x509-svid",
    24: "bundle: no kid",
    25: "bundle: one certificate in x5c",
    26: "bundle: that certificate is self-signed",
    27: "a consumer ignores entries without x5c",
    28: "a consumer reads the first of x5c",
    29: "digitalSignature is for leaves alone",
}
IDS = {
    1: "scheme and trust domain",
    2: "no query, no fragment",
    3: "a host",
    4: "no user, no port",
    5: "lower-case host",
    6: "the host's characters",
    7: "no percent-encoding in the host",
    8: "a host that looks like an address is a name",
    9: "no percent-encoding in the path",
    10: "no empty segment, no dots alone",
    11: "no slash at the end",
    12: "the path's characters",
    13: "2048 bytes are read",
    14: "nothing longer is made",
    15: "the path's case counts",
}
ATTACKS = {
    1: "CSR without proof of possession",
    2: "CSR signed with SHA-1 or MD5",
    3: "signature algorithm of another key",
    4: "RSA below 2048 bits",
    5: "RSA of odd or giant size",
    6: "RSA exponent other than 65537",
    7: "RSA modulus with a small factor",
    8: "RSA of close primes",
    9: "ROCA",
    10: "Debian's weak keys",
    11: "compromised key, or the CA's own",
    12: "one key, two identities",
    13: "another curve",
    14: "point off its curve",
    15: "point at infinity",
    16: "CSR over the cap",
    17: "PEM that is not one canonical block",
    18: "PEM bomb",
    19: "bytes after the DER",
    20: "CSR of another version",
    21: "extension twice",
    22: "two lists of extensions",
    23: "other attributes",
    24: "CA:TRUE asked for",
    25: "keyCertSign or cRLSign asked for",
    26: "extended key usage beyond client and server",
    27: "unknown or dangerous extension",
    28: "no name",
    29: "two names",
    30: "another kind of name beside it",
    31: "otherName, registeredID, dirName",
    32: "x400Address, ediPartyName",
    33: "another identity in the subject",
    34: "NUL byte in a name",
    35: "line break in a name",
    36: "non-ASCII, right-to-left, homoglyph",
    37: "percent-encoded path",
    38: "dots, empty segment, slash at the end",
    39: "upper case",
    40: "user, port, query, fragment",
    41: "another trust domain, or a prefix of ours",
    42: "slash within a name",
    43: "wildcard",
    44: "ID too long",
    45: "lifetime huge, overflowing, zero or negative",
    46: "leaf that outlives its chain",
    47: "clock far off, or set back",
    48: "serial guessable, twice, too long, negative",
    49: "token for another audience",
    50: "token of no service account",
    51: "token without pod or end",
    52: "token of a deleted pod, expired, or not yet valid",
    53: "alg none, MAC with a public key, unknown kid",
    54: "token of a megabyte, bottomless nesting",
    55: "stolen token from another node",
    56: "cache that remembers too long, or a refusal",
    57: "node proxy for a pod that is elsewhere",
    58: "impersonation by an account that may not",
    59: "upstream's answer with another key, CA:FALSE, long life",
    60: "signature that does not verify",
    61: "key that is not its certificate's",
    62: "trust bundle with what is no root",
    63: "join token used twice",
    64: "TLS resumption past the check of a client",
    65: "one document checked, another one used",
    66: "length check off by one",
    67: "address that a client chose",
    68: "dear checks before cheap ones",
    69: "path cleaning in policy names",
    70: "renewal with another identity's credentials",
    71: "another way in that checks less",
    72: "flood by one pod",
}

ROWS = (
    "tests/csr/test_attacks.py::test_a_hostile_request_is_refused_by_the_check_meant_for_it",
    "tests/server/test_hostile.py::test_a_hostile_csr_is_refused_at_its_door_and_leaves_no_trace",
)
"""The tests that try every row that a request shows by itself."""

BEYOND: Mapping[int, tuple[str, ...]] = {
    12: (
        "meshca/testing/ledger.py::test_a_shared_key_is_refused_where_the_policy_says_so",
        "meshca/testing/ledger.py::test_of_two_identities_with_one_key_at_the_same_time_one_is_refused",
        "meshca/testing/ledger.py::test_a_shared_key_raises_an_alarm_and_is_recorded",
    ),
    35: (
        "tests/server/test_hostile.py::test_control_characters_from_outside_never_reach_the_log_as_they_are",
        "tests/test_errors.py::test_what_is_shown_is_one_line_of_ascii",
    ),
    45: (
        "tests/issuance/test_profile.py::test_whatever_lifetime_is_asked_it_is_granted_within_the_bounds",
        "tests/issuance/test_profile.py::test_zero_and_negative_lifetimes_ask_for_the_default",
        "tests/server/test_hostile.py::test_whatever_lifetime_is_asked_a_leaf_of_a_day_at_most_comes_back",
    ),
    46: ("tests/issuance/test_profile.py::test_a_leaf_never_leaves_the_life_of_any_certificate_of_its_chain",),
    47: (
        "tests/issuance/test_profile.py::test_a_leaf_is_backdated_by_two_minutes_at_most",
        "tests/issuance/test_profile.py::test_an_issuer_that_has_not_begun_or_has_ended_signs_nothing",
        "meshca/testing/ledger.py::test_a_clock_far_behind_the_last_issuance_records_nothing",
    ),
    48: (
        "tests/issuance/test_draft.py::test_a_serial_is_random_positive_and_at_most_sixteen_octets",
        "tests/issuance/test_pipeline.py::test_serials_of_concurrent_requests_differ",
    ),
    49: (
        "meshca/testing/validator.py::test_a_token_for_another_audience_is_refused",
        "tests/kube/test_review_answers.py::test_an_answer_that_says_less_than_it_must_proves_nothing",
        "tests/server/test_hostile.py::test_a_token_for_istio_opens_nothing_at_linkerds_door",
    ),
    50: (
        "tests/kube/test_review.py::test_a_user_is_no_service_account",
        "tests/kube/test_review_answers.py::test_an_answer_that_says_less_than_it_must_proves_nothing",
        "tests/tokens/test_jwks.py::test_a_token_with_other_claims_is_refused",
    ),
    51: (
        "meshca/testing/validator.py::test_a_token_bound_to_no_pod_is_refused",
        "tests/kube/test_review.py::test_a_legacy_token_without_an_end_is_refused_even_where_unbound_tokens_are_taken",
    ),
    52: (
        "tests/kube/test_review.py::test_the_token_of_a_deleted_pod_is_refused",
        "tests/kube/test_review.py::test_the_token_of_an_earlier_pod_of_the_same_name_is_refused",
        "meshca/testing/validator.py::test_an_expired_token_is_refused",
        "tests/tokens/test_cache.py::test_a_proof_is_never_remembered_past_the_tokens_end",
    ),
    53: (
        "tests/tokens/test_jws.py::test_a_mac_keyed_with_the_public_key_is_refused",
        "tests/tokens/test_jws.py::test_whatever_pyjwt_refuses_we_refuse",
        "tests/tokens/test_jwks.py::test_an_unknown_key_is_refused_after_the_keys_were_read_again",
    ),
    54: (
        "tests/tokens/test_clusters.py::test_a_token_as_long_as_the_limit_is_looked_at_and_one_byte_more_is_not",
        "tests/tokens/test_jws.py::test_claims_that_can_be_read_in_two_ways_or_in_none_are_refused",
    ),
    56: (
        "tests/tokens/test_cache.py::test_a_proof_is_remembered_for_a_minute_and_no_longer",
        "tests/tokens/test_cache.py::test_refusals_and_failures_are_never_remembered",
        "tests/tokens/test_cache.py::test_the_token_itself_is_not_kept",
    ),
    57: ("tests/server/test_hostile.py::test_impersonation_is_refused_while_it_is_not_built",),
    58: ("tests/server/test_hostile.py::test_impersonation_is_refused_while_it_is_not_built",),
    59: ("tests/roots/test_judge.py::test_a_wrong_answer_is_refused_with_its_reason",),
    60: (
        "tests/issuance/test_draft.py::test_a_signature_that_does_not_verify_is_never_put_under_a_certificate",
        "tests/issuance/test_pipeline.py::test_after_a_fault_a_key_signs_no_more",
    ),
    61: (
        "tests/roots/test_judge.py::test_a_key_that_is_not_its_certificates_is_refused",
        "tests/keys/test_sealed.py::test_a_key_sealed_under_a_false_hash_is_noticed",
    ),
    62: ("tests/operator/test_init.py::test_unusable_root_is_refused_and_nothing_stays",),
    65: (
        "tests/tokens/test_jwks.py::test_claims_changed_after_signing_are_refused",
        "tests/csr/test_fuzz.py::test_a_flipped_bit_anywhere_is_refused",
    ),
    66: (
        "tests/csr/test_judge.py::test_a_request_of_16_kib_is_read_and_one_byte_more_is_not",
        "tests/tokens/test_jws.py::test_a_header_as_long_as_the_limit_is_read_and_one_character_more_is_not",
        "tests/kube/test_client.py::test_an_answer_as_long_as_the_limit_is_read_and_one_byte_more_is_not",
        "tests/test_names.py::test_id_13_ids_of_2048_bytes_are_read_and_longer_ones_are_not",
    ),
    67: (
        "tests/kube/test_keys.py::test_an_address_that_cannot_be_trusted_is_a_mistake",
        "tests/kube/test_keys.py::test_any_other_answer_is_unavailable_in_time_and_then_all_is_well",
    ),
    68: ("tests/csr/test_judge.py::test_checks_are_made_in_the_order_of_the_list",),
    69: ("tests/test_patterns.py::test_a_pattern_matches_a_name_exactly_or_by_its_beginning",),
    71: ROWS[1:],
}
"""Tests of a case that are not found by its rows."""

REMARKS = {
    "attack 52": "with `review`; with `jwks` a deleted pod's token counts until it expires",
    "attack 57": "every impersonation is refused until node proxies are served",
    "attack 58": "as 57",
    "attack 62": "of `meshca init`, the only way in that a root has yet",
    "attack 71": "the same rows at both doors",
}

NOT_YET = {
    "X509-21": "nothing of ours takes other people's SVIDs",
    "X509-22": "as X509-21",
    "X509-27": "nothing of ours reads other people's bundles",
    "X509-28": "as X509-27",
    "attack 55": "the ledger and the log keep the peer's address; nothing compares it",
    "attack 63": "there are no join tokens",
    "attack 64": "no listener asks for a client certificate",
    "attack 70": "there is no renewal by certificate: each issuance needs a token",
    "attack 72": "there is no rate for each pod; a listener's limits are all there is",
}

_NUMBERED = re.compile(r"test_(x509|id)_(\d+(?:_(?:and_)?\d+)*)_")


class Untrue(Exception):
    """The page would claim something that is not so."""


@dataclass(frozen=True, slots=True)
class Line:
    """One requirement: its number, what it is about, and the tests, or why there are none."""

    number: str
    about: str
    tests: tuple[str, ...]
    rows: int = 0

    @property
    def key(self) -> str:
        return self.number if "-" in self.number else f"attack {self.number}"

    def covered(self) -> str:
        """The last cell. Raises Untrue for a number with neither tests nor a reason, or with both."""
        reason = NOT_YET.get(self.key)
        if (reason is None) is not bool(self.tests):
            raise Untrue(f"{self.key} has {'no tests and no reason' if reason is None else 'tests and a reason'}")
        if reason is not None:
            return f"not yet: {reason}"
        tests = [f"`{test.removeprefix('tests/')}`" for test in self.tests if not (self.rows and test in ROWS)]
        remark = [f"({REMARKS[self.key]})"] if self.key in REMARKS else []
        return "<br>".join([*([f"{self.rows} rows"] if self.rows else []), *tests, *remark])


def known_tests() -> tuple[str, ...]:
    """Every test of the repository as ``path::name``, in the order of the files."""
    return tuple(test for folder in TESTS for path in sorted((ROOT / folder).rglob("*.py")) for test in _tests_in(path))


def _tests_in(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield f"{path.relative_to(ROOT)}::{node.name}"


def numbered(tests: Iterable[str]) -> dict[str, list[str]]:
    """The tests that carry a number of SPIFFE's, by it: ``X509-12``, ``ID-3``."""
    found: dict[str, list[str]] = {}
    for test in tests:
        match = _NUMBERED.match(test.partition("::")[2])
        for number in re.findall(r"\d+", match[2]) if match else ():
            assert match is not None
            found.setdefault(f"{match[1].upper()}-{number}", []).append(test)
    return found


def attack_rows() -> Counter[int]:
    """How many rows each case has."""
    sys.path.insert(0, str(ROOT))
    from tests.attacks import csr_attacks

    return Counter(row.case for row in csr_attacks() if row.judged)


def spiffe_lines(tests: Iterable[str]) -> tuple[list[Line], list[Line]]:
    """Of X509-SVIDs and of SPIFFE IDs. Raises Untrue for a test that carries a number that there is not."""
    found = numbered(tests)
    stray = sorted(set(found) - {f"X509-{n}" for n in X509} - {f"ID-{n}" for n in IDS})
    if stray:
        raise Untrue(f"tests carry numbers that are not on the list: {', '.join(stray)}")
    tables = []
    for kind, about in (("X509", X509), ("ID", IDS)):
        tables.append([Line(f"{kind}-{n}", text, tuple(found.get(f"{kind}-{n}", ()))) for n, text in about.items()])
    return tables[0], tables[1]


def attack_lines(tests: Iterable[str], rows: Counter[int]) -> list[Line]:
    """Of attacks. Raises Untrue for a test that is claimed and not there."""
    claimed = {*ROWS, *(test for each in BEYOND.values() for test in each)}
    missing = sorted(claimed - set(tests))
    if missing:
        raise Untrue(f"claimed and not there: {', '.join(missing)}")
    return [
        Line(str(case), about, (*(ROWS if rows[case] else ()), *BEYOND.get(case, ())), rows[case])
        for case, about in ATTACKS.items()
    ]


def page() -> str:
    """The whole page. Raises Untrue."""
    tests = known_tests()
    x509, ids = spiffe_lines(tests)
    attacks = attack_lines(tests, attack_rows())
    text = _HEAD
    for title, first, lines in (
        ("X509-SVID", "requirement", x509),
        ("SPIFFE ID", "requirement", ids),
        ("Attacks", "attack", attacks),
    ):
        covered = sum(bool(line.tests) for line in lines)
        text += f"\n## {title}: {covered} of {len(lines)}\n\n| | {first} | covered by |\n|---|---|---|\n"
        text += "".join(f"| {line.number} | {line.about} | {line.covered()} |\n" for line in lines)
    return text


_HEAD = f"""\
# Which requirement has a test

<!-- Made by `python scripts/lib/conformance.py > docs/conformance.md`; a test says whether it is current. -->

The numbers X509-1 to X509-29 are those of SPIFFE's X509-SVID standard, ID-1 to ID-15 those of its SPIFFE ID standard,
each counted in the order of its text. The 72 attacks are a list of what mesh CAs were, or could be, attacked with. A
test of SPIFFE's carries the number in its name; attacks 1 to 44 are rows of data in `tests/attacks`. Paths are below
`tests`, except for `meshca/testing`, whose contract suites run from `tests/contracts`.

Where this table says *rows*, two tests try each of them: `{ROWS[0].partition("::")[2]}`
(`csr/test_attacks.py`: the check that must refuse it does) and `{ROWS[1].partition("::")[2]}`
(`server/test_hostile.py`: through a real listener, with a log line and without a row in the ledger).
"""


def main() -> int:
    try:
        print(page(), end="")
    except Untrue as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
