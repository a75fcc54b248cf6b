"""The current span, by the API's private names and without them."""

from __future__ import annotations

import asyncio
import logging
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext

from otel_ml import current_span
from support import run_python


def new_span() -> trace.Span:
    return NonRecordingSpan(SpanContext(1, 2, is_remote=False))


def test_what_is_attached_is_current_for_the_api_until_it_is_detached() -> None:
    """And what else the context holds stays."""
    span = new_span()
    outside = context_api.attach(context_api.set_value("mine", 1))
    token = current_span.attach(span)
    try:
        assert trace.get_current_span() is span
        assert context_api.get_value("mine") == 1
        assert current_span.get_context() is context_api.get_current()
        assert current_span.get_context()[current_span.SPAN_KEY] is span
    finally:
        current_span.detach(token)
    assert trace.get_current_span() is trace.INVALID_SPAN
    context_api.detach(outside)


def test_a_span_that_the_api_attached_is_found() -> None:
    """Under the key that the API uses."""
    span = new_span()
    with trace.use_span(span):
        assert current_span.get_context()[current_span.SPAN_KEY] is span


def test_a_token_of_another_context_is_logged_as_the_api_does(caplog: pytest.LogCaptureFixture) -> None:
    """Under the same logger, with the same words, and nothing is raised."""

    async def attach() -> Any:
        return current_span.attach(new_span())

    for detach in (current_span.detach, context_api.detach):
        detach(asyncio.run(attach()))
    ours, theirs = caplog.records
    assert (ours.name, ours.levelno, ours.getMessage()) == (theirs.name, logging.ERROR, theirs.getMessage())
    assert ours.exc_info is not None and ours.exc_info[0] is ValueError


def test_the_short_ways_are_in_use_with_this_release() -> None:
    """A release that renames what they need is noticed here, not by a slower program."""
    variable = context_api._RUNTIME_CONTEXT._current_context  # type: ignore[attr-defined]
    assert current_span._get_context == variable.get
    assert current_span.set_context == variable.set
    assert current_span.reset_context == variable.reset


class Renamed:
    """A runtime context whose variable has another name."""


class Subclass(type(context_api._RUNTIME_CONTEXT)):  # type: ignore[misc]
    """A runtime context that may do more than the API's own."""


@pytest.mark.parametrize("runtime", [None, Renamed(), Subclass()])
def test_the_public_functions_are_used_where_the_private_names_are_not(runtime: object) -> None:
    """Another release, or a runtime context of the application's."""
    functions = current_span.functions_of(runtime)
    assert functions == (context_api.get_current, context_api.attach, context_api.detach)


def test_a_variable_that_the_api_does_not_look_at_is_left_alone() -> None:
    """The name alone is no proof."""
    runtime = object.__new__(type(context_api._RUNTIME_CONTEXT))
    runtime._current_context = ContextVar[Context]("another")  # type: ignore[attr-defined]
    assert current_span.functions_of(runtime).get is context_api.get_current


FOREIGN = """
import threading
from opentelemetry.context import Context, _RuntimeContext

class Stack(_RuntimeContext):
    '''One stack a thread.'''

    def __init__(self):
        self.local = threading.local()

    def attach(self, context):
        self.stack.append(context)
        return len(self.stack) - 1

    def get_current(self):
        return self.stack[-1]

    def detach(self, token):
        del self.stack[token:]

    @property
    def stack(self):
        if not hasattr(self.local, "stack"):
            self.local.stack = [Context()]
        return self.local.stack
"""


def test_a_runtime_context_of_the_application_is_used(tmp_path: Path) -> None:
    """With `OTEL_PYTHON_CONTEXT`, spans nest, generators and blocks leave nothing behind, and nothing is logged."""
    (tmp_path / "foreign.py").write_text(FOREIGN)
    info = tmp_path / "foreign-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[opentelemetry_context]\nstack = foreign:Stack\n")
    code = """
        import otel_ml
        from opentelemetry import context, trace
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        from otel_ml.instruments import instruments
        from otel_ml.tracing.provider import TracerProvider

        assert type(context._RUNTIME_CONTEXT).__name__ == "Stack"
        exporter, provider = InMemorySpanExporter(), TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        instruments.bind(provider)

        @otel_ml.step("inner")
        def inner(): return 1

        @otel_ml.step("numbers")
        def numbers():
            yield inner()

        @otel_ml.step("outer")
        def outer():
            with otel_ml.step("block"):
                return list(numbers())

        assert outer() == [1]
        assert trace.get_current_span() is trace.INVALID_SPAN
        spans = {span.name: span for span in exporter.get_finished_spans()}
        for child, parent in (("inner", "numbers"), ("numbers", "block"), ("block", "outer")):
            assert spans[child].parent.span_id == spans[parent].context.span_id, child
        assert spans["outer"].parent is None
        """
    done = run_python(code, env={"OTEL_PYTHON_CONTEXT": "stack", "PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, "")
