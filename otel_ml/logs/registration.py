"""Keeps opentelemetry-instrumentation-logging from doing what is done already, when a program imports it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from opentelemetry.sdk.resources import Resource

from otel_ml.patches import Undo, when_imported

_MODULE = "opentelemetry.instrumentation.logging"


def register(resource: Resource) -> Undo:
    """Register logging as instrumented, so that nobody does it twice; one that is instrumented stays as it is.

    The package takes a while to import, and few programs do that.

    Args:
        resource: Its `service.name` is what its own records would have.

    Returns:
        A function that takes the registration back.
    """
    return when_imported(_MODULE, lambda: _register(resource))


def _register(resource: Resource) -> list[Undo]:
    from opentelemetry.instrumentation.logging import LoggingInstrumentor  # noqa: PLC0415  it is imported

    instrumentor = LoggingInstrumentor()
    if instrumentor.is_instrumented_by_opentelemetry:
        return []
    _with_own_factory(
        instrumentor.instrument,
        skip_dep_check=True,
        tracer_provider=SimpleNamespace(resource=resource),
        set_logging_format=False,
        inject_trace_context=True,
        enable_log_auto_instrumentation=False,
    )
    return [lambda: _with_own_factory(instrumentor.uninstrument)]


def _with_own_factory(act: Callable[..., Any], **arguments: Any) -> None:
    """Do what sets a record factory, and keep the one in force."""
    factory = logging.getLogRecordFactory()
    try:
        act(**arguments)
    finally:
        logging.setLogRecordFactory(factory)
