"""X509-SVID, requirement by requirement (``reference/spiffe.md`` §1.2); the number is in the test's name."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from meshca.errors import Misconfigured, SignerFault
from meshca.identity import Identity
from meshca.issuance.authorities import Authority
from meshca.issuance.draft import sign
from meshca.issuance.lint import lint
from meshca.issuance.profile import Profile, draft_leaf, istio_profile, linkerd_profile
from meshca.keys.algorithms import spki_of
from meshca.names import ServiceAccount, SpiffeId
from meshca.roots.bundle import bundle_document
from meshca.roots.judge import judge, unverifiable
from tests.issuance.authority import NOW, TD, make_authority

ACCOUNT = ServiceAccount("emojivoto", "web")
WEB = Identity(ACCOUNT.spiffe_id(TD), cluster="Kubernetes", service_account=ACCOUNT)
AUTHORITY = make_authority()
KEY = ec.generate_private_key(ec.SECP256R1()).public_key()
PROFILES = (istio_profile(), linkerd_profile("linkerd"))


def leaf_under(profile: Profile, authority: Authority = AUTHORITY) -> x509.Certificate:
    _, names = profile.expect(WEB)
    draft = draft_leaf(
        names, public_key=KEY, spki=spki_of(KEY), authority=authority, lifetime=timedelta(hours=1), now=NOW
    )
    der = sign(draft, authority.signer)
    lint(der, names=names, spki=spki_of(KEY), authority=authority, now=NOW)
    return x509.load_der_x509_certificate(der)


LEAVES = [leaf_under(profile) for profile in PROFILES]
AUTHORITIES = [AUTHORITY.issuer, AUTHORITY.roots[0]]
every_leaf = pytest.mark.parametrize("leaf", LEAVES, ids=[profile.service for profile in PROFILES])
every_authority = pytest.mark.parametrize("authority", AUTHORITIES, ids=["issuer", "root"])


def uris(certificate: x509.Certificate) -> list[str]:
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return san.value.get_values_for_type(x509.UniformResourceIdentifier)


def usage(certificate: x509.Certificate) -> x509.Extension[x509.KeyUsage]:
    return certificate.extensions.get_extension_for_class(x509.KeyUsage)


@every_leaf
def test_x509_1_a_leaf_has_exactly_one_uri_san(leaf: x509.Certificate) -> None:
    assert uris(leaf) == ["spiffe://cluster.local/ns/emojivoto/sa/web"]


def test_x509_2_a_leaf_with_two_uri_sans_is_not_released() -> None:
    names = tuple(x509.UniformResourceIdentifier(f"spiffe://cluster.local/ns/a/sa/{name}") for name in "bc")
    draft = draft_leaf(
        names, public_key=KEY, spki=spki_of(KEY), authority=AUTHORITY, lifetime=timedelta(hours=1), now=NOW
    )
    with pytest.raises(SignerFault, match="2 URI SANs"):
        lint(sign(draft, AUTHORITY.signer), names=names, spki=spki_of(KEY), authority=AUTHORITY, now=NOW)


@every_leaf
def test_x509_3_a_leafs_id_has_a_path(leaf: x509.Certificate) -> None:
    assert SpiffeId.parse(uris(leaf)[0]).segments


@every_leaf
def test_x509_4_the_san_is_critical_since_the_subject_is_empty(leaf: x509.Certificate) -> None:
    assert not leaf.subject.rdns
    assert leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


@every_authority
def test_x509_5_an_authority_is_an_svid_itself(authority: x509.Certificate) -> None:
    assert uris(authority) == ["spiffe://cluster.local"]


@every_authority
def test_x509_6_an_authoritys_id_has_no_path(authority: x509.Certificate) -> None:
    assert SpiffeId.parse(uris(authority)[0]).segments == ()


@every_leaf
def test_x509_7_an_authoritys_id_is_in_the_trust_domain_of_its_leaves(leaf: x509.Certificate) -> None:
    assert {SpiffeId.parse(uris(each)[0]).trust_domain for each in (leaf, *AUTHORITIES)} == {TD}


@every_authority
def test_x509_8_an_authority_cannot_be_used_to_authenticate(authority: x509.Certificate) -> None:
    assert not usage(authority).value.digital_signature


@every_authority
def test_x509_9_an_authority_says_that_it_is_a_ca(authority: x509.Certificate) -> None:
    constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value.ca


@every_leaf
def test_x509_10_a_leaf_says_that_it_is_no_ca(leaf: x509.Certificate) -> None:
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


@every_leaf
def test_x509_11_only_authorities_have_a_path_length(leaf: x509.Certificate) -> None:
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length is None
    assert AUTHORITY.issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


@every_authority
def test_x509_12_an_authority_has_no_name_constraints_that_its_leaves_could_break(authority: x509.Certificate) -> None:
    assert x509.NameConstraints.oid not in {each.oid for each in authority.extensions}


@pytest.mark.parametrize("certificate", [*LEAVES, *AUTHORITIES])
def test_x509_13_key_usage_is_there_and_critical(certificate: x509.Certificate) -> None:
    assert usage(certificate).critical


@every_authority
def test_x509_14_an_authority_signs_certificates_and_crls(authority: x509.Certificate) -> None:
    assert (usage(authority).value.key_cert_sign, usage(authority).value.crl_sign) == (True, True)


@every_leaf
def test_x509_15_a_leaf_makes_digital_signatures(leaf: x509.Certificate) -> None:
    assert usage(leaf).value.digital_signature


@every_leaf
def test_x509_16_a_leaf_signs_neither_certificates_nor_crls(leaf: x509.Certificate) -> None:
    assert (usage(leaf).value.key_cert_sign, usage(leaf).value.crl_sign) == (False, False)


@every_leaf
def test_x509_17_a_leaf_has_an_extended_key_usage(leaf: x509.Certificate) -> None:
    assert x509.ExtendedKeyUsage.oid in {each.oid for each in leaf.extensions}


@every_leaf
def test_x509_18_a_leaf_is_for_servers_and_clients(leaf: x509.Certificate) -> None:
    value = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH} <= set(value)


@every_leaf
def test_x509_19_paths_are_validated(leaf: x509.Certificate) -> None:
    assert unverifiable(leaf, AUTHORITY.chain, AUTHORITY.roots, NOW) is None
    assert unverifiable(leaf, AUTHORITY.chain, make_authority().roots, NOW) is not None
    assert unverifiable(leaf, AUTHORITY.chain, AUTHORITY.roots, NOW + timedelta(days=2)) is not None


def test_x509_20_an_authority_is_no_leaf() -> None:
    assert unverifiable(AUTHORITY.issuer, AUTHORITY.chain, AUTHORITY.roots, NOW) is not None


def test_x509_23_24_25_a_bundle_has_each_root_once_without_a_kid() -> None:
    document = bundle_document(AUTHORITY.roots, sequence=7)
    (key,) = document["keys"]
    assert key["use"] == "x509-svid"
    assert "kid" not in key
    (certificate,) = key["x5c"]
    assert x509.load_der_x509_certificate(base64.b64decode(certificate)) == AUTHORITY.roots[0]
    assert document["spiffe_sequence"] == 7


def test_x509_26_what_a_bundle_holds_is_self_signed() -> None:
    (key,) = bundle_document(AUTHORITY.roots, sequence=1)["keys"]
    root = x509.load_der_x509_certificate(base64.b64decode(key["x5c"][0]))
    root.verify_directly_issued_by(root)


@every_authority
def test_x509_29_digital_signature_is_for_leaves_alone(authority: x509.Certificate) -> None:
    assert not usage(authority).value.digital_signature
    assert all(usage(leaf).value.digital_signature for leaf in LEAVES)


def test_an_issuer_of_another_trust_domain_is_never_used() -> None:
    with pytest.raises(Misconfigured, match="URI names"):
        judge(
            AUTHORITY.chain,
            signer=AUTHORITY.signer,
            trust_domain=type(TD)("other.example"),
            roots=AUTHORITY.roots,
            now=NOW,
        )
