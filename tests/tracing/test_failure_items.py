"""An exception that is put on a span the short way leaves what `set_status` and `add_event` leave."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.trace import StatusCode
from tracing.worlds import LockedProvider

from otel_ml.clean_attributes import CleanAttributes
from otel_ml.instruments import Instruments, instruments
from otel_ml.operations import record_failure
from otel_ml.tracing import failure_items
from otel_ml.tracing.provider import TracerProvider

VALUES = {"exception.type": "ValueError", "exception.message": "no", "exception.stacktrace": "Traceback ..."}
LOGGER = logging.getLogger("tests.failure_items")


def started(limits: SpanLimits | None = None, make: Any = TracerProvider) -> Any:
    provider = make(shutdown_on_exit=False, span_limits=limits or SpanLimits())
    return provider.get_tracer("test").start_span("call", attributes={"a": 1})


def put_generally(span: Any, description: str, values: dict[str, Any]) -> None:
    span.set_status(StatusCode.ERROR, description)
    span.add_event("exception", CleanAttributes(values))


def fields(value: object) -> dict[str, Any]:
    """Return what an object holds, but for its locks and the time of an event."""
    return {name: held for name, held in vars(value).items() if name not in ("_lock", "_timestamp")}


def seen(span: Any) -> dict[str, Any]:
    """Return all that can be told of an exception on a span, private parts included."""
    events = [(fields(event), event.timestamp, fields(event.attributes)) for event in span.events]
    held = span._events
    return {
        "status": (type(span.status), fields(span.status)),
        "events": [
            (
                {**event, "_attributes": (type(event["_attributes"]), dict(event["_attributes"]))},
                abs(time.time_ns() - at) < 60e9,
                {**attributes, "_dict": list(attributes["_dict"].items())},
            )
            for event, at, attributes in events
        ],
        "held": (type(held), list(fields(held)) and (held.dropped, held._dq.maxlen, len(held._dq))),
        "dropped": span.dropped_events,
        "attributes": dict(span.attributes),
    }


limits = st.builds(
    SpanLimits,
    max_events=st.sampled_from([None, 0, 1, 2, 128]),
    max_event_attributes=st.sampled_from([None, 0, 2, 3, 128]),
    max_attribute_length=st.sampled_from([None, None, 3]),
)


@given(limits, st.text(max_size=20), st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=8), max_size=4))
def test_it_leaves_what_the_general_way_leaves(limits: SpanLimits, description: str, values: dict[str, Any]) -> None:
    """Whatever the limits, down to the private parts."""
    short, general = started(limits), started(limits)
    short.put_failure(description, dict(values))
    put_generally(general, description, values)
    assert seen(short) == seen(general)


def test_the_short_way_is_the_one_in_use() -> None:
    """No lock is made for it, and the attributes are the very ones that were given."""
    values = dict(VALUES)
    span = started()
    span.put_failure("ValueError: no", values)
    assert failure_items.IS_KNOWN and span._slow_lock is None
    assert span.events[0].attributes._dict is values


def test_what_was_put_goes_on_as_any_other_event() -> None:
    """It is immutable, later events come behind it, and the oldest goes where there is no room."""
    span = started(SpanLimits(max_events=2))
    span.put_failure("ValueError: no", dict(VALUES))
    with pytest.raises(TypeError):
        span.events[0].attributes["more"] = 1
    span.add_event("second")
    assert [event.name for event in span.events] == ["exception", "second"]
    span.add_event("third")
    assert [event.name for event in span.events] == ["second", "third"] and span.dropped_events == 1
    span.set_status(StatusCode.OK)
    span.end()
    assert span.status.status_code is StatusCode.OK


def before_nothing(span: Any) -> None:
    """Leave the span as it is."""


def before_event(span: Any) -> None:
    span.add_event("first", {"b": 2})


def before_slow_write(span: Any) -> None:
    span.add_link(span.get_span_context())


def before_ok(span: Any) -> None:
    span.set_status(StatusCode.OK)


def before_error(span: Any) -> None:
    span.set_status(StatusCode.ERROR, "earlier")


def before_end(span: Any) -> None:
    span.end()


@pytest.mark.parametrize("make", [TracerProvider, LockedProvider])
@pytest.mark.parametrize(
    "before", [before_nothing, before_event, before_slow_write, before_ok, before_error, before_end]
)
def test_a_span_that_is_not_as_most_are_takes_the_general_way(
    make: Any, before: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Events, a lock, a status that was set before, an end: the same is left, and the same is said."""
    told = []
    spans = [started(make=make), started(make=make)]
    for span, put in zip(spans, (type(spans[0]).put_failure, put_generally), strict=True):
        before(span)
        caplog.clear()
        put(span, "ValueError: no", dict(VALUES))
        told.append(caplog.messages)
    assert seen(spans[0]) == seen(spans[1])
    assert told[0] == told[1] and bool(told[0]) == (before is before_end)


def test_a_release_with_other_names_is_given_what_its_constructors_make(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then there is no room for an event that is made here."""
    assert failure_items.room_for_event(SpanLimits()) == 128
    monkeypatch.setattr(failure_items, "IS_KNOWN", False)
    assert failure_items.room_for_event(SpanLimits()) == -1
    span = started()
    span.put_failure("ValueError: no", dict(VALUES))
    assert span._slow_lock is not None and span.events[0].attributes == VALUES
    assert type(span.events[0].attributes) is BoundedAttributes


class Wrapped:
    """A span of somebody else, which has the names of ours."""

    def __init__(self, span: Any) -> None:
        self.span = span
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.calls.append(name)
        return getattr(self.span, name)


def test_a_failure_is_put_on_a_foreign_span_by_the_methods_of_the_api() -> None:
    """A wrapper may have other ideas of a status and of events; so only the very class of our spans is known."""
    wrapped = Wrapped(started())
    record_failure(wrapped, ValueError("no"), LOGGER, "call", {})  # type: ignore[arg-type]
    assert wrapped.calls == ["set_attribute", "set_status", "add_event"]
    assert wrapped.span.events[0].attributes["exception.message"] == "no"


def test_a_failure_is_put_on_our_span_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the instruments of the tracer that it is of."""
    provider = TracerProvider(shutdown_on_exit=False)
    bound = Instruments()
    bound.bind(tracer_provider=provider)
    monkeypatch.setattr(instruments, "starter", bound.starter)
    span: Any = bound.tracer.start_span("call")
    record_failure(span, ValueError("no"), LOGGER, "call", {})
    assert span._slow_lock is None and span.status.description == "ValueError: no"
    assert span.events[0].attributes["exception.type"] == "ValueError"
