"""Random programs that use tracers as applications do, and as they should not: data that shrinks, and runs anywhere."""

from __future__ import annotations

import asyncio
import collections
import enum
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hypothesis import strategies as st
from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, sampling
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)
from opentelemetry.trace.propagation import _SPAN_KEY
from tracing import processors
from tracing.worlds import Aborted, World, attach, attempt, picture, plain, shown

from otel_ml.clean_attributes import CleanAttributes, clean
from otel_ml.tracing.switch import SwitchProcessor

# --- operations ---


@dataclass(frozen=True)
class Do:
    """Call a method of a span."""

    which: int
    method: str
    args: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def run(self, world: World) -> None:
        span = world.span(self.which)
        result = world.call(getattr(span, self.method, str), *world.make(self.args), **world.make(self.options))
        if self.method in ("is_recording", "__repr__", "get_span_context"):
            world.note(self.method, plain(shown(self.method, result)))


@dataclass(frozen=True)
class Look:
    """Look at a span, and keep a view of its attributes for later."""

    which: int
    inside: bool

    def run(self, world: World) -> None:
        span = world.span(self.which)
        world.note("look", picture(span, inside=self.inside))
        view = getattr(span, "attributes", {})
        world.note([plain(key) for key in view], len(view), "a" in view, plain(view.get("a")), view == dict(view))
        world.views.append(view)


@dataclass(frozen=True)
class SetAndChange:
    """Set attributes from a mapping that the program changes afterwards."""

    which: int
    values: Any

    def run(self, world: World) -> None:
        values = world.make(self.values)
        world.call(world.span(self.which).set_attributes, values)
        spoil(values)


def spoil(values: Any) -> None:
    """Change a mapping and the lists in it; but for what is marked as never changed, which is no user's."""
    if isinstance(values, dict) and not isinstance(values, CleanAttributes):
        for value in values.values():
            if isinstance(value, list):
                value.append("late")
            spoil(value)
        values["late"] = 1


@dataclass(frozen=True)
class Poke:
    """Change a span of the program behind its back."""

    which: int
    way: str

    def run(self, world: World) -> None:
        span = world.span(self.which)
        if span.is_recording():  # our own queue holds the span itself: what somebody does to an ended one is in there
            world.call(processors.poke, span, self.way)


@dataclass(frozen=True)
class Current:
    """Note which span is current, and what else is in the context."""

    def run(self, world: World) -> None:
        current = trace.get_current_span()
        known = [index for index, span in enumerate(world.spans) if span is current]
        world.note("current", known, plain(current.get_span_context()), context_api.get_value("k"))


@dataclass(frozen=True)
class Start:
    """Start a span that nobody makes current."""

    tracer: int
    args: tuple[Any, ...]
    options: dict[str, Any]

    def run(self, world: World) -> None:
        options = world.make(self.options)
        world.spans.append(world.tracer(self.tracer).start_span(*world.make(self.args), **options))
        spoil(options.get("attributes"))


