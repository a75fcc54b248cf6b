"""The stack that several tests look at, and the load that it has seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stack import example, servers
from stack.whole import Stack, start_stack


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave these tests to `make stack-test`, which builds the servers."""
    return None if servers.BINARIES or collection_path.name == "conftest.py" else True


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """All servers, from the shipped configs. Modules that use it are in one xdist group, so that it is started once."""
    with start_stack(tmp_path_factory.mktemp("stack")) as whole:
        yield whole


@pytest.fixture(scope="session")
def loaded_stack(stack: Stack) -> Iterator[example.LoadedStack]:
    """All servers, after the example has been trained, served, put under load, and had its share of trouble."""
    with example.under_load(stack) as loaded:
        yield loaded
