"""Settings from the environment and from ``--set``, laid over the tree of the file.

``MESHCA__LEAF__LIFETIME=20s`` and ``--set leaf.lifetime=20s`` say the same; items of lists go by
their index. Two underscores, since Kubernetes puts ``MESHCA_PORT`` and the like into every pod's
environment (DESIGN §10). A field of a list's item may be set on top of a default list: that is
then written out first.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meshca.config.document import MAX_TEXT, Document, Tree, encodable, read_value
from meshca.config.masking import seen
from meshca.config.problems import Path, Problem
from meshca.errors import shown

PREFIX = "MESHCA__"

_NAME = re.compile(rf"{PREFIX}([A-Z0-9]+(?:_[A-Z0-9]+)*(?:__[A-Z0-9]+(?:_[A-Z0-9]+)*)*)")
_SET = re.compile(r"([a-z0-9_]+(?:\.[a-z0-9_]+)*)=(.*)", re.DOTALL)
_INDEX = re.compile(r"[0-9]{1,4}")


@dataclass(frozen=True, slots=True)
class Setting:
    """A value for one path, and who says so."""

    path: Path
    text: str
    place: str


def from_environment(environ: Mapping[str, str], problems: list[Problem]) -> list[Setting]:
    """Everything whose name begins with PREFIX, in the order of the paths. Other names configure nothing."""
    settings = []
    for name, text in environ.items():
        if not name.startswith(PREFIX):
            continue
        match = _NAME.fullmatch(name)
        if match is None:
            remedy = f"it names no field: write {PREFIX}LEAF__LIFETIME and the like, in capitals"
            problems.append(Problem((), remedy, place=f"environment variable {shown(name)}"))
            continue
        settings.append(Setting(_path(match[1].lower().split("__")), text, name))
    # A section or list is set before what is inside it, and item 2 before item 10.
    return sorted(settings, key=lambda setting: [(isinstance(part, str), part) for part in setting.path])


def from_command_line(overrides: Sequence[str], problems: list[Problem]) -> list[Setting]:
    """``path=value`` each, in the order in which they were given: the last one counts."""
    settings = []
    for override in overrides:
        match = _SET.fullmatch(override)
        if match is None:
            # It is not shown: where the = is missing, what stands there may be anything.
            problems.append(Problem((), "write path=value, such as leaf.lifetime=20s", place="a --set"))
            continue
        settings.append(Setting(_path(match[1].split(".")), match[2], f"--set {shown(match[1])[1:-1]}"))
    return settings


def lay_over(document: Document, settings: Sequence[Setting], defaults: Tree) -> None:
    """Change the document's tree. ``defaults`` is the tree of a configuration in which nothing is set."""
    for setting in settings:
        problem = _checked(setting) or _set(document, setting, defaults)
        if problem is not None:
            document.problems.append(problem)


def _path(parts: list[str]) -> Path:
    return tuple(int(part) if _INDEX.fullmatch(part) else part for part in parts)


def _checked(setting: Setting) -> Problem | None:
    if len(setting.text) > MAX_TEXT or not encodable(setting.text):
        return Problem(setting.path, "its value is not text, or too long", place=setting.place)
    return None


def _set(document: Document, setting: Setting, defaults: Tree) -> Problem | None:
    try:
        value = read_value(setting.text)
    except ValueError as error:
        return Problem(setting.path, str(error), seen(setting.path, setting.text), setting.place)
    holder: Tree = document.tree
    for depth, part in enumerate(setting.path):
        above = setting.path[:depth]
        last = depth == len(setting.path) - 1
        inside = value if last else _start(setting.path[: depth + 2], defaults)
        if isinstance(holder, dict) and isinstance(part, str):
            if last or holder.get(part) is None:
                holder[part] = inside
                document.places[setting.path[: depth + 1]] = setting.place
            holder = holder[part]
        elif isinstance(holder, list) and isinstance(part, int) and part <= len(holder):
            if part == len(holder):
                holder.append(inside)
            elif last or holder[part] is None:
                holder[part] = inside
            document.places.setdefault(setting.path[: depth + 1], setting.place)
            holder = holder[part]
        else:
            return Problem(above, _misfit(holder, part), seen(above, holder), setting.place)
    for stale in [path for path in document.places if path[: len(setting.path)] == setting.path]:
        del document.places[stale]
    document.places[setting.path] = setting.place
    return None


def _misfit(holder: Tree, part: str | int) -> str:
    if isinstance(holder, list):
        return f"its items are numbered, and the next one is {len(holder)}"
    if isinstance(holder, dict):
        return f"it is no list, so it has no item {part}"
    return f"it has no field {shown(part)} inside"


def _start(path: Path, defaults: Tree) -> Tree:
    """What an unset field holds before the last part of the path is set in it: a list begins as its default."""
    if not isinstance(path[-1], int):
        return {}
    at = defaults
    for part in path[:-1]:
        if isinstance(at, dict) and isinstance(part, str):
            at = at.get(part)
        elif isinstance(at, list) and isinstance(part, int) and part < len(at):
            at = at[part]
        else:
            return []
    return copy.deepcopy(at) if isinstance(at, list) else []
