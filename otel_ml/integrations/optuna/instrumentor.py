"""`OptunaInstrumentor`: watches every study of a process."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

from otel_ml.errors import ConfigurationError
from otel_ml.integrations.optuna import asked, console, optimization
from otel_ml.patches import Undo, replace, require, when_imported

_undo: list[Undo] = []


class OptunaInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Watches studies: `Study.optimize` is a span, and each trial one below it.

    Like every instrumentor of OpenTelemetry it is one object a process, and is found by `opentelemetry-instrument`.
    Optuna is not imported before the program does that. `otel_ml.optuna.instrument` is how a program calls it.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return what must be installed for it to work."""
        return ("optuna >= 5.0",)

    def instrument(self, **kwargs: Any) -> None:
        """Begin to watch.

        Args:
            **kwargs: `progress`: whether an optimization shows a bar; default: on a terminal. Further ones are those
                of every instrumentor.

        Raises:
            ConfigurationError: An argument is of the wrong type.
        """
        value = kwargs.get("progress")
        if value is not None and not isinstance(value, bool):
            raise ConfigurationError("otel_ml.optuna.instrument(progress=)", value, "True, False or None")
        optimization.options.progress = value
        if not self.is_instrumented_by_opentelemetry:  # else what a program says itself goes before what was set up
            super().instrument(**kwargs)

    def _instrument(self, **kwargs: Any) -> None:
        _undo.append(when_imported("optuna", _patch))

    def _uninstrument(self, **kwargs: Any) -> None:
        while _undo:
            _undo.pop()()


def instrument(*, progress: bool | None = None) -> None:
    """Watch every study: a span for each optimization and each trial, a log line for each trial.

    Args:
        progress: Whether an optimization shows a bar; None: on a terminal.

    Raises:
        ConfigurationError: `progress` is neither a bool nor None.
        MissingExtraError: Optuna is not installed.
    """
    require("optuna")
    OptunaInstrumentor().instrument(progress=progress)


def uninstrument() -> None:
    """Leave Optuna as it was."""
    OptunaInstrumentor().uninstrument()


def _patch() -> list[Undo]:
    from optuna import Study  # noqa: PLC0415  the program has imported it

    console.take_over()
    return [
        console.give_back,
        replace((Study,), "optimize", optimization.watched),
        replace((Study,), "ask", asked.remembering),
        replace((Study,), "tell", asked.telling),
    ]
