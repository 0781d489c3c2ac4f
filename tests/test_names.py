"""Names are taken in one form only: SPIFFE-ID's requirements ID-1…ID-15, Kubernetes' and Linkerd's names."""

from __future__ import annotations

import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshca.identity import Identity
from meshca.names import BadName, LinkerdName, ServiceAccount, SpiffeId, TrustDomain

DOMAIN = TrustDomain("cluster.local")
WEB = ServiceAccount("emojivoto", "web")

_LOWER = "abcdefghijklmnopqrstuvwxyz0123456789"
_SEGMENT = _LOWER + _LOWER.upper() + "._-"

trust_domains = st.text(_LOWER + "._-", min_size=1, max_size=255).map(TrustDomain)
segments = st.text(_SEGMENT, min_size=1, max_size=60).filter(lambda text: text not in {".", ".."})
spiffe_ids = st.builds(SpiffeId, trust_domains, st.lists(segments, max_size=10).map(tuple))
labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


def refused(text: str) -> str:
    with pytest.raises(BadName) as caught:
        SpiffeId.parse(text)
    return str(caught.value)


@given(spiffe_ids)
def test_an_id_is_read_as_it_is_printed(spiffe_id: SpiffeId) -> None:
    assert SpiffeId.parse(str(spiffe_id)) == spiffe_id


@given(spiffe_ids)
def test_an_id_is_a_url_to_others_with_the_same_parts(spiffe_id: SpiffeId) -> None:
    url = urllib.parse.urlsplit(str(spiffe_id))

    assert (url.scheme, url.netloc, url.query, url.fragment) == ("spiffe", spiffe_id.trust_domain.name, "", "")
    assert url.path == "".join(f"/{segment}" for segment in spiffe_id.segments)


@given(st.text() | st.builds("spiffe://{}".format, st.text()))
def test_whatever_is_read_is_printed_the_same(text: str) -> None:
    try:
        spiffe_id = SpiffeId.parse(text)
    except BadName:
        return
    assert str(spiffe_id) == text


@pytest.mark.parametrize("text", ["https://cluster.local/x", "cluster.local/x", "spiffe:/cluster.local/x", "://a/b"])
def test_id_1_the_scheme_is_spiffe(text: str) -> None:
    assert "does not begin with spiffe://" in refused(text)


@pytest.mark.parametrize("text", ["spiffe://", "spiffe:///ns/a/sa/b"])
def test_id_1_and_3_the_trust_domain_is_not_empty(text: str) -> None:
    assert "SPIFFE-ID §2.1" in refused(text)


@pytest.mark.parametrize(
    "text",
    ["spiffe://td/a?b=c", "spiffe://td?b", "spiffe://td/a#b", "spiffe://td#b", "spiffe://td/a?", "spiffe://td/a#"],
)
def test_id_2_there_is_no_query_and_no_fragment(text: str) -> None:
    refused(text)


@pytest.mark.parametrize("text", ["spiffe://me@td/a", "spiffe://me:pw@td/a", "spiffe://td:80/a", "spiffe://td:/a"])
def test_id_4_there_is_no_userinfo_and_no_port(text: str) -> None:
    assert "SPIFFE-ID §2.1" in refused(text)


@pytest.mark.parametrize("name", ["Cluster.local", "CLUSTER.LOCAL", "cluster.locaL"])
def test_id_5_the_trust_domain_is_lower_case(name: str) -> None:
    with pytest.raises(BadName, match=r"SPIFFE-ID §2\.1"):
        TrustDomain(name)


@pytest.mark.parametrize("name", ["a", "a.b", "a-b", "a_b", "10.0.0.1", "-", ".", "..", "a..b", "a" * 255])
def test_id_6_letters_digits_dot_dash_and_underscore_are_allowed(name: str) -> None:
    assert SpiffeId.parse(f"spiffe://{name}/x").trust_domain == TrustDomain(name)


@pytest.mark.parametrize(
    "name", ["[::1]", "a b", "a\n", "a\0", "a/b", "a*", "a+b", "ä", "аpple", "a\u202e", "１", "a;b", "a,b", "~a"]
)
def test_id_6_nothing_else_is_allowed_in_a_trust_domain(name: str) -> None:
    with pytest.raises(BadName, match=r"SPIFFE-ID §2\.1"):
        TrustDomain(name)


