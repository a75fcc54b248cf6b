"""Processors, samplers and id generators as applications write them, for the random programs."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Event, ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult, StaticSampler
from opentelemetry.trace import Status, StatusCode, TraceState
from tracing.worlds import World, picture, plain

from otel_ml.tracing.switch import SwitchProcessor


class Watching(SpanProcessor):
    """Keeps what it is given at each moment, and looks again at the end.

    Args:
        inside: Whether it looks at private names of spans that have not ended.
    """

    def __init__(self, inside: bool) -> None:
        self.inside = inside
        self.seen: list[Any] = []
        self.given: list[ReadableSpan] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        parent = None if parent_context is None else sorted(map(str, parent_context))
        self.seen.append(("start", isinstance(span, Span), picture(span, inside=self.inside), parent))

    def _on_ending(self, span: Span) -> None:
        self.seen.append(("ending", isinstance(span, Span), picture(span, inside=self.inside)))

    def on_end(self, span: ReadableSpan) -> None:
        self.given.append(span)
        self.seen.append(("end", type(span).__name__, picture(span)))

    def findings(self) -> list[Any]:
        return [*self.seen, "and later", *map(picture, self.given)]


def switched(writes: bool) -> SwitchProcessor:
    """Return our own processor, which our tracer does not call but knows: its emitters get the span itself."""
    seen: list[Any] = []
    given: list[ReadableSpan] = []

    def start(span: Any, parent_context: Context | None) -> None:
        seen.append(("start", picture(span, inside=False), parent_context is None))
        if writes:
            span.set_attribute("run", "nightly")

    def emit(span: ReadableSpan) -> None:
        seen.append(("end", without_recording(span)))
        given.append(span)

    processor: Any = SwitchProcessor((start,), (emit,), ())
    processor.findings = lambda: [*seen, "and later", *map(without_recording, given)]
    return processor  # type: ignore[no-any-return]


def without_recording(span: ReadableSpan) -> Any:
    return {key: value for key, value in picture(span).items() if key != "recording"}


class EndOnly(SpanProcessor):
    """Has only the method that most have."""

    def __init__(self) -> None:
        self.given: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.given.append(span)

    def findings(self) -> list[Any]:
        return [picture(span) for span in self.given]


class Exporter(SpanExporter):
    """Keeps pictures of what is exported."""

    def __init__(self) -> None:
        self.exported: list[Any] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.exported += map(picture, spans)
        return SpanExportResult.SUCCESS


class Exporting(SimpleSpanProcessor):
    """The SDK's simple processor."""

    def __init__(self) -> None:
        self.exporter = Exporter()
        super().__init__(self.exporter)

    def findings(self) -> list[Any]:
        return self.exporter.exported


class Writing(SpanProcessor):
    """Writes to each span at each moment, by the public methods."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        span.set_attribute("at start", parent_context is None)
        span.set_attributes({"a": "overwritten", "tenant": 7})
        span.add_event("started", {"n": 1})
        span.update_name(f"{span.name}!")

    def _on_ending(self, span: Span) -> None:
        span.set_attribute("at ending", 1)
        span.add_event("ending")
        span.set_status(Status(StatusCode.ERROR, "at ending"))


class Rewriting(SpanProcessor):
    """Changes what others export, in one of the ways that are known from the field."""

    def __init__(self, world: World, way: str) -> None:
        self.world = world
        self.way = way

    def on_end(self, span: ReadableSpan) -> None:
        self.world.call(poke, span, self.way)


class Raising(SpanProcessor):
    """Breaks its promise not to raise."""

    def __init__(self, moment: str, kind: type[BaseException]) -> None:
        self.moment = moment
        self.kind = kind

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self._raise("start")

    def _on_ending(self, span: Span) -> None:
        self._raise("ending")

    def on_end(self, span: ReadableSpan) -> None:
        self._raise("end")

    def _raise(self, moment: str) -> None:
        if moment == self.moment:
            raise self.kind(f"processor at {moment}")


def in_pool() -> bool:
    """Whether the only thread of the SDK's concurrent processor runs this: what needs it again would wait for ever."""
    return threading.current_thread().name.startswith("ThreadPoolExecutor")