@dataclass(frozen=True)
class Scope:
    """Run a body inside a span, in one of the ways to write that."""

    how: str
    tracer: int
    args: tuple[Any, ...]
    options: dict[str, Any]
    body: tuple[Any, ...]
    end_on_exit: bool

    def run(self, world: World) -> None:
        tracer, args, options = world.tracer(self.tracer), world.make(self.args), world.make(self.options)
        getattr(self, f"_{self.how}")(world, tracer, args, options)

    def _run_body(self, world: World) -> int:
        for operation in self.body:
            operation.run(world)
        return 42

    def _as_current(self, world: World, tracer: Any, args: Any, options: Any) -> None:
        with tracer.start_as_current_span(*args, **options, end_on_exit=self.end_on_exit) as span:
            world.spans.append(span)
            self._run_body(world)

    def _as_current_later(self, world: World, tracer: Any, args: Any, options: Any) -> None:
        manager = tracer.start_as_current_span(*args, **options, end_on_exit=self.end_on_exit)
        spoil(options.get("attributes"))
        Current().run(world)
        with ExitStack() as stack:
            world.spans.append(stack.enter_context(manager))
            self._run_body(world)

    def _span_itself(self, world: World, tracer: Any, args: Any, options: Any) -> None:
        with tracer.start_span(*args, **options) as span:
            world.spans.append(span)
            self._run_body(world)

    def _use_span(self, world: World, tracer: Any, args: Any, options: Any) -> None:
        flags = {name: options[name] for name in ("record_exception", "set_status_on_exception") if name in options}
        span = tracer.start_span(*args, **options)
        world.spans.append(span)
        with trace.use_span(span, end_on_exit=self.end_on_exit, **flags):
            self._run_body(world)

    def _decorator(self, world: World, tracer: Any, args: Any, options: Any) -> None:
        @tracer.start_as_current_span(*args, **options, end_on_exit=self.end_on_exit)
        def decorated(given: int, *, named: str) -> tuple[int, int, str]:
            """Documented."""
            world.spans.append(trace.get_current_span())
            return self._run_body(world), given, named

        world.note(decorated.__name__, decorated.__doc__, decorated(1, named="n"))
        decorated(2, named="m")

    def _coroutine(self, world: World, tracer: Any, args: Any, options: Any) -> None:
        @tracer.start_as_current_span(*args, **options, end_on_exit=self.end_on_exit)
        async def decorated() -> int:
            world.spans.append(trace.get_current_span())
            await asyncio.sleep(0)
            return self._run_body(world)

        world.note("coroutine function", asyncio.iscoroutinefunction(decorated))
        coroutine = decorated()
        coroutine.send(None)
        Current().run(world)
        try:
            coroutine.send(None)
        except StopIteration as stop:
            world.note("returned", stop.value)

    def _generator(self, world: World, tracer: Any, args: Any, options: Any) -> None:
        def generate() -> Any:
            with tracer.start_as_current_span(*args, **options, end_on_exit=self.end_on_exit) as span:
                world.spans.append(span)
                yield 1
                yield self._run_body(world)

        generator = generate()
        next(generator)
        if self.end_on_exit:
            next(generator)
        generator.close()


@dataclass(frozen=True)
class Attached:
    """Run a body with a value in the context; a leaking one is never detached, as some libraries forget to."""

    value: int
    body: tuple[Any, ...]
    leaks: bool

    def run(self, world: World) -> None:
        token: Any = attach({"k": self.value})
        try:
            for operation in self.body:
                operation.run(world)
        finally:
            if not self.leaks:
                context_api.detach(token)


@dataclass(frozen=True)
class Catch:
    """Run a body, and go on whatever it raises."""

    body: tuple[Any, ...]

    def run(self, world: World) -> None:
        attempt(world, self.body)


@dataclass(frozen=True)
class Raise:
    """Raise an exception of the program."""

    error: Any

    def run(self, world: World) -> None:
        error = world.make(self.error)
        world.thrown.append(error)
        raise error


@dataclass(frozen=True)
class AddProcessor:
    """Register one more processor, while spans may be open."""

    recipe: Any

    def run(self, world: World) -> None:
        world.add_processor(self.recipe)


@dataclass(frozen=True)
class ReplaceMethod:
    """Replace a method of a processor that was registered, as libraries do that patch others."""

    which: int
    method: str

    def run(self, world: World) -> None:
        if not world.processors:
            return
        processor = world.processors[self.which % len(world.processors)]
        if type(processor) is SwitchProcessor:  # ours, which our tracer does not call but knows
            return
        before = getattr(processor, self.method)

        def after(*args: Any, **kwargs: Any) -> None:
            world.note("replaced", self.method, sorted(kwargs))
            before(*args, **kwargs)

        setattr(processor, self.method, after)


@dataclass(frozen=True)
class Change:
    """Change the provider or a tracer."""

    what: str
    tracer: int
    value: Any

    def run(self, world: World) -> None:
        value, tracer = world.make(self.value), world.tracer(self.tracer)
        if self.what == "configurator":
            world.provider._set_tracer_configurator(tracer_configurator=value)
            world.note("enabled", tracer._is_enabled())
        elif self.what == "provider's resource":
            world.provider._update_resource(value)
        elif self.what == "shutdown":
            world.call(world.provider.shutdown)
        elif self.what == "flush":
            world.note("flush", world.call(world.provider.force_flush, value))
        else:
            setattr(tracer, self.what, value)


