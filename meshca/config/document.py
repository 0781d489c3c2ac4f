"""YAML text to a tree of texts, with the place of each.

A scalar stays the text that was written, and its field says what it means: no ``no`` becomes a
boolean, no ``12:30`` a number. What a configuration has no need of is refused: anchors and aliases
(a few of them expand to gigabytes), tags, duplicate keys, other keys than texts, deep nesting.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import yaml
from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from meshca.config.problems import Path, Problem

Tree = dict[str, "Tree"] | list["Tree"] | str | None
"""What is written, before it means anything."""

MAX_TEXT = 256 * 1024
"""Characters of a configuration; a large one has a few thousand."""

_MAX_DEPTH = 32
_QUOTED = re.compile(r"'(?!<)[^']{4,}'|\"[^\"]{4,}\"")
_NULL = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(slots=True)
class Document:
    """A tree with the places of its parts, and with what is wrong with its text."""

    tree: dict[str, Tree] = field(default_factory=dict)
    places: dict[Path, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place_of(self, path: Path) -> str:
        """Where the part stands, or the nearest part above it that stands somewhere."""
        above = (path[:length] for length in range(len(path), 0, -1))
        return next((self.places[each] for each in above if each in self.places), "")


class _NotTaken(yaml.YAMLError):
    """YAML that a configuration has no need of."""

    def __init__(self, said: str, event: yaml.Event) -> None:
        super().__init__(said)
        self.line = event.start_mark.line + 1 if event.start_mark else 1


class _Composer(Reader, Scanner, Parser, Composer, BaseResolver):
    """PyYAML as far as nodes. Nothing here makes objects, so nothing can be made to make a dangerous one."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) is not None:  # of an alias, too
            raise _NotTaken("anchors and aliases are not taken", event)
        if self._depth == _MAX_DEPTH:
            raise _NotTaken(f"nested deeper than {_MAX_DEPTH}", event)
        self._depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


def read(text: str, place: str = "") -> Document:
    """The document in a YAML text. Places are ``place``, or the lines when it is empty.

    What is no YAML at all is one problem, with its line; the file is then not looked at further.
    """
    document = Document()
    if len(text) > MAX_TEXT:
        document.problems.append(Problem((), f"it has more than {MAX_TEXT} characters: shorten it", place=place))
        return document
    try:
        node = _Composer(text).get_single_node()
    except yaml.YAMLError as error:
        document.problems.append(_syntax(error, text, place))
        return document
    except (ValueError, OverflowError):
        # PyYAML lets these through from escapes and directives with impossible numbers.
        document.problems.append(Problem((), "this is not YAML: a number in an escape is impossible", place=place))
        return document
    if node is None or _is_null(node):
        return document
    tree = _Conversion(document, place).tree(node, ())
    if isinstance(tree, dict):
        document.tree = tree
    else:
        document.problems.append(
            Problem((), "write fields at the top, such as trust_domain: cluster.local", place=place)
        )
    return document


def read_value(text: str) -> Tree:
    """A value of the environment or of ``--set``: literally the text, so that nothing in it needs quotes.

    What is in brackets or braces is YAML, and nothing at all, or ``null``, takes the field back to its
    default. Raises ValueError.
    """
    if text in _NULL:
        return None
    if (text[0], text[-1]) not in {("[", "]"), ("{", "}")}:
        return text
    inside = read(f"value: {text}")
    if inside.problems or list(inside.tree) != ["value"]:
        raise ValueError("what is in brackets must be YAML, such as [a, b] or {name: value}")
    return inside.tree["value"]


def encodable(text: str) -> bool:
    """Whether the text has a UTF-8 form."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


@dataclass(slots=True)
class _Conversion:
    """Nodes to a tree; problems and places go to the document."""

    document: Document
    place: str

    def tree(self, node: yaml.Node, path: Path) -> Tree:
        if path:
            self.document.places[path] = self._place(node)
        if isinstance(node, yaml.MappingNode) and node.tag == BaseResolver.DEFAULT_MAPPING_TAG:
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == BaseResolver.DEFAULT_SEQUENCE_TAG:
            return [self.tree(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag == BaseResolver.DEFAULT_SCALAR_TAG:
            return None if _is_null(node) else self._text(node, path)
        self._refuse(node, path, "tags (words with !) are not taken: write the value alone")
        return None

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Tree]:
        fields: dict[str, Tree] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != BaseResolver.DEFAULT_SCALAR_TAG:
                self._refuse(key, path, "the names of fields are plain texts")
                continue
            name = self._text(key, path)
            if name in fields:
                self._refuse(key, (*path, name), "it stands here a second time: keep one")
                continue
            fields[name] = self.tree(value, (*path, name))
            self.document.places[*path, name] = self._place(key)
        return fields

    def _text(self, node: yaml.ScalarNode, path: Path) -> str:
        """What the scalar says. A surrogate, which only an escape can bring here, would fail wherever it is encoded."""
        text: str = node.value
        if not encodable(text):
            self._refuse(node, path, "it holds half a character (a lone surrogate): write text")
        return text.encode(errors="replace").decode()

    def _refuse(self, node: yaml.Node, path: Path, remedy: str) -> None:
        self.document.problems.append(Problem(path, remedy, place=self._place(node)))

    def _place(self, node: yaml.Node) -> str:
        return self.place or f"line {node.start_mark.line + 1}"


def _is_null(node: yaml.Node) -> bool:
    """``key:``, ``~`` and ``null``; in quotes they are texts."""
    return (
        isinstance(node, yaml.ScalarNode)
        and node.style is None
        and node.value in _NULL
        and not node.tag.startswith("!")
    )


def _syntax(error: yaml.YAMLError, text: str, place: str) -> Problem:
    """What PyYAML says, without the words of the file that it quotes: they may be a secret in the wrong place."""
    if isinstance(error, _NotTaken):
        said, line = str(error), error.line
    elif isinstance(error, yaml.MarkedYAMLError):
        said = " ".join(part for part in (error.context, error.problem) if part)
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
    else:
        said = "it holds a character that YAML does not allow"
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
    said = _QUOTED.sub("something", said)
    return Problem((), f"this is not the YAML that is taken here: {said}", place=place or f"line {line}")
