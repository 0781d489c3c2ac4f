from __future__ import annotations

import pytest

from tests.config.examined import accepted, only, refused


def listener(**fields: str) -> str:
    """One listener, alone: an Istio listener with TLS where nothing else is said; None as a text leaves a field out."""
    usual = {"name": "door", "address": "'0.0.0.0:15012'", "kind": "tls", "services": "[istio]", "names": "[a.b]"}
    given = {name: value for name, value in (usual | fields).items() if value != "None"}
    return f"listeners=[{{{', '.join(f'{name}: {value}' for name, value in given.items())}}}]"


def plaintext(**fields: str) -> str:
    return listener(**{"kind": "plaintext", "names": "None", "services": "[linkerd]"} | fields)


def test_the_listeners_of_both_meshes_and_the_admin_socket_are_there_unless_set() -> None:
    assert [(each.name, each.address, each.kind, each.services) for each in accepted().listeners] == [
        ("istio", "0.0.0.0:15012", "tls", ("istio",)),
        ("linkerd", "0.0.0.0:8080", "plaintext", ("linkerd",)),
        ("admin", "unix:/run/meshca/admin.sock", "plaintext", ("admin",)),
    ]


def test_the_listeners_of_the_tests_are_good() -> None:
    accepted(listener())
    accepted(plaintext(behind="linkerd-sidecar"))


def test_two_listeners_of_one_name_are_refused() -> None:
    path, problem = only("listeners.1.name=istio")
    assert path == "listeners.1.name"
    assert "rename" in problem.remedy


@pytest.mark.parametrize(
    ("override", "path", "owner"),
    [
        ("listeners.1.address=0.0.0.0:15012", "listeners.1.address", "listener istio"),
        ("listeners.1.address=127.0.0.1:15012", "listeners.1.address", "listener istio"),
        ("listeners.0.address=[::]:8080", "listeners.1.address", "listener istio"),
        ("listeners.1.address=unix:/run/meshca/admin.sock", "listeners.2.address", "listener linkerd"),
        ("listeners.0.address=0.0.0.0:9990", "listeners.0.address", "http.address"),
        ("http.address=127.0.0.1:8080", "listeners.1.address", "http.address"),
    ],
)
def test_an_address_that_is_taken_is_refused(override: str, path: str, owner: str) -> None:
    found, problem = only(override)
    assert found == path
    assert owner in problem.remedy


def test_a_service_twice_on_a_listener_is_refused() -> None:
    assert only(listener(services="[istio, istio]"))[0] == "listeners.0.services"


@pytest.mark.parametrize("address", ["127.0.0.1:80", "'[::1]:80'", "localhost:80", "'unix:/run/x'"])
def test_plaintext_is_taken_where_nobody_else_listens(address: str) -> None:
    accepted(plaintext(address=address, services="[istio, linkerd]"))


@pytest.mark.parametrize("address", ["0.0.0.0:80", "10.0.0.1:80", "'[::]:80'", "'[2001:db8::1]:80'"])
def test_plaintext_in_the_open_is_refused(address: str) -> None:
    path, problem = only(plaintext(address=address))
    assert path == "listeners.0.address"
    assert "behind: linkerd-sidecar" in problem.remedy
    accepted(plaintext(address=address, behind="linkerd-sidecar"))


@pytest.mark.parametrize("services", ["[istio]", "[linkerd, istio]"])
def test_other_clients_behind_a_linkerd_sidecar_are_refused(services: str) -> None:
    path, problem = only(plaintext(behind="linkerd-sidecar", services=services))
    assert path == "listeners.0.services"
    assert "in the clear" in problem.remedy


def test_tls_behind_a_sidecar_is_refused() -> None:
    assert only(listener(behind="linkerd-sidecar"))[0] == "listeners.0.behind"


def test_another_sidecar_is_refused() -> None:
    path, problem = only(plaintext(behind="envoy"))
    assert (path, problem.remedy) == ("listeners.0.behind", "write linkerd-sidecar")


