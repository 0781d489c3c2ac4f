from __future__ import annotations

import pytest

from meshca.config.authority import Issuer
from meshca.keys.algorithms import KEY_TYPES
from tests.config.examined import accepted, only


def test_several_workers_with_sqlite_are_refused_with_the_advice() -> None:
    path, problem = only("workers=2")
    assert (path, problem.seen) == ("workers", "2")
    assert "PostgreSQL" in problem.remedy


@pytest.mark.parametrize("workers", ["0", "-1", "257", "many", "1.5", "[]", "{}"])
def test_a_number_of_workers_that_is_none_is_refused(workers: str) -> None:
    assert only(f"workers={workers}")[0] == "workers"


@pytest.mark.parametrize(
    "url",
    ["postgresql://meshca:hunter2@db/meshca", "postgres://u:hunter2@db", "postgresql+psycopg://u:hunter2@[::1]/x",
     "mysql://u:hunter2@db/x"],
)  # fmt: skip
def test_another_database_is_refused_as_not_there_yet_without_its_password(url: str) -> None:
    path, problem = only(f"store.url={url}")
    assert path == "store.url"
    assert "PostgreSQL follows" in problem.remedy
    assert "hunter2" not in str(problem)


@pytest.mark.parametrize(
    "url",
    ["", "sqlite://", "sqlite:///relative.db", "sqlite:////", "sqlite:///:memory:", "/var/lib/x", "sqlite:////x?y=z",
     "sqlite:////x#y", "sqlite+aiosqlite:////x", "SQLITE:////x", " sqlite:////x", "sqlite:////x\0y", "oracle://x"],
)  # fmt: skip
def test_what_is_no_absolute_path_of_a_database_is_refused(url: str) -> None:
    path, problem = only(f"store={{url: '{url}'}}" if "\0" not in url else f"store.url={url}")
    assert path == "store.url"
    assert "sqlite:////absolute/path" in problem.remedy


def test_a_root_key_without_its_certificate_is_refused() -> None:
    assert only("root.key=/k")[0] == "root.certificate"
    accepted("root.key=/k", "root.certificate=/c")


def test_a_root_certificate_without_its_key_is_taken() -> None:
    accepted("root.certificate=/c")


def test_a_passphrase_without_its_key_is_refused() -> None:
    assert only("root.passphrase_file=/p", "root.certificate=/c")[0] == "root.key"


@pytest.mark.parametrize("kind", ["vault-pki", "vault-transit", "pkcs11"])
def test_another_kind_of_root_is_refused_as_not_there_yet(kind: str) -> None:
    path, problem = only(f"root.kind={kind}")
    assert path == "root.kind"
    assert "follows in a later version" in problem.remedy


@pytest.mark.parametrize("kind", ["file", "vault-transit", "pkcs11"])
def test_another_kind_of_issuer_key_is_refused_as_not_there_yet(kind: str) -> None:
    path, problem = only(f"issuer.keys.kind={kind}")
    assert path == "issuer.keys.kind"
    assert "follows in a later version" in problem.remedy


def test_an_unknown_kind_of_root_is_refused() -> None:
    assert only("root.kind=files")[1].remedy == "write file"


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_every_type_of_key_that_we_make_can_be_configured(key_type: str) -> None:
    assert accepted(f"issuer.key_type={key_type}").issuer.key_type == key_type


def test_no_other_type_of_key_can_be_configured() -> None:
    assert Issuer.model_json_schema()["properties"]["key_type"]["enum"] == list(KEY_TYPES)
    assert only("issuer.key_type=ed25519")[0] == "issuer.key_type"


@pytest.mark.parametrize("fingerprint", ["sha256:" + "a" * 63, "a" * 64, "sha256:" + "A" * 64, "sha1:" + "a" * 40])
def test_what_is_no_fingerprint_is_refused(fingerprint: str) -> None:
    assert only(f"root.fingerprints.0={fingerprint}")[0] == "root.fingerprints.0"


def test_a_fingerprint_is_taken() -> None:
    assert accepted("root.fingerprints.0=sha256:" + "0a" * 32).root.fingerprints == ("sha256:" + "0a" * 32,)


@pytest.mark.parametrize("path", ["['']", '["a\\0b"]', "[{}]"])
def test_what_is_no_path_is_refused(path: str) -> None:
    assert only(f"csr={{blocked_keys: {path[1:-1]}}}")[0] == "csr.blocked_keys"


@pytest.mark.parametrize("domain", ["Cluster.local", "a b", "spiffe://a", "a/b", "a:1", "ä", "x" * 256, "a\n"])
def test_what_is_no_trust_domain_is_refused(domain: str) -> None:
    path, problem = only(f"trust_domain={domain}")
    assert path == "trust_domain"
    assert "SPIFFE-ID" in problem.remedy


@pytest.mark.parametrize("namespace", ["Linkerd", "a.b", "*", "a" * 64, "-a", "linkerd*"])
def test_a_control_namespace_that_is_none_is_refused(namespace: str) -> None:
    assert only(f"linkerd.control_namespace={namespace}")[0] == "linkerd.control_namespace"


@pytest.mark.parametrize("field", ["ledger.keep", "clusters.0.api_server.timeout"])
def test_a_duration_of_nothing_is_refused_where_it_would_mean_nothing(field: str) -> None:
    path, problem = only(f"{field}=0s")
    assert (path, problem.remedy) == (field, "write at least 1ms")
