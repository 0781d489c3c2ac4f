"""A judge that shares code with the judged would share its mistakes."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

_HERE = Path(__file__).parent


@pytest.mark.parametrize("path", sorted(_HERE.glob("*.py")), ids=lambda path: path.stem)
def test_of_meshca_only_the_generated_messages_are_imported(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    named = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]

    ours = {name for name in named if name.split(".")[0] == "meshca"}

    assert ours <= {"meshca._pb.istio.ca_pb2", "meshca._pb.linkerd.identity_pb2"}
