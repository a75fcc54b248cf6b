"""What is written down about a run: how it was started, and later changes of its configuration."""

from __future__ import annotations

import functools
import json
import logging
import threading
from collections.abc import Callable
from typing import Any

from opentelemetry import context
from opentelemetry.context import Context
from opentelemetry.trace import Span

from otel_ml import conventions, environment, health
from otel_ml.loggers import own_logger

LONGEST_WAIT = environment.GIT_TIMEOUT + 0.5
"""Seconds that the end of a run waits at most for its description; only a run shorter than git's answer waits."""

_ON_SPAN = (
    conventions.RUN_COMMAND,
    conventions.RUN_SEED,
    conventions.RUN_OVERRIDES,
    conventions.GIT_COMMIT,
    conventions.GIT_BRANCH,
    conventions.GIT_DIRTY,
)
_LONGEST_JSON = 8192
_logger = own_logger("run")


def start(span: Span, run_context: Context, name: str, config: Any, *, outermost: bool) -> threading.Thread | None:
    """Describe a run on its span and in one INFO record, on a thread; return the thread to be joined before the end.

    Args:
        span: The run's span.
        run_context: The context in which the span is current.
        name: Name of the run.
        config: Plain bounded configuration or None.
        outermost: Whether the process is to be described, too; a run inside another only tells its configuration
            and overrides.
    """
    if not span.is_recording() and not _logger.isEnabledFor(logging.INFO):
        return None
    describe: Callable[[], dict[str, Any]]
    if outermost:
        describe = functools.partial(environment.described, environment.copied(config))
    elif config is not None:
        describe = functools.partial(environment.described_config, config, environment.hydra_overrides())
    else:
        return None
    thread = threading.Thread(
        target=_write, args=(span, run_context, name, describe), name=f"{conventions.SCOPE}-run", daemon=True
    )
    thread.start()
    return thread


def _write(span: Span, run_context: Context, name: str, describe: Callable[[], dict[str, Any]]) -> None:
    token = context.attach(run_context)
    try:
        description = describe()
        if span.is_recording():  # not when the run did not wait for this
            span.set_attributes({key: description[key] for key in _ON_SPAN if key in description})
            if conventions.RUN_CONFIG in description:
                span.set_attribute(conventions.RUN_CONFIG, _json(description[conventions.RUN_CONFIG]))
        _logger.info("run %s started", name, extra={conventions.EVENT_NAME: conventions.RUN_STARTED, **description})
    except Exception as error:
        health.internal_error("description of a run", error)
    finally:
        context.detach(token)


def end(run_context: Context, name: str, status: str, seconds: float) -> None:
    """Say in one INFO record how a run ended.

    Args:
        run_context: The context in which the run's span is current.
        name: Name of the run.
        status: `ok`, `error` or `cancelled`.
        seconds: Wall-clock time that it took.
    """
    token = context.attach(run_context)
    try:
        outcome = {conventions.RUN_NAME: name, conventions.RUN_STATUS: status, conventions.RUN_DURATION: seconds}
        _logger.info(
            "run %s ended: %s after %.3f s",
            name,
            status,
            seconds,
            extra={conventions.EVENT_NAME: conventions.RUN_ENDED, **outcome},
        )
    finally:
        context.detach(token)


def config_changed(span: Span, name: str, changes: dict[str, dict[str, Any]]) -> None:
    """Write masked changes of a run's configuration to its span and in one INFO record."""
    span.add_event(conventions.CONFIG_CHANGED, {conventions.CONFIG_CHANGES: _json(changes)})
    _logger.info(
        "run %s: configuration changed: %s",
        name,
        ", ".join(changes),
        extra={conventions.EVENT_NAME: conventions.CONFIG_CHANGED, conventions.CONFIG_CHANGES: changes},
    )


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_JSON else f"{text[: _LONGEST_JSON - 3]}..."
