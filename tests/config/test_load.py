from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest

from meshca.config import Config, load, to_yaml
from meshca.errors import Misconfigured
from tests.config.examined import accepted, judged_file, problems_of


def refusal(path: Path | None, **more: str) -> str:
    with pytest.raises(Misconfigured) as caught:
        load(path, environ=more)
    return str(caught.value)


def test_a_trust_domain_is_all_that_is_needed(tmp_path: Path) -> None:
    config = judged_file(tmp_path, "trust_domain: cluster.local\n")
    assert isinstance(config, Config)
    assert config == accepted() == Config(trust_domain="cluster.local")
    assert (config.leaf.lifetime, config.issuer.lifetime) == (timedelta(hours=24), timedelta(days=30))


@pytest.mark.parametrize("text", ["", "trust_domain:\n", "trust_domain: null\n", "leaf:\n  lifetime: 1h\n"])
def test_a_missing_trust_domain_is_refused(tmp_path: Path, text: str) -> None:
    problems = problems_of(tmp_path, text)
    assert list(problems) == ["trust_domain"]
    assert problems["trust_domain"].remedy == "it has no default and is not set: set it"


def test_sections_with_nothing_in_them_have_their_defaults(tmp_path: Path) -> None:
    text = "trust_domain: cluster.local\nleaf:\nissuer: {keys: , lifetime: ~}\nclusters:\nlisteners: null\n"
    assert judged_file(tmp_path, text) == accepted()


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = """\
trust_domain: Cluster.Local
leaf:
  lifetme: 20s
  jitter: 60%
issuer: {lifetime: 30, rotate_at: 50%}
clusters:
  - {name: Kubernetes, validate: auto}
  - {name: west, validate: jwks}
policy:
  - {allow: {cluster: wets}, deny: {}}
listeners:
  - {name: istio, address: "0.0.0.0:15012", kind: relay, services: [istio]}
  - {name: linkerd, address: "0.0.0.0:8080", kind: plaintext, services: [linkerd]}
workers: 2
log: {level: info}
csr: {blocked_keys: x, blocked_keys: y}
"""
    problems = problems_of(tmp_path, text, {"MESHCA__LOG__LEVEL": "loud"})
    assert {path: problem.place for path, problem in problems.items()} == {
        "trust_domain": "line 1",
        "leaf.lifetme": "line 3",
        "leaf.jitter": "line 4",
        "issuer.lifetime": "line 5",
        "clusters.0.validate": "line 7",
        "clusters.1.jwks": "line 8",
        "policy.0": "line 10",
        "listeners.0.kind": "line 12",
        "listeners.1.address": "line 13",
        "workers": "line 14",
        "csr.blocked_keys": "line 16",
        "log.level": "MESHCA__LOG__LEVEL",
    }


def test_a_problem_of_a_refused_section_does_not_bring_others(tmp_path: Path) -> None:
    assert list(problems_of(tmp_path, "trust_domain: a\nleaf: {lifetime: soon, max_lifetime: 1h}\n")) == [
        "leaf.lifetime"
    ]
    text = "trust_domain: a\nissuer: {lifetime: soon}\nleaf: {lifetime: 20d}\n"
    assert list(problems_of(tmp_path, text)) == ["issuer.lifetime"]
    text = "trust_domain: a\nclusters: [{name: west, validate: auto}]\npolicy: [{allow: {cluster: west}}]\n"
    assert list(problems_of(tmp_path, text)) == ["clusters.0.validate"]


def test_an_unknown_name_does_not_hide_contradictions_of_its_section(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, "trust_domain: a\nleaf: {lifetme: 1h, min_lifetime: 25h}\n")
    assert list(problems) == ["leaf.lifetme", "leaf.min_lifetime"]


@pytest.mark.parametrize(
    ("text", "path", "remedy"),
    [
        ("leaf: {lifetme: 1h}", "leaf.lifetme", "did you mean leaf.lifetime?"),
        ("workrs: null", "workrs", "did you mean workers?"),
        ("lifetime: 1h", "lifetime", "did you mean issuer.lifetime or leaf.lifetime?"),
        ("listner: []", "listner", "did you mean listeners?"),
        ("clusters: [{name: a, validation: jwks}]", "clusters.0.validation", "did you mean clusters.0.validate?"),
        ("issuer: {keys: {kek: {path: /x}}}", "issuer.keys.kek.path", "there are file"),
        ("ledger: {zzz: 1}", "ledger.zzz", "there are keep"),
    ],
)
def test_an_unknown_name_is_refused_with_the_one_that_was_meant(
    tmp_path: Path, text: str, path: str, remedy: str
) -> None:
    problems = problems_of(tmp_path, f"trust_domain: a\n{text}\n")
    assert list(problems) == [path]
    assert problems[path].remedy == f"there is no such field; {remedy}"
    assert problems[path].seen == ""


