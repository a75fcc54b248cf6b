from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest
import structlog
from logs.running import Running
from opentelemetry.sdk.trace import TracerProvider

import otel_ml.runs
from otel_ml.logs.structlog import add_trace_context

Run = Callable[..., Running]


@pytest.fixture
def fresh_structlog() -> Iterator[None]:
    """Leave structlog unconfigured."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def _configure(last: Any) -> Any:
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level, structlog.stdlib.add_logger_name, structlog.stdlib.add_log_level,
            add_trace_context, last,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )  # fmt: skip
    return structlog.get_logger("shop.cart")


@pytest.mark.parametrize(
    "last", [structlog.stdlib.ProcessorFormatter.wrap_for_formatter, structlog.stdlib.render_to_log_kwargs]
)
def test_structlog_event_is_the_same_flat_line(run_pipeline: Run, fresh_structlog: None, last: Any) -> None:
    """Both ways of structlog into standard logging give the event as message and its fields beside it."""
    running = run_pipeline()
    log = _configure(last).bind(user=7)
    with TracerProvider(shutdown_on_exit=False).get_tracer("t").start_as_current_span("s") as span:
        log.info("added %s", rows={"n": 1})
    (line,) = running.lines()
    trace_id = format(span.get_span_context().trace_id, "032x")
    assert (line["message"], line["level"], line["logger"], line["user"]) == ("added %s", "INFO", "shop.cart", 7)
    assert (line["rows"], line["trace_id"]) == ({"n": 1}, trace_id)
    assert not any(key.startswith(("_", "extra_")) for key in line)
    assert running.exported()[0].body == "added %s"


@pytest.mark.parametrize(
    "last", [structlog.stdlib.ProcessorFormatter.wrap_for_formatter, structlog.stdlib.render_to_log_kwargs]
)
def test_structlog_exception_is_described(run_pipeline: Run, fresh_structlog: None, last: Any) -> None:
    """An exception logged through structlog has type, message and stack trace."""
    running = run_pipeline()
    log = _configure(last)
    try:
        raise KeyError("k")
    except KeyError:
        log.exception("failed")
    (line,) = running.lines()
    assert (line["exception"]["type"], line["exception"]["message"]) == ("KeyError", "'k'")
    assert "raise KeyError" in line["exception"]["stacktrace"]
    assert "exc_info" not in line


def test_structlog_rendered_exception_is_the_stack_trace(run_pipeline: Run, fresh_structlog: None) -> None:
    """What structlog's `format_exc_info` rendered becomes the stack trace rather than a field of its own."""
    running = run_pipeline()
    logging.getLogger("app").error({"event": "failed", "exception": "Traceback (most recent call last):\nX"})
    assert running.lines()[0]["exception"] == {"stacktrace": "Traceback (most recent call last):\nX"}


def test_processor_adds_ids_inside_and_nothing_outside() -> None:
    """The processor adds ids of span and run, keeps those already there, and adds nothing outside both."""
    assert add_trace_context(None, "info", {"event": "e"}) == {"event": "e"}
    with (
        otel_ml.runs.run("nightly") as run,
        TracerProvider(shutdown_on_exit=False).get_tracer("t").start_as_current_span("s"),
    ):
        event = add_trace_context(None, "info", {"event": "e", "span_id": "mine"})
    assert (event["run_id"], event["span_id"], event["trace_flags"]) == (run.id, "mine", "01")
    assert len(event["trace_id"]) == 32


def test_mapping_as_message_is_merged(run_pipeline: Run) -> None:
    """A mapping as message, as JSON loggers take it, becomes fields; its `message` is the message."""
    running = run_pipeline()
    logging.getLogger("app").info({"message": "hello", "rows": 3, "password": "x1"})
    logging.getLogger("app").info({"rows": 4})
    first, second = running.lines()
    assert (first["message"], first["rows"]) == ("hello", 3)
    assert first["password"] != "x1"
    assert (second["message"], second["rows"]) == ("", 4)


def test_table_as_event_is_described(run_pipeline: Run) -> None:
    """A table given as the event is described like any other message."""
    running = run_pipeline()
    logging.getLogger("app").info({"event": pd.DataFrame({"a": [4242]})})
    (message,) = running.messages()
    assert message.startswith("pandas.DataFrame(")
    assert "4242" not in message
