"""A pipeline in this process, with everything in `logging` as it was before when the test is over."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from logs.running import Running
from logs.short_lines import Short
from opentelemetry.instrumentation.logging import LoggingInstrumentor
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter

from otel_ml.options import Logs


@pytest.fixture
def clean_logging() -> Iterator[None]:
    """Give a test the logging of a new process, and put everything back afterwards."""
    root = logging.getLogger()
    loggers = [root, *(item for item in root.manager.loggerDict.values() if isinstance(item, logging.Logger))]
    before = [(item, item.handlers[:], item.level, item.propagate, item.disabled) for item in loggers]
    factory, showwarning = logging.getLogRecordFactory(), warnings.showwarning
    root.handlers = []
    root.setLevel(logging.WARNING)
    yield
    if LoggingInstrumentor().is_instrumented_by_opentelemetry:
        LoggingInstrumentor().uninstrument()
    logging.setLogRecordFactory(factory)
    logging.captureWarnings(False)
    warnings.showwarning = showwarning
    known = {item for item, *_ in before}
    for item in root.manager.loggerDict.values():
        if isinstance(item, logging.Logger) and item not in known:
            item.handlers, item.propagate, item.disabled = [], True, False
            item.setLevel(logging.NOTSET)
    for handler in root.handlers:
        handler.close()
    for item, handlers, level, propagate, disabled in before:
        item.handlers, item.propagate, item.disabled = handlers, propagate, disabled
        item.setLevel(level)


@pytest.fixture
def run_pipeline(tmp_path: Path, clean_logging: None) -> Iterator[Callable[..., Running]]:
    """Start a pipeline with options of `Logs`; it writes no stream unless told to."""
    started: list[Running] = []

    def run(*, set_level: bool = False, **options: Any) -> Running:
        # pytest puts its own handlers on the root logger when the test's body starts.
        root = logging.getLogger()
        root.handlers = [handler for handler in root.handlers if not type(handler).__module__.startswith("_pytest")]
        started.append(Running(tmp_path / "logs", Logs(**{"format": "none", **options}), set_level=set_level))
        return started[-1]

    yield run
    for running in started:
        running.pipeline.close(30.0)


@pytest.fixture(name="begin")
def make_begin(tmp_path: Path, clean_logging: None) -> Iterator[Callable[..., Short]]:
    """Start a pipeline of lines; not before the test's body, when pytest puts its own handlers on the root logger."""
    started: list[Short] = []

    def begin(exporter: InMemoryLogRecordExporter | None = None) -> Short:
        started.append(Short(tmp_path, exporter))
        return started[-1]

    yield begin
    for short in started:
        short.pipeline.close(30.0)