def test_the_message_has_a_line_for_each_problem_with_path_value_and_remedy(tmp_path: Path) -> None:
    path = tmp_path / "meshca.yaml"
    path.write_text("trust_domain: a\nleaf: {lifetime: 20}\nworkers: 2\n")
    assert refusal(path).splitlines() == [
        f"the configuration '{path}' has 2 problems:",
        "  leaf.lifetime (line 2) is '20': write whole numbers with a unit of d, h, m, s or ms, "
        "such as 30d, 24h, 1h30m or 500ms",
        "  workers (line 3) is 2: with SQLite there is one worker: write 1. More need PostgreSQL, which follows in a "
        "later version",
    ]


def test_names_and_values_cannot_forge_a_line(tmp_path: Path) -> None:
    path = tmp_path / "meshca.yaml"
    path.write_text('trust_domain: a\n"x\\ny\\e[1m": 1\nlog: {level: "a\\nb\\u202e"}\n')
    message = refusal(path)
    assert len(message.splitlines()) == 3
    assert message.isascii()
    assert message.replace("\n", "").isprintable()


def test_a_file_that_is_something_else_is_refused_in_a_moment(tmp_path: Path) -> None:
    path = tmp_path / "meshca.yaml"
    path.write_text("trust_domain: a\n" + "".join(f"name{number}: {number}\n" for number in range(5000)))
    began = time.monotonic()
    message = refusal(path)
    assert time.monotonic() - began < 20
    assert "5000 problems, of which the first 100 are" in message
    assert len(message.splitlines()) == 101


def test_a_missing_file_is_told_clearly(tmp_path: Path) -> None:
    message = refusal(tmp_path / "none.yaml")
    assert f"there is no configuration at '{tmp_path}/none.yaml'" in message
    assert "--config" in message


def test_a_folder_and_a_name_that_is_none_are_told_clearly(tmp_path: Path) -> None:
    assert "cannot be read: Is a directory" in refusal(tmp_path)
    assert "cannot be read" in refusal(Path("a\0b"))


def test_a_file_that_is_no_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "meshca.yaml"
    path.write_bytes(b"trust_domain: a\n# \xff\n")
    assert "not UTF-8 in line 2" in refusal(path)


def test_a_mark_of_utf8_at_the_beginning_is_taken(tmp_path: Path) -> None:
    assert judged_file(tmp_path, "\ufefftrust_domain: cluster.local\n") == accepted()


def test_a_file_without_end_is_refused() -> None:
    assert "more than" in refusal(Path("/dev/zero"))


def test_a_file_that_is_cut_within_a_character_is_too_long_and_not_broken(tmp_path: Path) -> None:
    path = tmp_path / "meshca.yaml"
    path.write_text("##" + "\N{MUSICAL SYMBOL G CLEF}" * 300_000)
    assert "more than" in refusal(path)


def test_a_file_that_is_no_yaml_is_one_problem_and_nothing_is_said_to_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "meshca.yaml"
    path.write_text("trust_domain: a\nleaf: [\n")
    message = refusal(path, MESHCA__X__Y__="1")
    assert len(message.splitlines()) == 3
    assert "not the YAML" in message
    assert "MESHCA__X__Y__" in message


def test_a_configuration_cannot_be_changed() -> None:
    config = accepted()
    with pytest.raises(ValueError, match="frozen"):
        config.workers = 2
    with pytest.raises(ValueError, match="frozen"):
        config.leaf.jitter = 0.1


def test_what_is_printed_loads_as_the_same(tmp_path: Path) -> None:
    config = accepted(
        *("leaf.lifetime=20s", "leaf.jitter=33.3%", "issuer.lifetime=1h", "rotation.propagation=1500ms"),
        *("clusters.1.name=west", "clusters.1.validate=jwks", "clusters.1.jwks.file=/keys", "root.certificate=null"),
        *("policy=[{deny: {namespace: 'a*'}}, {allow: {}, max_lifetime: 20s}]", "csr.blocked_keys=null"),
    )
    assert judged_file(tmp_path, to_yaml(config)) == config
