from __future__ import annotations

import pytest

from tests.config.examined import accepted, only, refused

JWKS = ("clusters.0.validate=jwks",)
FILE = (*JWKS, "clusters.0.jwks.file=/keys")


def test_everybody_in_the_configured_clusters_is_allowed_unless_policy_is_set() -> None:
    (rule,) = accepted().policy
    assert rule.deny is None
    assert rule.allow is not None
    assert (rule.allow.cluster, rule.allow.namespace, rule.allow.service_account) == ("*", "*", "*")


@pytest.mark.parametrize("name", ["", "*", "a b", "-a", "a" * 254, "ä", "a\n"])
def test_a_name_that_is_no_clusters_is_refused(name: str) -> None:
    assert refused(f"clusters=[{{name: {name!r}}}]")[0].path[0] == "clusters"


def test_the_names_that_clouds_give_are_taken() -> None:
    for name in ("arn:aws:eks:eu-west-1:123:cluster/prod", "cn-project-europe-west1-a", "Kubernetes"):
        assert accepted(f"clusters.0.name={name}").clusters[0].name == name


@pytest.mark.parametrize(
    ("overrides", "path"),
    [
        (["clusters.1.name=Kubernetes"], "clusters.1.name"),
        (["clusters.0.aliases=[west]", "clusters.1.name=west"], "clusters.1.name"),
        (["clusters.1.name=west", "clusters.1.aliases=[Kubernetes]"], "clusters.1.aliases.0"),
        (["clusters.0.aliases=[a, b, a]"], "clusters.0.aliases.2"),
        (["clusters.0.aliases=[Kubernetes]"], "clusters.0.aliases.0"),
    ],
)
def test_a_name_of_two_clusters_is_refused(overrides: list[str], path: str) -> None:
    elsewhere = ["clusters.1.api_server.kubeconfig=/west"] if any("clusters.1" in each for each in overrides) else []
    found, problem = only(*overrides, *elsewhere)
    assert found == path
    assert "keep one" in problem.remedy


def test_two_clusters_that_are_both_our_own_are_refused() -> None:
    path, problem = only("clusters.1.name=west")
    assert path == "clusters.1.api_server.kubeconfig"
    assert "Kubernetes already" in problem.remedy


def test_jwks_without_its_block_is_refused() -> None:
    path, problem = only(*JWKS)
    assert path == "clusters.0.jwks"
    assert "{file: …} or {url: …}" in problem.remedy


def test_a_jwks_block_with_review_is_refused() -> None:
    path, problem = only("clusters.0.jwks.file=/keys")
    assert path == "clusters.0.jwks"
    assert "not read" in problem.remedy


def test_keys_from_a_file_and_from_a_url_at_once_are_refused() -> None:
    path, problem = only(*FILE, "clusters.0.jwks.url=https://keys/jwks")
    assert (path, problem.remedy) == ("clusters.0.jwks", "it has both file and url: keep one")


def test_keys_from_nowhere_are_refused() -> None:
    path, problem = only(*JWKS, "clusters.0.jwks.refresh=1m")
    assert (path, problem.remedy) == ("clusters.0.jwks", "it has neither file nor url: write one")


def test_a_ca_file_for_keys_from_a_file_is_refused() -> None:
    assert only(*FILE, "clusters.0.jwks.ca_file=/ca")[0] == "clusters.0.jwks.ca_file"
    accepted(*JWKS, "clusters.0.jwks.url=https://keys/jwks", "clusters.0.jwks.ca_file=/ca")


@pytest.mark.parametrize(
    "url",
    ["https://keys.example/jwks", "https://10.0.0.1:6443/openid/v1/jwks", "http://127.0.0.1:80/", "http://[::1]:80/k",
     "http://localhost/k", "https://k/?a=b"],
)  # fmt: skip
def test_keys_may_be_fetched_over_https_or_on_this_machine(url: str) -> None:
    assert accepted(*JWKS, f"clusters.0.jwks.url={url}").clusters[0].jwks is not None


@pytest.mark.parametrize(
    "url",
    ["http://keys.example/jwks", "http://10.0.0.1/", "http://127.0.0.1.example/", "http://localhost.example/",
     "file:///keys", "ftp://keys/", "keys", "https://", "https:///path", "https://h:port/", "https://[::1/", "//h/",
     "https://h/#f", "https://h/ x", "https://h/\n", "https://ä/", "https://h:99999/", "http://0.0.0.0/",
     "https://user@h/", "https://user:hunter2@h/", "http://127.0.0.1@evil.example/", "https://:hunter2@h/"],
)  # fmt: skip
def test_keys_from_elsewhere_are_refused_and_no_password_is_shown(url: str) -> None:
    path, problem = only(*JWKS, f"clusters.0.jwks.url={url}")
    assert path == "clusters.0.jwks.url"
    assert "hunter2" not in str(problem)


