"""The tree of fields that the models declare: for suggestions and for the reference page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, get_args, get_type_hints

from meshca.config.model import Config
from meshca.config.section import Section


@dataclass(frozen=True)
class Declared:
    """One field as it is declared."""

    owner: type[Section]
    attribute: str
    path: tuple[str, ...]
    """With ``0`` after the name of a list whose items are sections."""
    hint: Any
    """The type as it is written, with what is annotated."""

    @cached_property
    def section(self) -> type[Section] | None:
        """The section that it holds, itself or as the items of a list."""
        return next(_sections(self.hint), None)

    @cached_property
    def is_list(self) -> bool:
        return any(getattr(part, "__origin__", None) is tuple for part in _parts(self.hint))


def declared(owner: type[Section] = Config, above: tuple[str, ...] = ()) -> Iterator[Declared]:
    """All fields below a section in the order of their declaration, each followed by those inside it."""
    hints = get_type_hints(owner, include_extras=True)
    for attribute, field in owner.model_fields.items():
        one = Declared(owner, attribute, (*above, field.alias or attribute), hints[attribute])
        yield one
        if one.section is not None:
            yield from declared(one.section, (*one.path, "0") if one.is_list else one.path)


def known_names(path: Sequence[str | int]) -> list[str]:
    """The names of the fields of the section at a path; empty where there is none."""
    form = tuple("0" if isinstance(part, int) else part for part in path)
    return [name for *above, name in _paths() if tuple(above) == form]


def nearest(path: Sequence[str | int]) -> list[str]:
    """The declared fields that somebody may have meant: a sibling of a like name, else those of this name elsewhere."""
    # Needed only when something is wrong, and not free to import.
    from difflib import get_close_matches

    *above, name = (str(part) for part in path)
    close = get_close_matches(name, known_names(path[:-1]), n=1)
    if close:
        return [".".join((*above, close[0]))]
    return [".".join(path) for path in _paths() if path[-1] == name]


@cache
def _paths() -> tuple[tuple[str, ...], ...]:
    """Walking all models takes milliseconds, and a file may be full of unknown names."""
    return tuple(each.path for each in declared())


def _parts(hint: Any) -> Iterator[Any]:
    yield hint
    for part in get_args(hint):
        yield from _parts(part)


def _sections(hint: Any) -> Iterator[type[Section]]:
    for part in _parts(hint):
        if isinstance(part, type) and issubclass(part, Section):
            yield part
