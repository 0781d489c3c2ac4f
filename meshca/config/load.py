"""From a file, the environment and ``--set`` to a configuration that was judged whole.

The order in which settings count: a default, the file, the environment, ``--set``. Either everything
is good, or every problem is told at once.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from meshca.config import document as documents
from meshca.config import overrides as settings
from meshca.config import rules
from meshca.config.document import Document
from meshca.config.model import Config
from meshca.config.problems import Problem, from_validation, report
from meshca.errors import Misconfigured, shown

_MAX_BYTES = 4 * documents.MAX_TEXT
"""UTF-8 takes at most four bytes for a character."""


def load(path: Path | None, *, environ: Mapping[str, str], overrides: Sequence[str] = ()) -> Config:
    """The configuration in the file (none is an empty one), under what the environment and ``--set`` say.

    Raises Misconfigured with everything that is wrong: each with its path, where it stands, what was
    seen (never a password), and the remedy.
    """
    judged = examine(path, environ=environ, overrides=overrides)
    if isinstance(judged, Config):
        return judged
    raise Misconfigured(report(judged, f"the configuration {shown(path)}" if path else "the configuration"))


def examine(
    path: Path | None, *, environ: Mapping[str, str], overrides: Sequence[str] = ()
) -> Config | tuple[Problem, ...]:
    """The same, with the problems as values: ``meshca check config`` prints them as it is asked to.

    Raises Misconfigured when there is no file to read.
    """
    document = documents.read(_text(path)) if path else Document()
    unreadable = any(problem.path == () for problem in document.problems)
    laid = settings.from_environment(environ, document.problems)
    laid += settings.from_command_line(overrides, document.problems)
    if laid:
        settings.lay_over(document, laid, Config(trust_domain="unset").model_dump(mode="json"))
    # Where nothing could be read, everything would be said to be missing.
    config, found = (None, []) if unreadable else _validated(document)
    if config is not None and not document.problems:
        return config
    return tuple(_placed(problem, document) for problem in (*document.problems, *found))


def _text(path: Path) -> str:
    """What the file says. Raises Misconfigured."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise Misconfigured(
            f"there is no configuration at {shown(path)}: write one (it needs no more than trust_domain), "
            "or name another with --config"
        ) from None
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else "this is not a path"
        raise Misconfigured(f"the configuration {shown(path)} cannot be read: {said}") from None
    if len(content) > _MAX_BYTES:
        raise Misconfigured(f"the configuration {shown(path)} has more than {_MAX_BYTES} bytes: shorten it")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Misconfigured(f"the configuration {shown(path)} is not UTF-8 in line {line}: save it as UTF-8") from None


class _Judged(NamedTuple):
    config: Config | None
    problems: list[Problem]


def _validated(document: Document) -> _Judged:
    """The configuration, or what the models and the rules refuse. The rules are asked about what is left when the
    refused parts are gone, so that the first mistake does not hide the others."""
    try:
        config = Config.model_validate(document.tree)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        rest = _Rest(document.tree)
        for each in errors:
            rest.leave_out(each["loc"], undeclared=each["type"] == "extra_forbidden")
        return _Judged(None, [*from_validation(errors), *rest.judge()])
    problems = list(rules.judge(config))
    return _Judged(None if problems else config, problems)


class _Rest:
    """A tree without the parts that were refused.

    A name that nobody declared is left out alone, an item of a list with the item, anything else with
    its section, which then has its defaults and counts as broken.
    """

    def __init__(self, tree: dict[str, Any]) -> None:
        self._tree: dict[str, Any] = copy.deepcopy(tree)
        self._items: dict[str, list[int]] = {
            name: list(range(len(items))) for name, items in tree.items() if isinstance(items, list)
        }
        self._broken: set[str] = set()

    def leave_out(self, path: tuple[str | int, ...], *, undeclared: bool) -> None:
        section = str(path[0])
        if undeclared:
            holder: Any = self._tree
            for part in path[:-1]:
                holder = holder[part]
            holder.pop(path[-1], None)
        elif len(path) > 1 and isinstance(path[1], int):
            self._items[section] = [index for index in self._items[section] if index != path[1]]
        else:
            self._broken.add(section)

    def judge(self) -> list[Problem]:
        """What the rules say about the rest; nothing when even that is not valid."""
        partial = set()
        for name, kept in self._items.items():
            items = self._tree.get(name)
            if isinstance(items, list) and len(kept) < len(items):
                self._tree[name] = [items[index] for index in kept]
                partial.add(name)
        for name in self._broken:
            self._tree.pop(name, None)
        self._tree.setdefault("trust_domain", "unset")
        try:
            config = Config.model_validate(self._tree)
        except ValidationError:
            return []
        found = rules.judge(config, broken=frozenset(self._broken), partial=frozenset(partial))
        return [self._as_written(problem) for problem in found]

    def _as_written(self, problem: Problem) -> Problem:
        """With the index that an item has where it is written."""
        section, *inside = problem.path
        if section in self._items and inside and isinstance(inside[0], int):
            inside[0] = self._items[str(section)][inside[0]]
        return replace(problem, path=(section, *inside))


def _placed(problem: Problem, document: Document) -> Problem:
    return problem if problem.place else replace(problem, place=document.place_of(problem.path))
