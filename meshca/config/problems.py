"""What is wrong with a configuration: every problem with its path, what was seen, and the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshca.config.fields import known_names, nearest
from meshca.config.masking import seen
from meshca.errors import shown

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Path = tuple[str | int, ...]
"""The way to a field: names, and indices into lists."""


_REPORTED = 100


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that an operator must change."""

    path: Path
    remedy: str
    """What to do."""
    seen: str = ""
    """The value that was found, as a message may hold it; empty where it says nothing."""
    place: str = ""
    """Where it was found: a line of the file, a variable of the environment, or ``--set``."""

    def __str__(self) -> str:
        where = f"{written(self.path)} ({self.place})" if self.place else written(self.path)
        return f"{where} is {self.seen}: {self.remedy}" if self.seen else f"{where}: {self.remedy}"


def written(path: Path) -> str:
    """``clusters.0.name``, as ``--set`` takes it. An undeclared name may hold anything: it comes out escaped."""
    return ".".join(_plain(str(part)) for part in path) or "the configuration"


def _plain(name: str) -> str:
    return name if name.isascii() and name.replace("_", "").isalnum() and len(name) < 64 else shown(name, limit=64)


def report(problems: Sequence[Problem], source: str) -> str:
    """The text of a Misconfigured: one problem a line. Of a file that is no configuration at all, the first ones."""
    count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
    if len(problems) > _REPORTED:
        count += f", of which the first {_REPORTED} are"
    return "\n  ".join([f"{source} has {count}:", *map(str, problems[:_REPORTED])])


def from_validation(errors: Iterable[ErrorDetails]) -> list[Problem]:
    """What the models refused, in our words. What was refused only because something inside it was, is left out."""
    own = [error for error in errors if error["type"] != "default_factory_not_called"]
    paths = [error["loc"] for error in own]
    return [
        _from_validation(error)
        for error in own
        if error["type"] != "too_short" or not any(_inside(path, error["loc"]) for path in paths)
    ]


def _inside(path: Path, holder: Path) -> bool:
    return len(path) > len(holder) and path[: len(holder)] == holder


def _from_validation(error: ErrorDetails) -> Problem:
    path = error["loc"]
    kind = error["type"]
    if kind == "missing":
        return Problem(path, "it has no default and is not set: set it")
    if kind == "extra_forbidden":
        return Problem(path, _unknown(path))
    return Problem(path, _remedy(kind, error), seen(path, error["input"]))


def _remedy(kind: str, error: ErrorDetails) -> str:
    context: dict[str, Any] = error.get("ctx", {})
    match kind:
        case "value_error":
            return str(context["error"])
        case "literal_error":
            return f"write {context['expected'].replace(chr(39), '')}"
        case "int_parsing" | "int_type" | "int_from_float" | "int_parsing_size":
            return "write a whole number"
        case "greater_than_equal":
            return f"write {context['ge']} or more"
        case "less_than_equal":
            return f"write {context['le']} or less"
        case "model_type":
            return f"write its fields below it ({', '.join(known_names(error['loc']))})"
        case "tuple_type":
            return "write a list, such as [a, b]"
        case "string_type" | "string_unicode":
            return "write a text"
        case "too_short" | "string_too_short":
            return "it must not be empty"
        case "string_too_long":
            return f"write at most {context['max_length']} characters"
    return error["msg"]


def _unknown(path: Path) -> str:
    near = nearest(path)
    if near:
        return f"there is no such field; did you mean {' or '.join(near)}?"
    names = known_names(path[:-1])
    return f"there is no such field; there are {', '.join(names)}" if names else "there is no such field"