@dataclass(frozen=True)
class Program:
    """A whole program."""

    options: dict[str, Any]
    processors: tuple[Any, ...]
    scopes: tuple[Any, ...]
    operations: tuple[Any, ...]
    seed: int


# --- values ---


class Text(str):
    """A text with a class of its own."""

    __slots__ = ()


class Level(enum.IntEnum):
    """A number with a class of its own."""

    HIGH = 3


class Described:
    """Has a text."""

    def __str__(self) -> str:
        return "described"


class Silent:
    """Has none."""


class Unprintable(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise LookupError("no text")


class Wrapped(collections.abc.Mapping[Any, Any]):
    """A mapping that is no dictionary."""

    def __init__(self, values: dict[Any, Any]) -> None:
        self.values_ = values

    def __getitem__(self, key: Any) -> Any:
        return self.values_[key]

    def __iter__(self) -> Any:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)


def chained() -> Exception:
    """Return an exception with a cause and a traceback."""
    try:
        try:
            raise KeyError("cause")
        except KeyError as cause:
            raise ValueError("effect") from cause
    except ValueError as effect:
        return effect


def remote(trace_id: int, span_id: int, is_remote: bool, flags: int, state: Any) -> Context:
    """Return a context as a propagator makes it."""
    context = SpanContext(trace_id, span_id, is_remote, TraceFlags(flags), TraceState(state))
    return trace.set_span_in_context(NonRecordingSpan(context), Context())


def context_of(world: World, which: int) -> Context:
    """Return a context in which a span of the program is current."""
    return trace.set_span_in_context(world.span(which))


def disabled_scope(scope: Any) -> Any:
    """Switch off the tracer named "b"."""
    if scope.name == "raises":
        raise LookupError("configurator")
    return sdk._TracerConfig(is_enabled=scope.name != "b")


which = st.sampled_from([-1, -1, -1, -1, 0, 0, 1, 2, 3])
flags = st.booleans()
mostly = st.sampled_from([True, True, True, False])
rarely = st.sampled_from([False, False, False, True])
small = st.integers(0, 3)
keys = st.sampled_from(["a", "b", "c", "d", "e", "http.route"])
odd_keys = keys | st.sampled_from(["", None, 5, Text("t"), Described(), Silent(), ("a",), 0, b"b"])
atoms = st.sampled_from(
    [1, "s", 2.5, True, False, None, b"b", "", "long" * 10, 2**70, float("nan"), float("inf"), Text("t" * 9),
     Level.HIGH, Described(), Silent(), Level, range(3), frozenset({1}), bytearray(b"x")]
)  # fmt: skip
values = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(odd_keys, inner, max_size=2)
    ),
    max_leaves=4,
)
simple_attributes = st.dictionaries(keys, st.sampled_from([1, "s", 2.5, True, "long" * 10, None, b"b"]), max_size=6)
attributes = (
    simple_attributes
    | st.dictionaries(odd_keys, values, max_size=4)
    | st.builds(lambda found: partial(Wrapped, found), simple_attributes)
    | st.builds(lambda found: partial(clean, found), simple_attributes)
)
no_attributes = st.none() | attributes
span_contexts = st.sampled_from(
    [
        SpanContext(7, 8, False),
        SpanContext(9, 8, True, TraceFlags(1), TraceState([("p", "q")])),
        trace.INVALID_SPAN_CONTEXT,
        SpanContext(0, 0, False, None, TraceState([("only", "state")])),
    ]
)
links = st.none() | st.lists(
    st.builds(lambda context, found: partial(Link, context, found), span_contexts, no_attributes) | st.just(None),
    max_size=3,
)
times = st.sampled_from([None, 0, 99, 123_456_789])
errors = st.sampled_from(
    [
        partial(ValueError, "wrong"),
        partial(chained),
        partial(Aborted, "stop"),
        partial(StopIteration, 3),
        partial(StopAsyncIteration, 3),
        partial(KeyError),
        partial(GeneratorExit),
        partial(KeyboardInterrupt),
        partial(RuntimeError, "generator raised StopIteration"),
        partial(Unprintable),
    ]
)
contexts = st.sampled_from(
    [
        partial(Context),
        partial(Context, {"other": 1}),
        partial(trace.set_span_in_context, trace.INVALID_SPAN, partial(Context)),
        partial(Context, {_SPAN_KEY: "no span"}),
        partial(trace.set_span_in_context, partial(NonRecordingSpan, None), partial(Context)),
        partial(trace.set_span_in_context, partial(NonRecordingSpan, "no context"), partial(Context)),
        partial(dict),
    ]
)
contexts |= st.builds(lambda which: partial(context_of, World, which), which)
contexts |= st.builds(
    lambda *args: partial(remote, *args),
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    flags,
    st.sampled_from([0, 1, 2, 3, 4, 255]),
    st.sampled_from([[], [("p", "q")]]),
)
statuses = st.sampled_from(
    [
        Status(StatusCode.OK),
        Status(StatusCode.ERROR, "d"),
        StatusCode.OK,
        StatusCode.ERROR,
        StatusCode.UNSET,
        Status(StatusCode.UNSET),
        "no status",
        None,
    ]
)
names = st.sampled_from(["n", "m", "", Text("t"), None, 5])


