"""How we get into a library: when that is imported, and what is put there can be taken out again."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

from otel_ml import health
from otel_ml.errors import MissingExtraError
from otel_ml.import_hooks import after_import

Undo = Callable[[], None]


def when_imported(module: str, patch: Callable[[], Sequence[Undo]]) -> Undo:
    """Patch a library now, or as soon as the program imports it.

    Args:
        module: Name of the library's module.
        patch: Patches it, and returns what undoes that.

    Returns:
        A function that undoes it, or keeps it from being done.
    """
    undo: list[Undo] = []

    def begin() -> None:
        try:
            undo.extend(patch())
        except Exception as error:  # it must not keep the program from importing the library
            health.internal_error(f"instrumentation of {module}", error)

    withdraw = after_import(module, begin)

    def stop() -> None:
        withdraw()
        while undo:
            undo.pop()()

    return stop


def replace(owners: Sequence[Any], name: str, around: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Undo:
    """Put a function in the place of one of a library.

    Args:
        owners: Modules or classes that have it; all of them the same one.
        name: Its name there.
        around: Returns what takes its place, given the original.

    Returns:
        A function that puts the original back, where nobody else has replaced ours since.
    """
    original = getattr(owners[0], name)
    replacement = functools.wraps(original)(around(original))
    for owner in owners:
        setattr(owner, name, replacement)

    def undo() -> None:
        for owner in owners:
            if getattr(owner, name) is replacement:
                setattr(owner, name, original)

    return undo


def all_of(undo: Sequence[Undo]) -> Undo:
    """Return one function that undoes what several do."""

    def undo_all() -> None:
        for one in undo:
            one()

    return undo_all


def require(module: str) -> None:
    """Raise a `MissingExtraError` unless a library is installed whose extra has its name.

    Args:
        module: Name of the library's module.
    """
    if importlib.util.find_spec(module) is None:
        raise MissingExtraError(module, module, f"for otel_ml.{module}")
