"""One run of a program on one tracer provider, and everything that an application could see of it."""

from __future__ import annotations

import contextvars
import functools
import itertools
import json
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from otel_ml.tracing import random_ids
from otel_ml.tracing.locked_span import LockedSpan
from otel_ml.tracing.provider import TracerProvider, accelerate

NOW = 1_700_000_000_000_000_000


class Aborted(BaseException):
    """What a program raises that is no `Exception`."""


class LockedProvider(TracerProvider):
    """Makes the spans that interpreters without a GIL get."""

    _one_at_a_time = threading.RLock()

    def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
        with self._one_at_a_time:  # on such an interpreter a tracer has the class before other threads see it
            tracer: Any = super().get_tracer(*args, **kwargs)
            if isinstance(tracer, sdk.Tracer) and getattr(tracer, "span_class", None) is not LockedSpan:
                tracer.span_class = LockedSpan
        return tracer


def accelerated(**options: Any) -> sdk.TracerProvider:
    """Return a provider of the SDK that was made ours in place."""
    provider = sdk.TracerProvider(**options)
    assert accelerate(provider)
    return provider


class World:
    """A provider, what a program made with it, and what came out.

    Args:
        make_provider: Takes the arguments of the SDK's provider.
        options: Recipes of these arguments.
        processors: Recipes of the processors that are there from the start.
        scopes: Arguments of `get_tracer`, for each tracer.
    """

    def __init__(
        self,
        make_provider: Callable[..., sdk.TracerProvider],
        options: dict[str, Any],
        processors: tuple[Any, ...],
        scopes: tuple[Any, ...],
    ) -> None:
        self.journal: list[Any] = []
        self.spans: list[trace.Span] = []
        self.processors: list[Any] = []
        self.views: list[Any] = []
        self.thrown: list[BaseException] = []
        resource = Resource({"service.name": "programs"})
        self.provider = make_provider(resource=resource, shutdown_on_exit=False, **self.make(options))
        for recipe in processors:
            self.add_processor(recipe)
        self.tracers = [self.provider.get_tracer(*self.make(scope)) for scope in scopes]

    def make(self, recipe: Any) -> Any:
        """Make what a recipe stands for: a `partial` is called, `World` is this one, containers are new ones."""
        if recipe is World:
            return self
        if isinstance(recipe, functools.partial):
            return recipe.func(*map(self.make, recipe.args), **self.make(recipe.keywords))
        if type(recipe) in (list, tuple):
            return type(recipe)(map(self.make, recipe))
        if type(recipe) is dict:
            return {key: self.make(value) for key, value in recipe.items()}
        return recipe

    def add_processor(self, recipe: Any) -> None:
        """Make a processor, and register it."""
        processor = self.make(recipe)
        self.processors.append(processor)
        self.provider.add_span_processor(processor)

    def note(self, *what: Any) -> None:
        """Keep something that has to be the same with every provider."""
        self.journal.append(what)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call what ought not to raise, and note what it did when it did."""
        try:
            return function(*args, **kwargs)
        except Exception as error:
            self.note("raised", type(error).__name__, str(error))
            return None

    def span(self, which: int) -> trace.Span:
        """Return a span of the program: 0 is the youngest, and below that is the current one."""
        if which < 0:
            return trace.get_current_span()
        return self.spans[-1 - which % len(self.spans)] if self.spans else trace.INVALID_SPAN

    def tracer(self, which: int) -> Any:
        """Return a tracer."""
        return self.tracers[which % len(self.tracers)]

    def finish(self) -> None:
        """Note what can be seen at the end: of views that were kept, of each span, and of what was exported."""
        self.note("views", [plain(view) for view in self.views])
        self.note("spans", [picture(span) for span in self.spans])
        self.call(self.provider.shutdown)
        self.note("processors", [getattr(processor, "findings", list)() for processor in self.processors])
        pool = getattr(self.provider._active_span_processor, "_executor", None)
        if pool is not None:
            pool.shutdown()


def observed(make_provider: Callable[..., sdk.TracerProvider], program: Any) -> dict[str, list[Any]]:
    """Run a program, and return what could be seen of it: its own journal and the log lines."""
    lines: list[Any] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raised = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
            lines.append((record.name, record.levelname, record.getMessage(), raised))

    logger, handler = logging.getLogger("opentelemetry"), Keeping()
    propagates = logger.propagate
    logger.propagate = False
    logger.addHandler(handler)
    try:
        random_ids.seed(program.seed)
        with _one_source_of_ids():
            journal = contextvars.Context().run(_run, make_provider, program)
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates
    return {"journal": journal, "log": lines}


@contextmanager
def _one_source_of_ids() -> Iterator[None]:
    """Have the SDK's generator draw from ours: which ids come next has to be the same, whoever asks for them."""
    draws = {"generate_trace_id": random_ids.trace_id, "generate_span_id": random_ids.span_id}
    with mock.patch.multiple(
        RandomIdGenerator, **{name: lambda self, draw=draw: draw() for name, draw in draws.items()}
    ):
        yield


def _run(make_provider: Callable[..., sdk.TracerProvider], program: Any) -> list[Any]:
    world = World(make_provider, program.options, program.processors, program.scopes)
    for operation in program.operations:
        attempt(world, (operation,))
    world.finish()
    return world.journal


def attempt(world: World, body: tuple[Any, ...]) -> None:
    """Run operations, and note what they raise."""
    try:
        for operation in body:
            operation.run(world)
    except (Exception, Aborted, GeneratorExit, KeyboardInterrupt) as error:
        is_thrown = any(error is each for each in world.thrown)
        chain = [type(each).__name__ for each in (error.__cause__, error.__context__)]
        world.note("caught", type(error).__name__, message(error), is_thrown, chain)


