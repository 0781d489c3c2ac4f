"""The pages, and what stands in them: blocks of commands, tables, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of commands: those to be run, and why they are not run if they are not."""

    line: int
    commands: str
    reason: str


def pages() -> list[Path]:
    """Everything that people read."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]


def blocks(text: str) -> Iterator[Block]:
    """The blocks that hold commands: those of shell, and others whose lines begin with ``$ ``."""
    for found in _FENCE.finditer(text):
        body = found["text"]
        if found["kind"] not in {"sh", "shell", "bash"}:
            typed = [line.removeprefix("$ ") for line in body.splitlines() if line.startswith("$ ")]
            if not typed:
                continue
            body = "\n".join(typed) + "\n"
        line = text.count("\n", 0, found.start()) + 1
        yield Block(line, body, found["reason"] or "")


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table below this heading, without its head."""
    below = f"\n{text}".partition(f"\n{heading}\n")[2]
    table = re.search(r"^\|.*\|\n\|[-|]+\|\n((?:\|.*\|\n)+)", below, re.M)
    assert table is not None, f"no table below {heading!r}"
    return [cells(line) for line in table[1].splitlines()]


def cells(line: str) -> list[str]:
    """A row's cells. A bar within a cell is written ``\\|``."""
    return [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip("|"))]


def words(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`\n]+)`", cell)
