"""A span that needs no masking goes out as it is, and no other."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags

from otel_ml import conventions, redaction
from otel_ml.spans.redacting import masked
from otel_ml.tracing.provider import TracerProvider
from otel_ml.unmasked import Unmasked

STACK = "Traceback (most recent call last):\n" + "  File '/a/b.py', line 7, in fit\n" * 20 + "ValueError: no such model"
MAIL = "ann@example.com"


pytestmark = pytest.mark.usefixtures("own_redactor")


def failed(*, stack: str = STACK, description: str = "ValueError: no such model", **event: Any) -> Any:
    """Return an ended span with an exception on it."""
    span = TracerProvider().get_tracer("t").start_span("fit", attributes={"model": "churn"})
    span.add_event(event.pop("name", "exception"), {conventions.EXCEPTION_STACKTRACE: stack, **event})
    span.set_status(Status(StatusCode.ERROR, description))
    span.end()
    return span


def test_an_exception_without_anything_sensitive_costs_no_copy() -> None:
    """The same span comes back, the first time and when its texts are known, also with a stack trace never seen."""
    for number in range(3):
        span = failed(stack=f"{STACK} {number}")
        assert masked(span) is span


@pytest.mark.parametrize(
    "parts",
    [
        {"stack": f"{STACK} {MAIL}"}, {"description": MAIL}, {"name": MAIL}, {"note": MAIL}, {"password": "x"},
        {"password": STACK}, {MAIL: 1}, {"notes": [MAIL]},
    ],
)  # fmt: skip
def test_whatever_is_sensitive_in_event_or_status_is_masked(parts: dict[str, Any]) -> None:
    """Also after the same names were harmless before, and each time."""
    masked(failed(note="harmless", password=None))
    for _ in range(2):
        span = failed(**parts)
        shown = masked(span)
        assert shown is not span
        assert MAIL not in shown.to_json()
        event = shown.events[0].attributes or {}
        assert event.get("password") not in ("x", STACK)


def test_a_link_is_looked_at() -> None:
    """Links are rare, and take the longer way."""
    link = Link(SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(1)), {"to": MAIL})
    span = TracerProvider().get_tracer("t").start_span("fit", links=[link])
    span.end()
    assert MAIL not in masked(span).to_json()  # type: ignore[arg-type]


def test_long_texts_do_not_use_up_what_can_be_remembered() -> None:
    """Of a long text nothing but its name is remembered, once."""
    unmasked = Unmasked(redaction.current())
    for number in range(10_000):
        assert unmasked.covers({"stack": f"{STACK} {number}"})
    assert unmasked.covers({"model": "churn"})
    redaction.current().keep("x" * 200)
    assert unmasked.covers({"stack": "x" * 200})
    assert not unmasked.covers({"password": "x" * 200})
