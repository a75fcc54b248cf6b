"""`instrument` and `uninstrument`, and the instrumentor that `opentelemetry-instrument` finds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

from otel_ml import luggage, processes
from otel_ml.integrations.prefect import contexts, logs, spans
from otel_ml.patches import Undo, require, when_imported

_HOOKS: dict[str, Callable[[ModuleType], Callable[[], None]]] = {
    "prefect.context": contexts.patch,
    "prefect.telemetry.run_telemetry": spans.patch,
    "prefect.main": logs.after_import,  # its import ends with Prefect's set-up of logging
}
"""What is done when a module of Prefect has been imported; each returns a function that undoes it."""


def instrument() -> None:
    """Watch the flows and tasks of this process, and of the processes that it gives work to.

    Before or after `otel_ml.configure` and before or after the import of Prefect, which is not imported here. Called
    again, it does nothing.

    Raises:
        MissingExtraError: Prefect is not installed.
    """
    require("prefect")
    _begin()


def _begin() -> None:
    instrumentor = PrefectInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument()


def uninstrument() -> None:
    """Stop watching, and put Prefect and its logging back as they were; without `instrument` before, do nothing."""
    instrumentor = PrefectInstrumentor()
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


class PrefectInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Watches Prefect; one object a process, as every instrumentor of OpenTelemetry."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return what must be installed for it to work."""
        return ("prefect >= 3.8.8",)

    def _instrument(self, **kwargs: Any) -> None:
        _undo.append(logs.watch())
        _undo.extend(when_imported(name, partial(_patch, name)) for name in _HOOKS)
        luggage.travellers.append(TRAVELLER)
        processes.executions.add("prefect")

    def _uninstrument(self, **kwargs: Any) -> None:
        luggage.travellers.remove(TRAVELLER)
        processes.executions.discard("prefect")
        while _undo:
            _undo.pop()()


_undo: list[Undo] = []


def _patch(name: str) -> list[Undo]:
    return [_HOOKS[name](sys.modules[name])]


class _Traveller:
    """Has the processes that work is given to watch Prefect too."""

    def __reduce__(self) -> str:
        return "TRAVELLER"

    def board(self) -> object:
        """Return something, so that this goes along."""
        return True

    def ride(self, payload: object) -> AbstractContextManager[object]:
        """Begin to watch in this process, and go on when the work is done: others follow.

        Args:
            payload: What `board` returned.
        """
        if find_spec("prefect") is not None:  # workers of other libraries may do without it
            _begin()
        return nullcontext()

    def arrived(self, payload: object, results: list[Any]) -> None:
        """Do nothing: what was seen is where it belongs.

        Args:
            payload: What `board` returned.
            results: Of the work.
        """


TRAVELLER = _Traveller()
