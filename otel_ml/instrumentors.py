"""Instrumentations for a program that does not name them: each is loaded when the program imports its library.

OpenTelemetry's own way loads them all at the start, and with them every library that they are for: FastAPI's takes a
quarter of a second of a program that never serves anything.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, EntryPoint

from otel_ml import health
from otel_ml.loggers import own_logger
from otel_ml.packages import installed, top_level_modules, with_entry_points
from otel_ml.patches import when_imported

Load = Callable[[], None]

OF_CONFIGURE = ("logging", "threading")
"""Instrumentations that `configure` takes care of; a second log handler would write each record twice."""

_PREFIX = "otel_ml_"
"""Our own are named after the module that they are for."""

_LEFT_OUT = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
_REQUIREMENT = re.compile(r"^Requires-Dist:(.+)", re.MULTILINE)  # no parser of e-mail has to be loaded
_NAME = re.compile(r"[A-Za-z0-9._-]+")

_logger = own_logger()
_awaited: set[str] = set()
_ready: list[Load] = []


def load_all() -> None:
    """Load what is installed, as `opentelemetry-instrument` does, each part of it when its library is imported."""
    left_out = [name.strip() for name in os.environ.get(_LEFT_OUT, "").split(",")]
    found = [entry for one in with_entry_points(b"opentelemetry_") for entry in _entries(one)]
    for hook in _of(found, "pre_instrument"):
        _attempt(hook, partial(_call, hook))
    for entry in _of(found, "instrumentor"):
        if entry.name not in OF_CONFIGURE and not {entry.name, "*"}.intersection(left_out):
            _attempt(entry, partial(when_needed, entry, partial(_instrument, entry)))
    for hook in _of(found, "post_instrument"):
        _attempt(hook, partial(_call, hook))


def _entries(one: Distribution) -> list[EntryPoint]:
    try:
        return list(one.entry_points)
    except Exception as error:  # no text, or none that is written as it should be
        health.internal_error("reading of entry points", error)
        return []


def _of(found: Sequence[EntryPoint], group: str) -> list[EntryPoint]:
    return [entry for entry in found if entry.group == f"opentelemetry_{group}"]


def when_needed(entry: EntryPoint, load: Load) -> None:
    """Load an instrumentation when the program has imported the library that it is for.

    Args:
        entry: Its entry point. What it is for, its distribution says by the extras `instruments` and
            `instruments-any`; when that names nothing, it is loaded at once, and never when that is not installed.
        load: Loads it.
    """
    modules = _modules(entry)
    if modules is None or not modules.isdisjoint(sys.modules):
        load()
        return
    attempts = [load]
    _awaited.update(modules)
    for name in modules:
        when_imported(name, partial(_imported, name, entry, attempts))


def _imported(name: str, entry: EntryPoint, attempts: list[Load]) -> tuple[()]:
    """Load what waits for a library; a library that imports this one comes first, as it would alone."""
    _awaited.discard(name)
    with suppress(IndexError):  # another thread was faster
        _ready.append(partial(_attempt, entry, attempts.pop()))
    if not any(map(_is_being_imported, tuple(_awaited))):
        with suppress(IndexError):
            while True:
                _ready.pop()()
    return ()  # it stays


def _modules(entry: EntryPoint) -> set[str] | None:
    """Return what has to be imported before an instrumentation has anything to do; None: nobody knows."""
    if entry.value.startswith("otel_ml."):
        return {entry.name.removeprefix(_PREFIX)}
    about = (entry.dist.read_text("METADATA") if entry.dist is not None else None) or ""
    named = [line for line in _REQUIREMENT.findall(about) if "extra" in line and "instruments" in line]
    found = [modules for line in named if (modules := _modules_of(line)) is not None]
    if not named or not all(modules and all(map(_is_awaitable, modules)) for modules in found):
        return None
    return set().union(*found)


def _modules_of(requirement: str) -> set[str] | None:
    """Return the modules of a library, none when it does not list them; None: it is not installed."""
    found = installed(_NAME.findall(requirement)[0])
    return None if found is None else top_level_modules(lambda name: (found.read_text(name) or "").encode())


def _is_awaitable(module: str) -> bool:
    """Whether an import of a module is seen; that of a namespace, which many libraries share, is not."""
    spec = PathFinder.find_spec(module)
    return spec is not None and spec.origin is not None


def _is_being_imported(name: str) -> bool:
    return bool(getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False))


def _call(hook: EntryPoint) -> None:
    hook.load()()


def _instrument(entry: EntryPoint) -> None:
    from opentelemetry.instrumentation.dependencies import get_dist_dependency_conflicts  # noqa: PLC0415  not before

    conflict = get_dist_dependency_conflicts(entry.dist) if entry.dist is not None else None
    if conflict is None:
        entry.load()().instrument(skip_dep_check=True)
    else:
        _logger.warning("otel_ml: instrumentation %s is not loaded: %s", entry.name, conflict)


def _attempt(entry: EntryPoint, act: Load) -> None:
    """Do it; what is wrong with an instrumentation must not keep the program from starting, or from an import."""
    try:
        act()
    except Exception as error:
        health.internal_error(f"instrumentation {entry.name}", error)