@pytest.mark.parametrize("name", ["a%2eb", "%61", "a%"])
def test_id_7_a_trust_domain_has_no_percent_encoding(name: str) -> None:
    with pytest.raises(BadName, match=r"SPIFFE-ID §2\.1"):
        TrustDomain(name)


@pytest.mark.parametrize("name", ["192.0.2.1", "999.1.1.1", "1", "example.com", "-not-dns-", "a..b"])
def test_id_8_a_trust_domain_that_looks_like_an_address_is_like_any_other(name: str) -> None:
    assert str(SpiffeId(TrustDomain(name), ("x",))) == f"spiffe://{name}/x"


@pytest.mark.parametrize("path", ["%2e%2e", "a%2fb", "%41", "a%"])
def test_id_9_a_path_has_no_percent_encoding(path: str) -> None:
    assert "SPIFFE-ID §2.2" in refused(f"spiffe://td/{path}")


@pytest.mark.parametrize("path", ["a//b", "/a", "./a", "a/.", "../a", "a/../b", "..", "."])
def test_id_10_there_are_no_empty_segments_and_no_dots_alone(path: str) -> None:
    assert "SPIFFE-ID §2.2" in refused(f"spiffe://td/{path}")


@pytest.mark.parametrize("segment", ["...", ".a", "a.", "..a", "-", "_"])
def test_id_10_dots_in_company_are_letters_like_others(segment: str) -> None:
    assert SpiffeId.parse(f"spiffe://td/{segment}").segments == (segment,)


@pytest.mark.parametrize("text", ["spiffe://td/", "spiffe://td/a/", "spiffe://td/a//"])
def test_id_11_there_is_no_slash_at_the_end(text: str) -> None:
    assert "SPIFFE-ID §2.2" in refused(text)


def test_id_11_a_trust_domain_has_an_id_without_a_path() -> None:
    assert str(DOMAIN.spiffe_id) == "spiffe://cluster.local"
    assert SpiffeId.parse("spiffe://cluster.local") == DOMAIN.spiffe_id


@pytest.mark.parametrize("letter", [*" !\"#$%&'()*+,:;<=>?@[\\]^`{|}~\n\r\t\0\x7f", "é", "е", "\u202e", "１", "\ud800"])
def test_id_12_segments_have_letters_digits_dot_dash_and_underscore_only(letter: str) -> None:
    assert "SPIFFE-ID §2.2" in refused(f"spiffe://td/a{letter}")


def test_id_13_ids_of_2048_bytes_are_read_and_longer_ones_are_not() -> None:
    longest = "spiffe://td/" + "a" * (2048 - len("spiffe://td/"))

    assert str(SpiffeId.parse(longest)) == longest
    assert "SPIFFE-ID §2.3" in refused(longest + "a")


def test_id_13_an_id_that_would_be_too_long_is_not_made() -> None:
    with pytest.raises(BadName, match=r"2049 bytes is over 2048"):
        SpiffeId(TrustDomain("td"), ("a" * (2049 - len("spiffe://td/")),))


def test_id_14_trust_domains_have_255_bytes_at_most() -> None:
    assert len(TrustDomain("a" * 255).name) == 255
    with pytest.raises(BadName, match=r"256 bytes is over 255"):
        TrustDomain("a" * 256)


@pytest.mark.parametrize("text", ["SPIFFE://td/a", "Spiffe://td/a", "spiffe://TD/a"])
def test_id_15_upper_case_is_not_folded_but_refused(text: str) -> None:
    refused(text)


def test_id_15_paths_differ_by_case() -> None:
    assert SpiffeId.parse("spiffe://td/Web") != SpiffeId.parse("spiffe://td/web")


def test_the_id_of_a_service_account_is_istios() -> None:
    assert str(WEB.spiffe_id(DOMAIN)) == "spiffe://cluster.local/ns/emojivoto/sa/web"


@given(labels, labels, labels, labels)
def test_two_service_accounts_never_share_an_id(namespace: str, name: str, other_space: str, other: str) -> None:
    one, two = ServiceAccount(namespace, name), ServiceAccount(other_space, other)

    assert (one == two) == (one.spiffe_id(DOMAIN) == two.spiffe_id(DOMAIN))
    assert (one == two) == (str(LinkerdName(one, "l", DOMAIN)) == str(LinkerdName(two, "l", DOMAIN)))


