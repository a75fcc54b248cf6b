"""Rules of this code base that no linter knows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import otel_ml

PACKAGE = Path(otel_ml.__file__).parent
TESTS = Path(__file__).parent


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function of a file, methods and nested ones too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return a function's length from `def` to its end, less its docstring."""
    first = node.body[0]
    has_docstring = ast.get_docstring(node) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if has_docstring else 0
    return (node.end_lineno or 0) - node.lineno + 1 - docstring


@pytest.mark.parametrize("path", sorted(TESTS.rglob("test_*.py")), ids=lambda path: str(path.relative_to(TESTS)))
def test_every_test_states_the_behaviour_that_it_holds(path: Path) -> None:
    """A test's docstring is a sentence, so that a failure says what is broken."""
    tests = [node for node in functions(path) if node.name.startswith("test_")]
    silent = [node.name for node in tests if not (ast.get_docstring(node) or "").endswith(".")]
    assert tests
    assert silent == []


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_and_functions_are_short(path: Path) -> None:
    """One concept a file, at most 350 lines; a function fits on a screen, at most 60 lines."""
    assert len(path.read_text("utf-8").splitlines()) <= 350
    assert [node.name for node in functions(path) if code_lines(node) > 60] == []
