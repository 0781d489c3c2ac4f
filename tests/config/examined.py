"""A configuration as a test writes it, judged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from meshca.config import Config, Problem, examine


def accepted(*overrides: str) -> Config:
    """The configuration that has nothing set but the trust domain and these."""
    judged = examine(None, environ={}, overrides=["trust_domain=cluster.local", *overrides])
    assert isinstance(judged, Config), "\n".join(map(str, judged))
    return judged


def refused(*overrides: str) -> list[Problem]:
    """What is wrong with it; it must not be accepted."""
    judged = examine(None, environ={}, overrides=["trust_domain=cluster.local", *overrides])
    assert not isinstance(judged, Config), "it was accepted"
    return list(judged)


def only(*overrides: str) -> tuple[str, Problem]:
    """The path and the problem of a configuration that has exactly one."""
    problems = refused(*overrides)
    assert len(problems) == 1, "\n".join(map(str, problems))
    return ".".join(map(str, problems[0].path)), problems[0]


def judged_file(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Config | list[Problem]:
    """The same from a file."""
    path = folder / "meshca.yaml"
    path.write_text(text)
    judged = examine(path, environ=environ or {})
    return judged if isinstance(judged, Config) else list(judged)


def problems_of(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> dict[str, Problem]:
    """By their paths, of which no two may be the same."""
    judged = judged_file(folder, text, environ)
    assert not isinstance(judged, Config), "it was accepted"
    paths = {".".join(map(str, problem.path)): problem for problem in judged}
    assert len(paths) == len(judged), "\n".join(map(str, judged))
    return paths