# --- configuration ---

simple_samplers = st.sampled_from(
    [
        sampling.ALWAYS_ON,
        sampling.DEFAULT_ON,
        sampling.ALWAYS_OFF,
        sampling.DEFAULT_OFF,
        partial(sampling.StaticSampler, sampling.Decision.RECORD_AND_SAMPLE),
        partial(sampling.StaticSampler, sampling.Decision.RECORD_ONLY),
        partial(sampling.TraceIdRatioBased, 0.5),
        partial(sampling.TraceIdRatioBased, 1.0),
        partial(sampling.TraceIdRatioBased, 0.0),
        partial(sampling.ParentBasedTraceIdRatio, 0.3),
        partial(processors.AskedSampler, World),
        partial(processors.MoodySampler, sampling.Decision.RECORD_AND_SAMPLE),
        partial(processors.RaisingSampler),
    ]
)
samplers = st.recursive(
    simple_samplers,
    lambda inner: (
        st.builds(lambda *found: partial(sampling.ParentBased, *found), inner, inner, inner, inner, inner)
        | st.builds(lambda found: partial(sampling.AlwaysRecordSampler, found), inner)
    ),
    max_leaves=5,
)
limit = st.sampled_from([2, 5, 1, 0, SpanLimits.UNSET])
limit_names = (
    "max_attributes", "max_events", "max_links", "max_span_attributes", "max_event_attributes", "max_link_attributes",
    "max_attribute_length", "max_span_attribute_length",
)  # fmt: skip
limits = st.fixed_dictionaries({}, optional=dict.fromkeys(limit_names, limit)).map(
    lambda found: partial(SpanLimits, **found)
)
id_generators = st.sampled_from(
    [
        partial(RandomIdGenerator),
        partial(processors.CountingIds, 1),
        partial(processors.CountingIds, 0),
        partial(processors.OddIds),
    ]
)
moments = st.sampled_from(["start", "ending", "end"])
processor = (
    st.sampled_from(
        [
            partial(processors.Watching, True),
            partial(processors.EndOnly),
            partial(processors.Exporting),
            partial(processors.Writing),
            partial(processors.Tracing, World),
            partial(processors.Ending),
            partial(sdk.SpanProcessor),
        ]
    )
    | st.builds(lambda way: partial(processors.Rewriting, World, way), st.sampled_from(processors.POKES))
    | st.builds(lambda *found: partial(processors.Raising, *found), moments, st.sampled_from([ValueError, Aborted]))
)
configurators = st.sampled_from([sdk._default_tracer_configurator, sdk._disable_tracer_configurator, disabled_scope])
options = st.fixed_dictionaries(
    {},
    optional={
        "sampler": samplers,
        "span_limits": limits,
        "id_generator": id_generators,
        "active_span_processor": st.just(partial(sdk.ConcurrentMultiSpanProcessor, 1)),
        "_tracer_configurator": st.just(sdk._default_tracer_configurator) | configurators,
    },
)
scopes = st.lists(
    st.sampled_from([("a",), ("b", "1.0"), ("", None), ("c", "2", "http://schema", {"q": 1}), ("raises",)]),
    min_size=1,
    max_size=3,
).map(tuple)

# --- programs ---