def message(error: BaseException) -> str:
    """Return an exception's text."""
    try:
        return str(error)
    except Exception as failure:
        return f"unprintable: {failure}"


@contextmanager
def frozen_clock() -> Iterator[None]:
    """Let time stand still for the SDK and for us."""
    with mock.patch.object(time, "time_ns", side_effect=lambda: NOW):
        frozen = [
            mock.patch.object(module, "time_ns", side_effect=lambda: NOW)
            for name, module in list(sys.modules.items())
            if name.startswith(("opentelemetry.sdk", "otel_ml")) and hasattr(module, "time_ns")
        ]
        for each in frozen:
            each.start()
        try:
            yield
        finally:
            for each in frozen:
                each.stop()


# --- what a span looks like ---


def picture(span: Any, *, inside: bool = True) -> dict[str, Any]:
    """Return all that the public interface tells of a span, and the private names that people are known to use.

    Args:
        span: Any span.
        inside: Whether to look at private names, and at methods that do: ours makes what they stand for only then.
    """
    found: dict[str, Any] = {"context": plain(span.get_span_context()), "recording": _recording(span)}
    if not isinstance(span, ReadableSpan):
        return {**found, "kind of span": "not recording"}
    for name in ("name", "kind", "start_time", "end_time", "parent", "context", "attributes"):
        found[name] = plain(getattr(span, name))
    found["status"] = (plain(span.status.status_code), plain(span.status.description))
    found["events"] = [
        (plain(event.name), plain(event.timestamp), plain(event.attributes), event.dropped_attributes)
        for event in span.events
    ]
    found["links"] = [
        (plain(link.context), plain(link.attributes), link.dropped_attributes, type(link.attributes).__name__)
        for link in span.links
    ]
    found["dropped"] = (span.dropped_attributes, span.dropped_events, span.dropped_links)
    found["resource"] = dict(span.resource.attributes)
    found["scope"] = repr(span.instrumentation_scope)
    if inside:
        found["containers"] = [_container(span, name) for name in ("_attributes", "_events", "_links")]
        found["json"] = _json(span)
    return found


def _recording(span: Any) -> Any:
    return span.is_recording() if isinstance(span, trace.Span) else None


def _container(span: Any, name: str) -> Any:
    container = getattr(span, name)
    if name != "_attributes" and not container:
        return name, "empty"  # the SDK has a list there; ours none, until somebody adds to it
    immutable = getattr(container, "_immutable", None)
    return (
        name,
        type(container).__name__,
        len(container),
        getattr(container, "dropped", None),
        immutable,
        repr(container) if name == "_attributes" else None,
    )


def _json(span: ReadableSpan) -> Any:
    try:
        found = json.loads(span.to_json())
    except Exception as error:
        return type(error).__name__, str(error)
    for event in found["events"]:
        for key, value in (event["attributes"] or {}).items():
            event["attributes"][key] = shown(key, value)
    return found


def plain(value: Any) -> Any:
    """Return a value in a form whose equality means the same type and content, in the same order."""
    if isinstance(value, trace.SpanContext):
        state = list(value.trace_state.items())
        return (
            "SpanContext",
            value.trace_id,
            value.span_id,
            value.is_remote,
            int(value.trace_flags),
            state,
            value.is_valid,
        )
    if hasattr(value, "items"):
        return "mapping", [(plain(key), plain(shown(key, each))) for key, each in value.items()]
    if isinstance(value, tuple | list):
        return type(value).__name__, [plain(each) for each in value]
    return type(value).__name__, repr(value)


# --- differences that are by design ---

_HIDDEN = re.compile(r"contextlib\.py$|[/\\]opentelemetry[/\\]|(?:^|[/\\])otel_ml[/\\]")


def shown(key: str, value: Any) -> Any:
    """Return an attribute's value without what differs by design.

    The SDK's context managers are generators: the frames of `contextlib` and `use_span`, through which an exception
    passes there, are in its stack traces, and say nothing of the program. Ours are not generators. And the class has
    another name, which `repr` tells.
    """
    if key == "__repr__":
        return str(value).removeprefix("_").replace("LockedSpan(", "Span(")
    if key != "exception.stacktrace" or not isinstance(value, str):
        return value
    kept, hidden = [], False
    for line in value.splitlines():
        if line.startswith('  File "'):
            hidden = _HIDDEN.search(line.split('"')[1]) is not None
        elif not line.startswith("    "):
            hidden = False
        if not hidden:
            kept.append(line)
    return "\n".join(kept)


def first_difference(expected: dict[str, list[Any]], found: dict[str, list[Any]]) -> str:
    """Return where two runs part, as text; empty when they are the same."""
    for part, whole in expected.items():
        for index, pair in enumerate(itertools.zip_longest(whole, found[part], fillvalue="nothing")):
            if pair[0] != pair[1]:
                path, one, other = _narrow(*pair)
                return f"{part}[{index}]{path}:\n  stock: {one!r}\n  ours:  {other!r}"
    return ""


def _narrow(one: Any, other: Any, path: str = "") -> tuple[str, Any, Any]:
    if type(one) is type(other) and isinstance(one, dict) and one.keys() == other.keys():
        for key in one:
            if one[key] != other[key]:
                return _narrow(one[key], other[key], f"{path}[{key!r}]")
    if type(one) is type(other) and isinstance(one, list | tuple) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            if left != right:
                return _narrow(left, right, f"{path}[{index}]")
    return path, one, other


def attach(values: dict[str, Any]) -> object:
    """Make values part of the current context."""
    context = context_api.get_current()
    for key, value in values.items():
        context = context_api.set_value(key, value, context)
    return context_api.attach(context)
