"""Links lead somewhere, and what pages name in the code is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from meshca.cli.exits import ExitCode
from tests.docs.pages import DOCS, ROOT, pages, rows, words

_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
_LOG = {"debug", "info", "warning", "error", "critical", "log", "say"}


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings: lower case, punctuation away, spaces to dashes."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_page_or_a_heading_that_is_there(page: Path) -> None:
    broken = []
    for target in _LINK.findall(page.read_text()):
        path, _, anchor = target.partition("#")
        found = page if not path else (page.parent / path).resolve()
        if not found.exists() or not found.is_relative_to(ROOT) or (anchor and anchor not in anchors(found)):
            broken.append(target)

    assert broken == []


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text()
    linked = {(DOCS / target.partition("#")[0]).resolve() for target in _LINK.findall(index)}

    missing = {page.name for page in DOCS.glob("*.md")} - {page.name for page in linked} - {"README.md"}

    assert missing == set()


def test_every_decision_is_in_its_table() -> None:
    table = (DOCS / "adr" / "README.md").read_text()

    assert [page.name for page in (DOCS / "adr").glob("0*.md") if f"({page.name})" not in table] == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_holds_the_path_of_somebodys_machine(page: Path) -> None:
    assert re.findall(r"/(?:home|root|work|Users)/\S*", page.read_text()) == []


def names_in(module: Path) -> set[str]:
    """Functions, classes and methods, these as ``Class.method``."""
    found = set()
    for node in ast.parse(module.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            inner = (each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
            found |= {f"{node.name}.{each.name}" for each in inner}
    return found


def test_architecture_names_what_is_in_the_code() -> None:
    text = (DOCS / "architecture.md").read_text()
    named = re.findall(r"`(\w+/[\w/]+\.py)` ((?:`[\w.]+`(?:, )?)+)", text)
    assert len(named) > 15
    for path, names in named:
        assert set(words(names)) <= names_in(ROOT / "meshca" / path), path


def test_every_path_that_architecture_names_is_there() -> None:
    text = (DOCS / "architecture.md").read_text()
    paths = [word for word in words(text) if re.fullmatch(r"[\w/]+(\.py|/)|(meshca|tests|scripts)/\w+", word)]
    assert len(paths) > 25
    for path in paths:
        assert any((folder / path).exists() for folder in (ROOT, ROOT / "meshca", ROOT / "meshca" / "server")), path


def test_every_package_and_every_table_is_on_the_map() -> None:
    from meshca.store.schema import metadata

    text = (DOCS / "architecture.md").read_text()
    packages = {path.parent.name for path in (ROOT / "meshca").glob("*/__init__.py")}

    assert {name for name in packages if f"`meshca/{name}`" not in text} == set()
    assert {words(row[0])[0] for row in rows(text, "## The store's tables")} == set(metadata.tables)


def events() -> set[str]:
    """The first words of every line that meshca's server may log."""
    found = set()
    for path in (ROOT / "meshca" / "server").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args or _called(node) not in _LOG:
                continue
            if _called(node) == "say" and not isinstance(node.func, ast.Name):
                continue  # a message to the other process
            found |= {each.value for each in ast.walk(node.args[0]) if isinstance(each, ast.Constant)}
    return {str(event) for event in found}


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def test_every_line_of_the_log_is_on_the_operators_page() -> None:
    table = rows((DOCS / "operations.md").read_text(), "## Logs")
    written = {event for row in table for event in words(row[0])}

    # `library` is written by a format of logging's, not by a call.
    assert written - {"library"} == events()


def test_exit_codes_on_the_command_lines_page_are_those_of_the_code() -> None:
    table = rows((DOCS / "cli.md").read_text(), "## Exit codes")

    assert {int(row[0]): row[1] for row in table} == {int(code): code.meaning for code in ExitCode}
