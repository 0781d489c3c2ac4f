from __future__ import annotations

from pathlib import Path

import pytest

from meshca.config import Config, examine, load
from meshca.errors import Misconfigured
from tests.config.examined import accepted, only


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "meshca.yaml"
    path.write_text("trust_domain: file.example\nleaf:\n  lifetime: 1h\n  jitter: 1%\n")
    return path


def test_the_environment_counts_over_the_file_and_set_over_both(file: Path) -> None:
    environ = {"MESHCA__LEAF__LIFETIME": "2h", "MESHCA__LOG__LEVEL": "debug"}
    config = load(file, environ=environ, overrides=["leaf.lifetime=3h", "leaf.lifetime=4h"])
    assert [config.trust_domain, config.leaf.lifetime.total_seconds(), config.leaf.jitter, config.log.level] == [
        "file.example",
        4 * 3600,
        0.01,
        "debug",
    ]
    assert load(file, environ=environ).leaf.lifetime.total_seconds() == 2 * 3600


def test_other_variables_configure_nothing(file: Path) -> None:
    names = {
        "MESHCA_PORT": "tcp://10.0.0.1:80",
        "MESHCA_LEAF_LIFETIME": "2h",
        "meshca__leaf__lifetime": "2h",
        "LEAF": "",
    }
    assert load(file, environ=names) == load(file, environ={})


def test_an_item_of_a_default_list_can_be_set_alone() -> None:
    changed, default = accepted("listeners.0.address=127.0.0.1:15012").listeners, accepted().listeners
    assert changed[0].address == "127.0.0.1:15012"
    assert changed[0].model_copy(update={"address": default[0].address}) == default[0]
    assert changed[1:] == default[1:]


def test_the_number_after_the_last_adds_an_item() -> None:
    config = accepted("clusters.1.name=west", "clusters.1.validate=jwks", "clusters.1.jwks.file=/keys")
    assert [cluster.name for cluster in config.clusters] == ["Kubernetes", "west"]


def test_items_of_the_environment_are_set_in_the_order_of_their_numbers() -> None:
    names = {f"MESHCA__AUDIENCES__ISTIO__{number}": f"a{number}" for number in reversed(range(12))}
    config = load(None, environ={"MESHCA__TRUST_DOMAIN": "x", **names})
    assert config.audiences["istio"] == tuple(f"a{number}" for number in range(12))


def test_a_section_of_the_environment_is_set_before_what_is_inside() -> None:
    environ = {"MESHCA__TRUST_DOMAIN": "x", "MESHCA__LEAF__JITTER": "2%", "MESHCA__LEAF": "{jitter: 1%, lifetime: 1h}"}
    leaf = load(None, environ=environ).leaf
    assert (leaf.jitter, leaf.lifetime.total_seconds()) == (0.02, 3600)


def test_nothing_takes_a_field_back_to_its_default(file: Path) -> None:
    assert load(file, environ={"MESHCA__LEAF__LIFETIME": ""}).leaf.lifetime.days == 1
    assert load(file, environ={}, overrides=["leaf=null"]).leaf == accepted().leaf


def test_a_value_needs_no_quotes() -> None:
    assert accepted("root.key=/a b: #c", "root.certificate=/d").root.key == Path("/a b: #c")
    assert accepted("http.address=[::1]:9990").http.address == "[::1]:9990"
    assert accepted("clusters.0.namespaces.0=*").clusters[0].namespaces == ("*",)


def test_a_list_in_brackets_replaces_the_list() -> None:
    assert accepted("listeners.0.names=[a.b, c]").listeners[0].names == ("a.b", "c")


@pytest.mark.parametrize(
    "name",
    [
        "MESHCA__",
        "MESHCA__leaf__lifetime",
        "MESHCA__LEAF__",
        "MESHCA____LEAF",
        "MESHCA__LEAF__LIFETIME ",
        "MESHCA__LEAF.LIFETIME",
        "MESHCA___LEAF",
        "MESHCA__LEAF__\udc80",
    ],
)
def test_a_variable_that_names_no_field_is_refused(name: str) -> None:
    judged = examine(None, environ={"MESHCA__TRUST_DOMAIN": "x", name: "20s"})
    assert not isinstance(judged, Config)
    assert len(judged) == 1
    assert "environment variable" in judged[0].place
    assert str(judged[0]).isascii()


def test_an_unknown_variable_is_refused_with_the_field_that_was_meant() -> None:
    judged = examine(None, environ={"MESHCA__TRUST_DOMAIN": "x", "MESHCA__LEAF__LIFETIM": "20s"})
    assert not isinstance(judged, Config)
    assert [str(problem) for problem in judged] == [
        "leaf.lifetim (MESHCA__LEAF__LIFETIM): there is no such field; did you mean leaf.lifetime?"
    ]


@pytest.mark.parametrize("override", ["", "leaf", "=x", "leaf..jitter=0", ".a=b", "Leaf.jitter=0", "leaf jitter=0"])
def test_an_override_without_path_and_value_is_refused_and_not_shown(override: str) -> None:
    path, problem = only(override)
    assert (path, problem.place) == ("", "a --set")
    assert "path=value" in problem.remedy


def test_what_stands_where_the_path_should_be_is_never_shown() -> None:
    with pytest.raises(Misconfigured) as caught:
        load(None, environ={}, overrides=["store.url:postgresql://u:hunter2@db"])
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "path", "remedy"),
    [
        ("clusters.2.name=x", "clusters", "the next one is 1"),
        ("clusters.name=x", "clusters", "write a list"),
        ("leaf.0=x", "leaf", "its fields below it"),
        ("workers.0=x", "workers", "whole number"),
        ("trust_domain.name=x", "trust_domain", "no field"),
        ("leaf.lifetime=[1h", "leaf.lifetime", "a unit"),
        ("leaf.lifetime=[1h, ]]", "leaf.lifetime", "brackets"),
        ("audiences.istio={a}", "audiences.istio", "list"),
    ],
)
def test_an_override_that_does_not_fit_is_refused(override: str, path: str, remedy: str) -> None:
    found, problem = only(override)
    assert found == path
    assert remedy in problem.remedy


def test_a_later_override_must_fit_what_an_earlier_one_set() -> None:
    for first, then, remedy in [
        ("clusters=[{name: a}]", "clusters.name=b", "numbered"),
        ("leaf={jitter: 1%}", "leaf.0=x", "no list"),
        ("workers=1", "workers.0=1", "no field"),
    ]:
        assert remedy in only(first, then)[1].remedy


def test_a_problem_is_placed_at_what_set_the_value(file: Path) -> None:
    judged = examine(file, environ={"MESHCA__LEAF": "{jitter: 90%}"}, overrides=["workers=2"])
    assert not isinstance(judged, Config)
    assert {".".join(map(str, each.path)): each.place for each in judged} == {
        "leaf.jitter": "MESHCA__LEAF",
        "workers": "--set workers",
    }


def test_a_value_that_is_no_text_is_refused() -> None:
    path, problem = only("root.fingerprints=\udcff")
    assert path == "root.fingerprints"
    assert "text" in problem.remedy
