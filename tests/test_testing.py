"""The fixture that otel_ml gives to the tests of others."""

from __future__ import annotations

import logging

import pytest

import otel_ml
from otel_ml.testing import CapturedTelemetry

pytest_plugins = ["pytester"]


def test_spans_logs_and_durations_of_a_test_are_captured(captured_telemetry: CapturedTelemetry) -> None:
    """With ids that agree."""
    with otel_ml.run("r") as run, otel_ml.step("s"):
        logging.getLogger("app").info("hello %s", "you", extra={"rows": 3})
    span = captured_telemetry.span("s").has(attributes={"otel_ml.run.id": run.id}, status="UNSET")
    span.has(parent=captured_telemetry.span("run r"))
    record = captured_telemetry.log("hello you")
    assert (record.trace_id, record.span_id, record.attributes["rows"]) == (span.trace_id, span.span_id, 3)
    assert captured_telemetry.duration_count("otel_ml.step.duration", otel_ml__step__name="s") == 1
    assert captured_telemetry.points("no.such.metric") == []


def test_a_missing_span_or_log_is_named_with_what_there_is(captured_telemetry: CapturedTelemetry) -> None:
    """The message is enough to see what went wrong."""
    otel_ml.step("there")(lambda: 0)()
    logging.getLogger("app").warning("said")
    with pytest.raises(AssertionError, match=r"expected one span 'absent', found 0 among \['there'\]"):
        captured_telemetry.span("absent")
    with pytest.raises(AssertionError, match=r"expected one log record with 'unsaid', found 0 among \['said'\]"):
        captured_telemetry.log("unsaid")


def test_a_wrong_attribute_status_or_parent_shows_both(captured_telemetry: CapturedTelemetry) -> None:
    """Expected and found."""
    with otel_ml.step("outer"):
        otel_ml.step("inner", attributes={"k": 1})(lambda: 0)()
    inner, outer = captured_telemetry.span("inner"), captured_telemetry.span("outer")
    with pytest.raises(AssertionError, match=r"expected attributes {'k': 2}, found {'k': 1}"):
        inner.has(attributes={"k": 2})
    with pytest.raises(AssertionError, match="expected status ERROR, found UNSET"):
        inner.has(status="ERROR")
    with pytest.raises(AssertionError, match="expected parent 'inner'"):
        outer.has(parent=inner)


def test_the_fixture_comes_with_the_package(pytester: pytest.Pytester) -> None:
    """A test of somebody else asks for it by name and nothing more; each test sees its own telemetry."""
    pytester.makepyfile(
        """
        import otel_ml

        @otel_ml.step
        def clean(): return 1

        def test_one(captured_telemetry):
            clean()
            captured_telemetry.span("clean")

        def test_two(captured_telemetry):
            assert captured_telemetry.spans == []
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2)