def test_linkerd_over_tls_is_refused_with_the_reason() -> None:
    path, problem = only(listener(services="[linkerd]"))
    assert path == "listeners.0.kind"
    assert "ALPN" in problem.remedy
    assert "relay" in problem.remedy


@pytest.mark.parametrize("address", ["127.0.0.1:80", "'[::1]:80'"])
def test_admin_on_a_port_is_refused(address: str) -> None:
    path, problem = only(plaintext(address=address, services="[admin]"))
    assert path == "listeners.0.address"
    assert "Unix socket" in problem.remedy


def test_admin_over_tls_is_refused() -> None:
    assert {".".join(map(str, each.path)) for each in refused(listener(services="[admin]"))} == {"listeners.0.address"}


def test_admin_beside_another_service_is_refused() -> None:
    path, problem = only(plaintext(address="'unix:/run/x'", services="[admin, linkerd]"))
    assert path == "listeners.0.services"
    assert "of its own" in problem.remedy


def test_tls_without_names_is_refused() -> None:
    path, problem = only(listener(names="None"))
    assert (path, problem.seen) == ("listeners.0.names", "empty")


def test_plaintext_with_names_is_refused() -> None:
    assert only(plaintext(address="127.0.0.1:80", names="[a.b]"))[0] == "listeners.0.names"


def test_tls_on_a_socket_is_refused() -> None:
    assert only(listener(address="'unix:/run/x'"))[0] == "listeners.0.address"


@pytest.mark.parametrize("name", ["''", "A.b", "a.b.", "'*.b'", "a..b", "-a", "a_b", "'a.b '", "ä", "a" * 64])
def test_what_is_no_dns_name_is_refused(name: str) -> None:
    assert only(listener(names=f"[{name}]"))[0] == "listeners.0.names.0"


def test_linkerds_own_name_for_its_identity_service_is_a_dns_name() -> None:
    accepted(listener(names="[linkerd-identity.linkerd.serviceaccount.identity.linkerd.cluster.local]"))


def test_a_relay_is_refused_as_not_there_yet() -> None:
    path, problem = only(listener(kind="relay"))
    assert path == "listeners.0.kind"
    assert "later version" in problem.remedy


@pytest.mark.parametrize(
    ("field", "value", "remedy"),
    [
        ("kind", "mtls", "write tls or plaintext"),
        ("services", "[spire]", "write istio, linkerd or admin"),
        ("services", "[]", "it must not be empty"),
        ("services", "istio", "write a list, such as [a, b]"),
        ("unbound", "maybe", "write refuse or allow"),
        ("name", "A", "write a-z 0-9 and -, at most 63 of them"),
        ("name", "None", "it has no default and is not set: set it"),
        ("limits", "{message: 1KiB}", "write 16384 or more"),
        ("limits", "{message: 5MiB}", "write 4194304 or less"),
        ("limits", "{streams: 0}", "write 1 or more"),
        ("limits", "{in_flight: many}", "write a whole number"),
        ("limits", "{connection_age: 0s}", "write at least 1ms"),
    ],
)
def test_a_field_of_a_listener_that_does_not_fit_is_refused(field: str, value: str, remedy: str) -> None:
    path, problem = only(listener(**{field: value}))
    assert path.startswith(f"listeners.0.{field}")
    assert problem.remedy == remedy


def test_no_listeners_at_all_are_refused() -> None:
    assert only("listeners=[]")[0] == "listeners"


def test_the_http_side_needs_a_port() -> None:
    path, problem = only("http.address=unix:/run/http")
    assert path == "http.address"
    assert "host:port" in problem.remedy


@pytest.mark.parametrize("domain", ["my_mesh.example", "a..b", "-", ".".join(["x" * 63, "y" * 63, "z" * 63, "a" * 40])])
def test_a_trust_domain_that_ends_no_dns_name_is_refused_where_linkerd_is_served(domain: str) -> None:
    assert [each.path for each in refused(f"trust_domain={domain}")] == [("trust_domain",)]
    accepted(f"trust_domain={domain}", listener())
