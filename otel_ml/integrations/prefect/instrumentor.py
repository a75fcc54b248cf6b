"""`instrument` and `uninstrument`, and the instrumentor that `opentelemetry-instrument` finds."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]
from wrapt import register_post_import_hook  # comes with opentelemetry-instrumentation

from otel_ml import health, luggage
from otel_ml.integrations.prefect import contexts, logs, spans

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
    if find_spec("prefect") is None:
        from otel_ml.audit.extras import MissingExtraError  # noqa: PLC0415  nobody else needs it here

        raise MissingExtraError("prefect", "prefect", "to watch its flows and tasks")
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
        watching = _Watching()
        _undo.append(watching.stop)
        for name in _HOOKS:
            register_post_import_hook(watching.begin, name)
        luggage.travellers.append(TRAVELLER)

    def _uninstrument(self, **kwargs: Any) -> None:
        luggage.travellers.remove(TRAVELLER)
        while _undo:
            _undo.pop()()


_undo: list[Callable[[], None]] = []


class _Watching:
    """From one `instrument` to its end; Prefect may be imported in between."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []
        self._ended = False

    def begin(self, module: ModuleType) -> None:
        """Do what there is to do with a module of Prefect."""
        if self._ended:
            return
        try:
            self._undo.append(_HOOKS[module.__name__](module))
        except Exception as error:  # it must not keep the program from importing Prefect
            health.internal_error("instrumentation of Prefect", error)

    def stop(self) -> None:
        """Undo it."""
        self._ended = True
        while self._undo:
            self._undo.pop()()


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
