"""Entry points for `opentelemetry-instrument`: the same set-up without a line of code."""

from __future__ import annotations

import logging
from importlib.metadata import EntryPoint
from typing import Any

from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined]
from opentelemetry.sdk._configuration import _BaseConfigurator

from otel_ml import instrumentors, program

_LOADER = "opentelemetry.instrumentation.auto_instrumentation._load"


class Distro(BaseDistro):  # type: ignore[misc]
    """Loads every instrumentation except the two that `configure` takes care of, when its library is imported."""

    def _configure(self, **kwargs: Any) -> None:
        """Silence a warning on the program's own stderr that says no more than that we were asked for."""
        logging.getLogger(_LOADER).setLevel(logging.ERROR)

    def load_instrumentor(self, entry_point: EntryPoint, **kwargs: Any) -> None:
        """Load one instrumentation, now or when there is something for it to do."""
        if entry_point.name not in instrumentors.OF_CONFIGURE:
            load = super().load_instrumentor
            instrumentors.when_needed(entry_point, lambda: load(entry_point, **kwargs))


class Configurator(_BaseConfigurator):
    """Calls `otel_ml.configure`, all of its values from the environment."""

    def _configure(self, **kwargs: Any) -> None:
        if not program.is_of_tool():
            program.configure_from_environment()
