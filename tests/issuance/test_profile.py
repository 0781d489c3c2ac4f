"""How leaves look and how long they live."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from meshca.errors import BadRequest, SignerFault, Unavailable
from meshca.identity import Identity
from meshca.issuance.authorities import Authority
from meshca.issuance.draft import Draft, extension, sign
from meshca.issuance.lint import lint
from meshca.issuance.profile import Lifetimes, draft_leaf, istio_profile, linkerd_profile
from meshca.keys.algorithms import spki_of
from meshca.keys.local import LocalSigner
from meshca.names import ServiceAccount
from tests.issuance.authority import NOW, TD, make_authority
from tests.openssl import openssl_verify

ACCOUNT = ServiceAccount("emojivoto", "web")
WEB = Identity(ACCOUNT.spiffe_id(TD), cluster="Kubernetes", service_account=ACCOUNT)
AUTHORITY = make_authority()
KEY = ec.generate_private_key(ec.SECP256R1()).public_key()
LIFETIMES = Lifetimes(
    default=timedelta(hours=24), minimum=timedelta(minutes=5), maximum=timedelta(hours=24), jitter=0.05
)
URI = (x509.UniformResourceIdentifier(str(WEB)),)


def leaf_of(
    *,
    lifetime: timedelta = timedelta(hours=24),
    authority: Authority = AUTHORITY,
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey = KEY,
    now: datetime = NOW,
    names: tuple[x509.GeneralName, ...] = URI,
) -> x509.Certificate:
    draft = draft_leaf(names, public_key=key, spki=spki_of(key), authority=authority, lifetime=lifetime, now=now)
    der = sign(draft, authority.signer)
    lint(der, names=names, spki=spki_of(key), authority=authority, now=now)
    return x509.load_der_x509_certificate(der)


def test_linkerds_leaf_names_the_dns_name_first_since_peers_take_the_first() -> None:
    _, names = linkerd_profile("linkerd").expect(WEB)
    san = leaf_of(names=names).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert san.critical
    assert list(san.value) == [
        x509.DNSName("web.emojivoto.serviceaccount.identity.linkerd.cluster.local"),
        x509.UniformResourceIdentifier("spiffe://cluster.local/ns/emojivoto/sa/web"),
    ]


def test_istios_leaf_has_one_critical_uri_and_an_empty_subject() -> None:
    _, names = istio_profile().expect(WEB)
    leaf = leaf_of(names=names)
    san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert (san.critical, list(san.value), len(leaf.subject.rdns)) == (True, list(URI), 0)


def test_an_account_with_a_dot_has_no_leaf_at_linkerds_door() -> None:
    account = ServiceAccount("emojivoto", "web.v2")
    identity = Identity(account.spiffe_id(TD), cluster="Kubernetes", service_account=account)
    with pytest.raises(BadRequest, match="no dots") as caught:
        linkerd_profile("linkerd").expect(identity)
    assert caught.value.check == "identity"


def test_key_encipherment_is_for_keys_that_can_encipher() -> None:
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    for key, encipherment in ((KEY, False), (rsa_key, True)):
        usage = leaf_of(key=key).extensions.get_extension_for_class(x509.KeyUsage).value
        assert usage.key_encipherment is encipherment


@pytest.mark.parametrize("issuer_type", ["ecdsa-p256", "ecdsa-p384", "rsa-2048"])
def test_openssl_accepts_a_leaf_in_its_strict_mode(issuer_type: str) -> None:
    authority = make_authority(issuer_type=issuer_type)
    leaf = leaf_of(authority=authority)
    for purpose in ("sslserver", "sslclient"):
        openssl_verify(leaf, untrusted=authority.chain, roots=authority.roots, at=NOW, purpose=purpose)


# --- lifetimes (cases 45 to 47) --------------------------------------------------------------


@given(asked=st.none() | st.timedeltas(timedelta(days=-1000), timedelta(days=36500)))
def test_whatever_lifetime_is_asked_it_is_granted_within_the_bounds(asked: timedelta | None) -> None:
    granted = LIFETIMES.granted(asked)
    assert LIFETIMES.minimum <= granted <= LIFETIMES.maximum


@pytest.mark.parametrize("asked", [None, timedelta(), timedelta(seconds=-1)])
def test_zero_and_negative_lifetimes_ask_for_the_default(asked: timedelta | None) -> None:
    granted = LIFETIMES.granted(asked)
    assert LIFETIMES.default * 0.95 <= granted <= LIFETIMES.default


def test_lifetimes_are_jittered_so_that_proxies_do_not_renew_together() -> None:
    granted = {LIFETIMES.granted(None) for _ in range(50)}
    assert len(granted) > 40
    assert max(granted) - min(granted) > timedelta(minutes=10)


def test_a_rules_bounds_narrow_and_never_widen() -> None:
    hour = timedelta(hours=1)
    assert LIFETIMES.within(None, hour).granted(timedelta(hours=20)) <= hour
    assert LIFETIMES.within(None, timedelta(days=100)).maximum == LIFETIMES.maximum
    assert LIFETIMES.within(timedelta(minutes=1), None).minimum == LIFETIMES.minimum


@given(
    lifetime=st.timedeltas(timedelta(seconds=2), timedelta(days=90)),
    issuer_life=st.timedeltas(timedelta(seconds=3), timedelta(days=40)),
    root_life=st.timedeltas(timedelta(seconds=3), timedelta(days=40)),
    ahead=st.timedeltas(timedelta(), timedelta(days=1)),
)
def test_a_leaf_never_leaves_the_life_of_any_certificate_of_its_chain(
    lifetime: timedelta, issuer_life: timedelta, root_life: timedelta, ahead: timedelta
) -> None:
    authority = make_authority(issuer_life=issuer_life, root_life=root_life)
    now = NOW + ahead
    try:
        leaf = leaf_of(lifetime=lifetime, authority=authority, now=now)
    except Unavailable:
        assert authority.not_after - now < timedelta(seconds=1)
        return
    for parent in (*authority.chain, *authority.roots):
        assert parent.not_valid_before_utc <= leaf.not_valid_before_utc
        assert leaf.not_valid_after_utc <= parent.not_valid_after_utc
    assert leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc


@given(lifetime=st.timedeltas(timedelta(seconds=4), timedelta(days=1)))
def test_the_middle_of_a_leafs_life_lies_ahead_so_that_ztunnel_does_not_renew_in_a_loop(lifetime: timedelta) -> None:
    leaf = leaf_of(lifetime=lifetime)
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    middle = begin + (end - begin) / 2
    assert middle - NOW > lifetime * 0.2


def test_a_leaf_is_backdated_by_two_minutes_at_most() -> None:
    leaf = leaf_of(lifetime=timedelta(hours=24))
    assert timedelta(minutes=2) <= NOW - leaf.not_valid_before_utc < timedelta(minutes=2, seconds=1)


@pytest.mark.parametrize("shift", [-timedelta(minutes=10), timedelta(days=31)])
def test_an_issuer_that_has_not_begun_or_has_ended_signs_nothing(shift: timedelta) -> None:
    with pytest.raises(Unavailable, match="can sign nothing now"):
        leaf_of(now=NOW + shift)


# --- lint ------------------------------------------------------------------------------------


def good_draft() -> Draft:
    return draft_leaf(URI, public_key=KEY, spki=spki_of(KEY), authority=AUTHORITY, lifetime=timedelta(hours=1), now=NOW)


def changed(**changes: object) -> Draft:
    draft = good_draft()
    fields = {name: getattr(draft, name) for name in draft.__slots__}
    return Draft(**{**fields, **changes})


def with_extension(number: int, replacement: object | None) -> Draft:
    extensions = list(good_draft().extensions)
    if replacement is None:
        del extensions[number]
    else:
        extensions[number] = replacement  # type: ignore[call-overload] # rows of a table
    return changed(extensions=extensions)


OTHER_KEY = ec.generate_private_key(ec.SECP256R1()).public_key()
USAGE = {
    "digital_signature": True, "content_commitment": False, "key_encipherment": False, "data_encipherment": False,
    "key_agreement": False, "key_cert_sign": False, "crl_sign": False, "encipher_only": False, "decipher_only": False,
}  # fmt: skip
FLAWS: dict[str, tuple[Draft, str]] = {
    "negative serial": (changed(serial=-5), "serial"),
    "long serial": (changed(serial=2**150), "serial"),
    "foreign issuer": (changed(issuer_name=x509.Name([]).public_bytes()), "issuer's name"),
    "a subject": (changed(subject=AUTHORITY.issuer_name), "subject is not empty"),
    "another key": (changed(spki=spki_of(OTHER_KEY)), "public key is not"),
    "before its issuer": (changed(not_before=NOW.replace(microsecond=0) - timedelta(days=2)), "outside its chain"),
    "beyond its issuer": (changed(not_after=NOW.replace(microsecond=0) + timedelta(days=60)), "outside its chain"),
    "not yet valid": (changed(not_before=NOW.replace(microsecond=0) + timedelta(seconds=5)), "does not hold now"),
    "a CA": (with_extension(0, extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)), "CA:FALSE"),
    "no constraints": (with_extension(0, None), "extensions are"),
    "not critical": (
        with_extension(0, extension(x509.BasicConstraints(ca=False, path_length=None), critical=False)),
        "extensions are",
    ),
    "may sign": (
        with_extension(1, extension(x509.KeyUsage(**{**USAGE, "key_cert_sign": True}), critical=True)),
        "not that of a leaf",
    ),
    "may encipher": (
        with_extension(1, extension(x509.KeyUsage(**{**USAGE, "key_encipherment": True}), critical=True)),
        "key usage is not",
    ),
    "server only": (
        with_extension(2, extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)),
        "serverAuth and clientAuth",
    ),
    "another name": (
        with_extension(
            3,
            extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://cluster.local/ns/a/sa/b")]),
                critical=True,
            ),
        ),
        "not those that were proven",
    ),
    "two URIs": (
        with_extension(3, extension(x509.SubjectAlternativeName([*URI, *URI]), critical=True)),
        "not those that were proven",
    ),
    "a foreign key identifier": (
        with_extension(4, extension(x509.AuthorityKeyIdentifier(b"x" * 20, None, None), critical=False)),
        "key identifier",
    ),
}


@pytest.mark.parametrize("name", FLAWS)
def test_a_flawed_leaf_does_not_pass_the_lint(name: str) -> None:
    draft, finding = FLAWS[name]
    der = sign(draft, AUTHORITY.signer)
    with pytest.raises(SignerFault, match=finding):
        lint(der, names=URI, spki=spki_of(KEY), authority=AUTHORITY, now=NOW)


def test_a_leaf_signed_by_another_type_of_key_does_not_pass_the_lint() -> None:
    signer = LocalSigner(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    with pytest.raises(SignerFault, match="signature algorithm"):
        lint(sign(good_draft(), signer), names=URI, spki=spki_of(KEY), authority=AUTHORITY, now=NOW)


def test_bytes_that_are_no_certificate_do_not_pass_the_lint() -> None:
    with pytest.raises(SignerFault, match="does not parse"):
        lint(b"\x30\x00", names=URI, spki=spki_of(KEY), authority=AUTHORITY, now=NOW)