@pytest.mark.parametrize("namespace", ["", "A", "a.b", "a/b", "a_b", "-a", "a-", "a" * 64, "a\n", "..", "*", "ä", "a "])
def test_a_namespace_is_one_dns_label(namespace: str) -> None:
    with pytest.raises(BadName, match="RFC 1123 label"):
        ServiceAccount(namespace, "web")


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a" * 63, "a.b", "a.b.c", ".".join(["a" * 63] * 3 + ["a" * 61])])
def test_a_service_account_is_a_dns_subdomain(name: str) -> None:
    assert ServiceAccount("n", name).name == name


@pytest.mark.parametrize(
    "name", ["", ".", "a.", ".a", "a..b", "a/b", "a:b", "A", "a_b", "-a", "a-", "a" * 64, "a\n", "*", "%61", "ａ"]
)
def test_other_names_of_service_accounts_are_refused(name: str) -> None:
    with pytest.raises(BadName, match="RFC 1123 subdomain"):
        ServiceAccount("n", name)


def test_the_name_of_a_service_account_has_253_bytes_at_most() -> None:
    longest = ".".join(["a" * 63] * 3 + ["a" * 61])
    assert len(longest) == 253

    with pytest.raises(BadName, match="253 bytes"):
        ServiceAccount("n", longest + "a")


@given(labels, labels)
def test_a_service_account_is_read_as_it_is_printed(namespace: str, name: str) -> None:
    account = ServiceAccount(namespace, name)

    assert ServiceAccount.parse(str(account)) == account


@pytest.mark.parametrize("text", ["web", "/web", "emojivoto/", "a/b/c", "", "/", "a/b "])
def test_a_service_account_is_written_as_namespace_and_name(text: str) -> None:
    with pytest.raises(BadName):
        ServiceAccount.parse(text)


def test_linkerds_name_is_upstreams() -> None:
    name = LinkerdName(ServiceAccount("linkerd", "linkerd-identity"), "linkerd", DOMAIN)

    assert str(name) == "linkerd-identity.linkerd.serviceaccount.identity.linkerd.cluster.local"
    assert len(str(name)) == 70


def test_an_account_with_dots_has_no_linkerd_name() -> None:
    # "web.admin" in "ns" would read like "web" in "admin" of another shape.
    with pytest.raises(BadName, match="no dots"):
        LinkerdName(ServiceAccount("emojivoto", "web.admin"), "linkerd", DOMAIN)


@pytest.mark.parametrize("control_namespace", ["", "a.b", "A", "linkerd ", "-"])
def test_the_control_namespace_is_one_dns_label(control_namespace: str) -> None:
    with pytest.raises(BadName, match="RFC 1123 label"):
        LinkerdName(WEB, control_namespace, DOMAIN)


@pytest.mark.parametrize("domain", ["a_b", ".local", "local.", "a..b", "-", "a." + "b" * 64])
def test_a_trust_domain_that_is_no_dns_name_has_no_linkerd_names(domain: str) -> None:
    with pytest.raises(BadName, match="cannot end a DNS name"):
        LinkerdName(WEB, "linkerd", TrustDomain(domain))


def test_linkerds_name_has_253_bytes_at_most() -> None:
    fixed = len(str(LinkerdName(WEB, "linkerd", TrustDomain("a")))) - 1
    domain = ".".join(["a" * 63] * 3 + ["a" * (253 - fixed - 3 * 64)])

    assert len(str(LinkerdName(WEB, "linkerd", TrustDomain(domain)))) == 253
    with pytest.raises(BadName, match="254 bytes, over 253"):
        LinkerdName(WEB, "linkerd", TrustDomain(domain + "a"))


def test_an_identity_without_a_service_account_has_no_linkerd_name() -> None:
    identity = Identity(SpiffeId.parse("spiffe://cluster.local/machine/7"), "Kubernetes")

    assert (identity.namespace, identity.account) == ("", "")
    with pytest.raises(BadName, match="no service account"):
        identity.linkerd_name("linkerd")


def test_an_identity_has_its_accounts_linkerd_name() -> None:
    identity = Identity(WEB.spiffe_id(DOMAIN), "Kubernetes", WEB)

    assert str(identity) == "spiffe://cluster.local/ns/emojivoto/sa/web"
    assert identity.linkerd_name("linkerd") == LinkerdName(WEB, "linkerd", DOMAIN)


def test_a_bad_name_is_shown_in_escaped_form() -> None:
    assert r"\n" in refused("spiffe://td/a\nlevel=info")
    assert "\n" not in refused("spiffe://td/a\nlevel=info")
