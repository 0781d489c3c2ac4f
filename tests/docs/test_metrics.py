"""``docs/metrics.md`` names every metric, and nothing else."""

from __future__ import annotations

import re

from meshca.server.metrics import Metrics
from tests.docs.pages import DOCS, rows, words

PAGE = (DOCS / "metrics.md").read_text()


def written() -> dict[str, tuple[str, tuple[str, ...]]]:
    """The page's table: of each name its type and labels."""
    table = rows(PAGE, "# Metrics")
    return {words(name)[0]: (kind, tuple(words(labels))) for name, kind, labels, _ in table}


def test_the_table_is_that_of_the_code() -> None:
    counted = {each.name: (type(each).__name__.lower(), each.labels) for each in Metrics().families()}

    assert written() == counted


def test_every_metric_says_what_it_means() -> None:
    assert [row[0] for row in rows(PAGE, "# Metrics") if len(row[3].split()) < 3] == []


def test_alarms_use_names_and_labels_that_there_are() -> None:
    known = written()
    expressions = [words(row[1])[0] for row in rows(PAGE, "## When to raise an alarm")]
    assert len(expressions) > 10
    for expression in expressions:
        ((name, selector),) = set(re.findall(r"(meshca_\w+)(\{[^}]*\})?", expression))
        family = re.sub(r"_(bucket|sum|count)$", "", name)
        kind, labels = known.get(name) or known[family]
        assert (name == family) is (kind != "histogram"), expression
        asked = re.findall(r"(\w+)=~?\"", selector) + re.findall(r"by \(([\w, ]+)\)", expression)
        assert {label.strip() for each in asked for label in each.split(",")} <= {*labels, "le"}, expression


def test_results_and_checks_in_alarms_are_words_that_occur() -> None:
    """An alarm on a word that nobody says would never ring."""
    from meshca.server.codes import CODES
    from meshca.tokens import clusters, jwks

    said = {each.__name__ for each in CODES} | {"issued", "error", "proven", "refused", "unavailable"}
    said |= {*clusters.CHECKS, *jwks.CHECKS, "root", "issuer", "serving"}
    asked = re.findall(r"\b(?:result|check|kind)=~?\"([^\"]+)\"", PAGE.replace(r"\|", "|"))

    assert asked
    assert {word for each in asked for word in each.split("|")} <= said
