from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

from meshca.config import Config, Store, shown_effective
from meshca.config.masking import masked, seen
from tests.config.examined import accepted

SETTINGS = (
    *("leaf.lifetime=20s", "leaf.jitter=33.3%", "issuer.lifetime=1h", "issuer.rotate_at=0.123456"),
    *("clusters.1.name=west", "clusters.1.validate=jwks", "clusters.1.jwks.url=https://keys/x", "rotation.skew=0s"),
    *("clusters.1.jwks.ca_file=/ca", "root.certificate=/c", "root.key=/k", "policy.0.max_lifetime=20s"),
    *("listeners.0.limits.message=1MiB", "listeners.1.address=[::1]:8080", "listeners.1.behind=null"),
)


@pytest.mark.parametrize("settings", [(), SETTINGS])
def test_json_takes_the_configuration_to_another_process_and_back(settings: tuple[str, ...]) -> None:
    config = accepted(*settings)
    assert Config.model_validate_json(config.model_dump_json()) == config
    assert Config.model_validate(config.model_dump(mode="json")) == config
    assert Config.model_validate(json.loads(json.dumps(shown_effective(config)))) == config
    assert Config.model_validate(config.model_dump()) == config


def test_what_is_shown_is_plain_and_as_it_would_be_written() -> None:
    shown = shown_effective(accepted(*SETTINGS))
    assert yaml.safe_load(yaml.safe_dump(shown)) == json.loads(json.dumps(shown)) == shown
    assert shown["leaf"] == {"lifetime": "20s", "min_lifetime": "20s", "max_lifetime": "20s", "jitter": "33.3%"}
    assert shown["issuer"]["rotate_at"] == "12.3456%"
    assert shown["clusters"][1]["validate"] == "jwks"
    assert shown["listeners"][0]["limits"]["message"] == 1048576
    assert shown["root"]["key"] == "/k"


def test_passwords_are_masked_in_what_is_shown() -> None:
    secret = Config(trust_domain="a").model_copy(
        update={"store": Store.model_construct(url="postgresql://meshca:hunter2@db/x?sslpassword=hunter3")}
    )
    assert shown_effective(secret)["store"]["url"] == "postgresql://meshca:***@db/x?sslpassword=***"
    assert "hunter" not in repr(secret)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:hunter2@db:5432/x", "postgresql://u:***@db:5432/x"),
        ("postgresql://u:hun@ter2@db/x", "postgresql://u:***@db/x"),
        ("postgresql://u:hun/ter2?#@db/x", "postgresql://u:***@db/x"),
        ("postgresql://hunter2@db/x", "postgresql://***@db/x"),
        ("postgresql://:hunter2@db/x", "postgresql://:***@db/x"),
        ("postgresql+psycopg://u:a:b@db", "postgresql+psycopg://u:***@db"),
        ("unix:/run/a@b", "unix:/run/a@b"),
        ("https://h/p?token=hunter2&a=b", "https://h/p?token=***&a=***"),
        ("https://h/p", "https://h/p"),
        ("istio-ca", "istio-ca"),
        ("/a/b@c", "/a/b@c"),
        ("sqlite:////a:b@c/d", "sqlite:////a:b@c/d"),
        ("0.0.0.0:80", "0.0.0.0:80"),
        ("unix:/run/x", "unix:/run/x"),
        ("", ""),
    ],
)
def test_a_password_in_a_url_is_masked(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_a_password_without_its_scheme_is_masked_where_it_was_refused() -> None:
    assert seen(("http", "address"), "u:hunter2@db") == "'u:***@db'"
    assert seen(("http", "address"), "10.0.0.1:80") == "'10.0.0.1:80'"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:hunter2@db", "'postgresql://***'"),
        ("postgresql://u:hunter2", "'postgresql://***'"),
        ("postgresql:u:hunter2", "'postgresql:***'"),
        ("hunter2", "'***'"),
        ("hunter2:x", "'***'"),
        ("sqlite:///hunter2@x", "'sqlite://***'"),
        ("sqlite:///relative.db", "'sqlite:///relative.db'"),
        (["postgresql://u:hunter2@db"], "a list"),
        ({"u": "hunter2"}, "a mapping"),
        (None, "nothing"),
    ],
)
def test_a_refused_url_of_the_store_is_not_shown(url: object, shown: str) -> None:
    assert seen(("store", "url"), url) == shown


def test_the_configuration_is_small_in_memory() -> None:
    # pydantic and its first model take about 19 MB, PyYAML 1 MB, all our sections and rules 3 MB.
    code = (
        "import resource as r; before = r.getrusage(r.RUSAGE_SELF).ru_maxrss; from meshca.config import Config;"
        "Config(trust_domain='a'); print(r.getrusage(r.RUSAGE_SELF).ru_maxrss - before)"
    )
    grown = int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
    assert grown < 32 * 1024
