"""Entry points for `opentelemetry-instrument`: the same set-up without a line of code."""

from __future__ import annotations

import logging
import os
from importlib.metadata import EntryPoint
from typing import Any

from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined]
from opentelemetry.sdk._configuration import _BaseConfigurator

_OURS = ("logging", "threading")
_NOT_OF_PROGRAM = ("PREFECT__SERVER_EPHEMERAL",)
"""Variables of processes that tools start beside a program for themselves: Prefect's temporary server."""

_LOADER = "opentelemetry.instrumentation.auto_instrumentation._load"


class Distro(BaseDistro):  # type: ignore[misc]
    """Loads every instrumentation except the two that `configure` takes care of."""

    def _configure(self, **kwargs: Any) -> None:
        """Silence a warning on the program's own stderr that says no more than that we were asked for."""
        logging.getLogger(_LOADER).setLevel(logging.ERROR)

    def load_instrumentor(self, entry_point: EntryPoint, **kwargs: Any) -> None:
        """Load one instrumentation; a second log handler would write each record twice."""
        if entry_point.name not in _OURS:
            super().load_instrumentor(entry_point, **kwargs)


class Configurator(_BaseConfigurator):
    """Calls `otel_ml.configure`, all of its values from the environment."""

    def _configure(self, **kwargs: Any) -> None:
        if any(os.environ.get(name) for name in _NOT_OF_PROGRAM):
            return
        from otel_ml.configuration import configure_from_environment  # noqa: PLC0415  entry points load early

        configure_from_environment()