span_options = st.fixed_dictionaries(
    {},
    optional={
        "context": contexts,
        "kind": st.sampled_from([*SpanKind, None]),
        "attributes": no_attributes,
        "links": links,
        "start_time": times,
        "record_exception": flags,
        "set_status_on_exception": flags,
    },
)
name_argument = st.tuples(names)
changes = st.one_of(
    st.builds(Change, st.just("configurator"), small, configurators),
    st.builds(Change, st.just("provider's resource"), small, st.just(partial(Resource, {"changed": 1}))),
    st.builds(Change, st.just("resource"), small, st.just(partial(Resource, {"mine": 1}))),
    st.builds(Change, st.just("sampler"), small, samplers),
    st.builds(Change, st.just("id_generator"), small, id_generators),
    st.builds(Change, st.just("_span_limits"), small, limits),
    st.builds(Change, st.just("span_processor"), small, st.just(partial(sdk.SpanProcessor))),
    st.builds(Change, st.sampled_from(["flush", "shutdown"]), small, st.just(1000)),
)
writes = st.one_of(
    st.builds(lambda which, *args: Do(which, "set_attribute", args), which, odd_keys, values),
    st.builds(lambda which, *args: Do(which, "set_attribute", args), which, keys, atoms),
    st.builds(lambda which, *args: Do(which, "set_attributes", args), which, attributes),
    st.builds(SetAndChange, which, attributes),
    st.builds(lambda which, *args: Do(which, "add_event", args), which, names, no_attributes, times),
    st.builds(lambda which, *args: Do(which, "add_link", args), which, span_contexts, no_attributes),
    st.builds(lambda which, *args: Do(which, "set_status", args), which, statuses, st.sampled_from([None, "x"])),
    st.builds(lambda which, *args: Do(which, "update_name", args), which, names),
    st.builds(lambda which, *args: Do(which, "record_exception", args), which, errors, no_attributes, times, flags),
    st.builds(lambda which, *args: Do(which, "end", args), which, times),
    st.builds(lambda which: Do(which, "end"), which),
    st.builds(lambda which: Do(which, "start"), which),
)
reads = st.one_of(
    st.builds(Do, which, st.sampled_from(["is_recording", "__repr__", "get_span_context"])),
    st.builds(Look, which, rarely),
    st.builds(Current),
)


def as_one(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy that `one_of` takes for one of its own, whatever it is made of: each gets its share."""
    return st.tuples(strategy).map(lambda found: found[0])


rare = st.one_of(
    st.builds(Poke, which, st.sampled_from(processors.LIVE_POKES)),
    st.builds(AddProcessor, processor),
    st.builds(ReplaceMethod, which, st.sampled_from(["on_start", "_on_ending", "on_end"])),
    as_one(changes),
)


start = st.builds(Start, small, name_argument, span_options)
leaves = st.one_of(
    *map(as_one, (writes, writes, writes, reads, st.one_of(as_one(start), as_one(rare), st.builds(Raise, errors))))
)
ways = st.sampled_from(
    ["as_current", "as_current_later", "span_itself", "use_span", "decorator", "coroutine", "generator"]
)


def _nested(inner: st.SearchStrategy[Any], at_least: int) -> st.SearchStrategy[Any]:
    body = st.lists(inner, min_size=at_least, max_size=at_least + 2).map(tuple)
    scope = st.builds(Scope, ways, small, name_argument, span_options, body, mostly)
    others = st.builds(Attached, small, body, flags) | st.builds(Catch, body)
    return st.one_of(*map(as_one, (scope, scope, scope, others)))


# Left to itself, Hypothesis writes programs of two lines; these have about twenty, in spans three deep.
inner = _nested(leaves, 1)
several = st.lists(processor, max_size=3)
programs = st.builds(
    Program,
    st.just({}) | options,
    st.one_of(
        st.builds(lambda inside, others: (partial(processors.Watching, inside), *others), rarely, several),
        st.builds(lambda writes, others: (partial(processors.switched, writes), *others), flags, st.just([]) | several),
        several.map(tuple),
    ),
    scopes,
    st.lists(
        _nested(st.one_of(as_one(leaves), inner, _nested(inner | as_one(leaves), 1)), 2), min_size=2, max_size=4
    ).map(tuple),
    st.integers(0, 2**32),
)