@pytest.mark.parametrize(
    ("kind", "word"), [("auto", "later version"), ("oidc", "later version"), ("none", "write review or jwks")]
)
def test_a_validation_that_is_not_there_is_refused(kind: str, word: str) -> None:
    path, problem = only(f"clusters.0.validate={kind}")
    assert path == "clusters.0.validate"
    assert word in problem.remedy


def test_no_clusters_at_all_are_refused() -> None:
    path, problem = only("clusters=[]")
    assert (path, problem.remedy) == ("clusters", "it must not be empty")


@pytest.mark.parametrize("pattern", ["*", "a", "team-*", "a*", "kube-system", "a" * 63])
def test_a_pattern_of_namespaces_is_taken(pattern: str) -> None:
    assert accepted(f"clusters.0.namespaces.0={pattern}").clusters[0].namespaces == (pattern,)


@pytest.mark.parametrize("pattern", ["**", "*a", "a*b", "a**", "A", "a.b", "a.*", "-a", "-*", "a" * 64, "ä*", " *"])
def test_what_is_no_pattern_of_namespaces_is_refused(pattern: str) -> None:
    assert only(f"clusters.0.namespaces.0={pattern}")[0] == "clusters.0.namespaces.0"
    assert only(f"policy.0.allow.namespace={pattern}")[0] == "policy.0.allow.namespace"


@pytest.mark.parametrize("empty", ["clusters=[{name: a, namespaces: []}]", "clusters=[{name: a, namespaces: ['']}]"])
def test_a_cluster_without_namespaces_is_refused(empty: str) -> None:
    assert only(empty)[0].startswith("clusters.0.namespaces")


@pytest.mark.parametrize("pattern", ["*", "default", "a.b", "a.*", "app-*"])
def test_a_pattern_of_service_accounts_is_taken(pattern: str) -> None:
    (rule,) = accepted(f"policy.0.allow.service_account={pattern}").policy
    assert rule.allow is not None
    assert rule.allow.service_account == pattern


@pytest.mark.parametrize("pattern", ["**", "*a", "A", "a_b", "a..b", ".a", ".*", "a" * 254])
def test_what_is_no_pattern_of_service_accounts_is_refused(pattern: str) -> None:
    assert only(f"policy.0.allow.service_account={pattern}")[0] == "policy.0.allow.service_account"


@pytest.mark.parametrize("verb", ["allow", "deny"])
def test_a_policy_rule_about_an_unknown_cluster_is_refused(verb: str) -> None:
    path, problem = only(f"policy=[{{{verb}: {{cluster: wets}}}}]", "clusters.0.name=west")
    assert (path, problem.seen, problem.remedy) == (f"policy.0.{verb}.cluster", "'wets'", "write west or *")


def test_a_policy_rule_that_goes_by_an_alias_is_told_the_name() -> None:
    path, problem = only("clusters.0.aliases=[west]", "policy.0.allow.cluster=west")
    assert (path, problem.remedy) == ("policy.0.allow.cluster", "write Kubernetes")


@pytest.mark.parametrize(
    ("rule", "word"), [("{allow: {}, deny: {}}", "both"), ("{max_lifetime: 1h}", "neither"), ("{}", "neither")]
)
def test_a_policy_rule_with_both_or_neither_of_allow_and_deny_is_refused(rule: str, word: str) -> None:
    path, problem = only(f"policy=[{rule}]")
    assert path == "policy.0"
    assert word in problem.remedy


def test_a_denial_with_bounds_is_refused() -> None:
    path, problem = only("policy=[{deny: {}, max_lifetime: 1h}]")
    assert path == "policy.0"
    assert "mean nothing" in problem.remedy


def test_a_policy_that_allows_nobody_is_taken() -> None:
    assert accepted("policy=[]").policy == ()


def test_an_audience_of_two_services_is_refused() -> None:
    path, problem = only("audiences.linkerd=[identity.l5d.io, istio-ca]")
    assert (path, problem.seen) == ("audiences.linkerd.1", "'istio-ca'")


@pytest.mark.parametrize("service", ["istio", "linkerd"])
@pytest.mark.parametrize("audiences", ["[]", "['']", "['a b']", "['a\tb']", "['ä']"])
def test_a_service_without_a_proper_audience_is_refused(service: str, audiences: str) -> None:
    assert only(f"audiences.{service}={audiences}")[0].startswith(f"audiences.{service}")


def test_the_audiences_of_a_service_are_found_by_its_name() -> None:
    audiences = accepted("audiences.istio=[a, b]").audiences
    assert (audiences["istio"], audiences["linkerd"]) == (("a", "b"), ("identity.l5d.io",))
    with pytest.raises(KeyError):
        audiences["admin"]
