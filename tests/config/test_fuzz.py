"""Whatever stands in a file or in the environment: it loads, or it is Misconfigured."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from meshca.config import Config, load, shown_effective, to_yaml
from meshca.config.fields import declared
from meshca.errors import Misconfigured

SECRET = "hunter2"

words = st.sampled_from(
    ["null", "~", "", "*", "a", "Kubernetes", "20s", "50%", "0", "-1", "[]", "{}", "tls", "jwks", "unix:/x",
     "127.0.0.1:1", "https://x", "sqlite:////x", "true", "\ud800", "\0", "9" * 5000, "1e999", "\u202e", "0x10"]
)  # fmt: skip
scalars = st.one_of(words, st.text(max_size=20), st.integers(), st.floats(), st.booleans(), st.none())
names = st.one_of(st.sampled_from(sorted({each.path[-1] for each in declared()})), st.text(max_size=10))
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=5)),
    max_leaves=20,
)
yaml_letters = st.text(alphabet="abk:-,[]{}#&*!|>'\"%@`?~ \n\t\\0uUx\x00\x85\ufeff<.", max_size=60)


@pytest.fixture(scope="module")
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "meshca.yaml"


def loads_or_says_why(path: Path, content: bytes, environ: dict[str, str] | None = None, overrides: Any = ()) -> str:
    """The message of a refusal; a configuration that loads is printed, and loads again as the same."""
    path.write_bytes(content)
    try:
        config = load(path, environ=environ or {}, overrides=overrides)
    except Misconfigured as error:
        return str(error)
    assert Config.model_validate_json(config.model_dump_json()) == config
    assert Config.model_validate(shown_effective(config)) == config
    path.write_text(to_yaml(config))
    assert load(path, environ={}) == config
    return ""


@settings(deadline=None)
@given(content=st.one_of(st.binary(max_size=80), yaml_letters.map(str.encode), st.text(max_size=80).map(str.encode)))
def test_any_bytes_load_or_are_misconfigured(path: Path, content: bytes) -> None:
    loads_or_says_why(path, content)
    loads_or_says_why(path, b"trust_domain: a\n" + content)


@settings(max_examples=150, deadline=None)
@given(tree=st.dictionaries(names, trees, max_size=6))
def test_any_tree_loads_or_is_misconfigured(path: Path, tree: dict[str, Any]) -> None:
    loads_or_says_why(path, yaml.safe_dump({"trust_domain": "a"} | tree).encode(errors="replace"))


paths = st.sampled_from([each.path for each in declared()])
"""Of all fields."""


@settings(max_examples=150, deadline=None)
@given(values=st.lists(st.tuples(paths, scalars.map(str)), max_size=4))
def test_any_value_of_any_field_loads_or_is_misconfigured(
    path: Path, values: list[tuple[tuple[str, ...], str]]
) -> None:
    environ = {"MESHCA__" + "__".join(way).upper(): value for way, value in values}
    loads_or_says_why(path, b"trust_domain: a\n", environ)
    loads_or_says_why(path, b"trust_domain: a\n", overrides=[f"{'.'.join(way)}={value}" for way, value in values])


@settings(deadline=None)
@given(
    environ=st.dictionaries(
        st.text(alphabet="MESHCA_LF0\udc80", max_size=12).map("MESHCA__".__add__), st.text(max_size=10), max_size=3
    ),
    overrides=st.lists(st.text(alphabet="leaf.0=clusters[]{}", max_size=16), max_size=3),
)
def test_any_environment_and_any_set_load_or_are_misconfigured(
    path: Path, environ: dict[str, str], overrides: list[str]
) -> None:
    loads_or_says_why(path, b"trust_domain: a\n", environ, overrides)


urls = st.builds(
    "{}{}{}{}{}".format,
    st.sampled_from(["postgresql://", "postgres:", "sqlite:///", "//", "", "https://", "sqlite:////", "x+y://"]),
    st.sampled_from(["", "u:", "u@", ":", "u:p@", "@", "u/", "?a="]),
    st.just(SECRET),
    st.sampled_from(["", "@db", "@", "@db/x?y", "/x", "@[::1", ":1", "#", "\0@h", "\n@h", "é@h"]),
    st.sampled_from(["", "/db", "?a=b", " ", "\t"]),
)
shapes = st.sampled_from(
    ["store: {{url: {0}}}", "store: {0}", "store: [{0}]", "store: {{url: [{0}]}}", "store: {{url: {{a: {0}}}}}",
     "store:\n  url: {0}\n  url: {0}", "store: {{urll: {0}}}", "url: {0}", "store: {{url: !!python/name {0}}}",
     "store: {{url: &x {0}}}", "store: {{url: {0}", "store: {{url: {0}: {0}}}", "store_url: {0}"]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(url=urls, shape=shapes, quoted=st.booleans())
def test_a_password_in_the_url_of_the_store_is_never_in_a_message(
    path: Path, url: str, shape: str, quoted: bool
) -> None:
    written = yaml.safe_dump(url, default_style='"').strip().removesuffix("...") if quoted else url
    message = loads_or_says_why(path, f"trust_domain: a\n{shape.format(written)}\n".encode())
    if url.startswith("sqlite:") and "@" not in url and "?" not in url:
        return  # the path of a file
    assert SECRET not in message


@settings(deadline=None)
@given(url=urls)
def test_a_password_in_the_environment_and_in_set_is_never_in_a_message(path: Path, url: str) -> None:
    if url.startswith("sqlite:") and "@" not in url and "?" not in url:
        return
    for name in ("MESHCA__STORE__URL", "MESHCA__STORE", "MESHCA__STOR__URL"):
        assert SECRET not in loads_or_says_why(path, b"trust_domain: a\n", {name: url})
    for override in (f"store.url={url}", f"store={url}", f"store.url {url}", f"stor.url={url}"):
        assert SECRET not in loads_or_says_why(path, b"trust_domain: a\n", overrides=[override])