class Tracing(SpanProcessor):
    """Starts and ends spans of its own inside its methods."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.busy = False

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self._trace("inside start")

    def on_end(self, span: ReadableSpan) -> None:
        self._trace("inside end")

    def _trace(self, name: str) -> None:
        if self.busy or in_pool():
            return
        self.busy = True
        try:
            with self.world.provider.get_tracer("processor").start_as_current_span(name):
                pass
        finally:
            self.busy = False


class Ending(SpanProcessor):
    """Ends each span as soon as it has started."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if not in_pool():
            span.end(77)


POKES = (
    "set _attributes", "set _attributes._dict", "replace _attributes", "bound _attributes", "delete _attributes",
    "set _name", "set _status", "replace _events", "append _events", "replace _links", "set _end_time",
    "set _start_time", "set _resource", "set _kind", "set _parent", "set _context",
)  # fmt: skip
# Not of a live span: the SDK's own `end` fails on a dictionary; and the resource is the tracer's, for all its spans.
LIVE_POKES = tuple(sorted({*POKES} - {"replace _attributes", "set _end_time", "set _resource"}))


def poke(span: Any, way: str) -> None:
    """Change a span behind its back."""
    if not isinstance(span, ReadableSpan):
        return
    verb, name = way.split(" ", 1)
    if way == "set _attributes":
        span._attributes["poked"] = [1]  # type: ignore[index]
    elif way == "set _attributes._dict":
        span._attributes._dict["poked"] = "inside"  # type: ignore[union-attr]
    elif way == "delete _attributes":
        del span._attributes["a"]  # type: ignore[union-attr]
    elif verb == "append":
        if span.events:  # else the SDK has a list there, and ours none
            span._events.append(Event("poked", {"n": 1}, 5))  # type: ignore[attr-defined]
    else:
        replacements: dict[str, Any] = {
            "replace _attributes": {"replaced": 1, **(span.attributes or {})},
            "bound _attributes": BoundedAttributes(2, dict(span.attributes or {}), immutable=False),
            "set _name": "poked",
            "set _status": Status(StatusCode.ERROR, "poked"),
            "replace _events": [Event("only", {"n": 2}, 6)],
            "replace _links": (),
            "set _end_time": 88,
            "set _start_time": 11,
            "set _resource": span.resource.merge(type(span.resource)({"poked": True})),
            "set _kind": trace.SpanKind.CONSUMER,
            "set _parent": None,
            "set _context": trace.SpanContext(21, 22, False, trace.TraceFlags(1), TraceState([("po", "ked")])),
        }
        setattr(span, name, replacements[way])


class AskedSampler(Sampler):
    """Decides by the trace id, adds attributes and a state, and notes what it was asked."""

    def __init__(self, world: World) -> None:
        self.world = world

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: Any = None,
        attributes: Any = None,
        links: Any = None,
        trace_state: Any = None,
    ) -> SamplingResult:
        parent = None if parent_context is None else type(parent_context).__name__
        self.world.note("asked", parent, trace_id, plain(name), plain(kind), plain(attributes), len(links or ()))
        decision = list(Decision)[trace_id % 3]
        return SamplingResult(decision, {"sampler": "asked", **(attributes or {})}, TraceState([("k", "v")]))

    def get_description(self) -> str:
        return "asked"


class MoodySampler(StaticSampler):
    """A sub-class of a sampler that everybody thinks to know."""

    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        result = super().should_sample(*args, **kwargs)
        result.attributes = {**result.attributes, "moody": True}  # type: ignore[assignment]
        return result


class RaisingSampler(Sampler):
    """Raises for some trace ids."""

    def should_sample(self, parent_context: Any, trace_id: int, *args: Any, **kwargs: Any) -> SamplingResult:
        if trace_id % 2:
            raise LookupError("sampler")
        return SamplingResult(Decision.RECORD_AND_SAMPLE)

    def get_description(self) -> str:
        return "raising"


class CountingIds(IdGenerator):
    """Ids that are not random, and no valid ones at first if it starts at zero."""

    def __init__(self, start: int) -> None:
        self.last = start - 1

    def generate_span_id(self) -> int:
        self.last += 1
        return self.last

    generate_trace_id = generate_span_id


class OddIds(RandomIdGenerator):
    """A sub-class of the generator that everybody thinks to know."""

    def generate_span_id(self) -> int:
        return super().generate_span_id() | 1
