"""A simple record is taken in a quicker way, and nothing in its entry tells which."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from logs.running import Running, entry
from opentelemetry.sdk.trace import TracerProvider

from otel_ml import health
from otel_ml.logs import entries, simple_records
from otel_ml.logs.json_lines import LineEncoder

Run = Callable[..., Running]
ATOMS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = ATOMS | st.lists(ATOMS, max_size=2) | st.dictionaries(st.text(max_size=3), ATOMS, max_size=2)
NAMES = st.text("abc_", min_size=1) | st.sampled_from(["trace_id", "exception", "event", "service", "a b", "é"])
MESSAGES = st.sampled_from(["plain", "%s", "%r and %s", "%d", "100 %", "%(a)s"]) | st.text()
CHANGES = st.sampled_from(
    [
        {}, {"message": "m"}, {"message": "m", "asctime": "now"}, {"otelTraceID": 7}, {"otelTraceID": "z" * 32},
        {"otelRunID": 3}, {"otelTraceSampled": False}, {"exc_text": "Traceback (most recent call last):\nE"},
        {"created": float("nan")}, {"created": None}, {"funcName": None}, {"name": 5}, {"stack_info": "stack"},
    ]
)  # fmt: skip
DELETED = st.sampled_from(
    [(), ("processName",), ("processName", "exc_text"), ("otelRunID",), ("otelTraceID", "otelSpanID")]
)


def in_full(record: logging.LogRecord) -> entries.Entry:
    return entries.from_record(record, nested=False)[0]


def quickly(record: logging.LogRecord) -> entries.Entry | None:
    try:
        captured = simple_records.captured(vars(record))
    except Exception:
        return None
    return None if captured is None else simple_records.from_captured(captured)


@pytest.fixture(name="factory")
def make_factory(run_pipeline: Run) -> Callable[..., logging.LogRecord]:
    run_pipeline()
    return logging.getLogRecordFactory()


@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    MESSAGES, st.lists(VALUES, max_size=2), st.dictionaries(NAMES, VALUES, max_size=3), CHANGES, DELETED, st.booleans()
)
def test_a_simple_record_gives_the_entry_that_any_record_gives(
    factory: Callable[..., logging.LogRecord], message: str, arguments: list[Any], extra: dict[str, Any],
    changes: dict[str, Any], deleted: tuple[str, ...], in_span: bool,
) -> None:  # fmt: skip
    """Whatever was passed, and whatever filters and other handlers did to the record before."""
    with TracerProvider(shutdown_on_exit=False).get_tracer("t").start_as_current_span("s"):
        record = factory("app", 20, "/a/b.py", 7, message, tuple(arguments), None, "fit", None)
    if not in_span:
        record = factory("app", 20, "/a/b.py", 7, message, tuple(arguments), None, "fit", None)
    vars(record).update(extra)
    for name in deleted:
        vars(record).pop(name, None)
    vars(record).update(changes)
    quick = quickly(record)
    if quick is not None:
        expected = in_full(record)
        if not record.created > 0:  # the time of the look
            quick.time_ns = expected.time_ns = 0
        assert quick == expected or repr(quick) == repr(expected)  # NaN is not itself
        assert list(quick.extra) == list(expected.extra)


def test_ordinary_records_are_simple(factory: Callable[..., logging.LogRecord]) -> None:
    """They are what the quicker way is for: with and without arguments, extra, a span, or another handler before."""
    plain = factory("app", 20, "/a/b.py", 7, "plain", (), None, "fit", None)
    numbers = factory("app", 20, "/a/b.py", 7, "%s of %d: %.2f", ("a", 3, 0.5), None, "fit", None)
    with_extra = factory("app", 20, "/a/b.py", 7, "plain", (), None, "fit", None)
    vars(with_extra).update(user=7, source="s3")
    shown = factory("app", 20, "/a/b.py", 7, "plain", (), None, "fit", None)
    logging.Formatter("%(asctime)s %(message)s").format(shown)
    found = [quickly(record) for record in (plain, numbers, with_extra, shown)]
    assert [simple and simple.message for simple in found] == ["plain", "a of 3: 0.50", "plain", "plain"]
    assert [simple and simple.extra for simple in found] == [{}, {}, {"user": 7, "source": "s3"}, {}]


def test_nothing_of_the_caller_runs_for_a_simple_record(factory: Callable[..., logging.LogRecord]) -> None:
    """An object with code of its own is left to the way that guards against it, a subclass of text or number too."""

    class Own(str):
        def __format__(self, spec: str) -> str:
            raise AssertionError

        __str__ = __repr__ = lambda self: self.__format__("")

    for message, arguments, extra in (
        ("%s", (Own("a"),), {}), (Own("a"), (), {}), ("%s", ({"a": Own("a")},), {}), ("a", (), {"b": Own("a")}),
        ("a", (), {"b": [1]}), ("%s", ([1],), {}),
    ):  # fmt: skip
        record = factory("app", 20, "/a/b.py", 7, message, arguments, None, "fit", None)
        vars(record).update(extra)
        assert simple_records.captured(vars(record)) is None


def test_a_record_changed_after_the_call_is_written_as_it_was(run_pipeline: Run) -> None:
    """What waits in the queue is no record."""
    running = run_pipeline()

    class Changing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            record.msg, record.args, record.name, record.source = "changed", (), "other", "other"

    logging.getLogger().addHandler(Changing())
    logging.getLogger("app").info("value %s", 1, extra={"source": "s3"})
    (line,) = running.lines()
    assert (line["message"], line["logger"], line["source"]) == ("value 1", "app", "s3")


def test_fields_of_a_factory_below_are_extra(run_pipeline: Run) -> None:
    """What an application's own factory puts on each record is on the line, with the caller's."""

    def theirs(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = logging.LogRecord(*args, **kwargs)
        record.tenant = "a"
        return record

    logging.setLogRecordFactory(theirs)
    running = run_pipeline()
    logging.getLogger("app").info("one")
    logging.getLogger("app").info("two", extra={"user": 7})
    one, two = running.lines()
    assert (one["tenant"], two["tenant"], two["user"]) == ("a", "a", 7)
    assert health.dropped() == {}


@given(
    st.builds(
        entry,
        time_ns=st.integers(0, 2**62),
        level_name=st.text(max_size=5),
        logger=st.text(max_size=5),
        message=st.text(),
        trace_id=st.just("") | st.just("ab" * 16) | st.text(max_size=5),
        span_id=st.just("cd" * 8) | st.text(max_size=5),
        trace_flags=st.integers(0, 1),
        run_id=st.none() | st.text(max_size=5),
        extra=st.dictionaries(NAMES | st.text(max_size=3), st.integers(0, 9) | st.text(max_size=3), max_size=3),
        code=st.tuples(st.text("/ab.", max_size=5), st.text(max_size=5), st.integers(0, 9)),
    )
)
def test_a_line_put_together_from_parts_is_the_line_of_its_fields(simple: entries.Entry) -> None:
    """Lone surrogates, control characters, spoiled ids and names of ours included; each field in its place."""
    encoder, by_fields = LineEncoder("shöp"), LineEncoder("shöp")

    def refuse(_: entries.Entry) -> bytes:
        raise TypeError

    by_fields._simple = refuse  # type: ignore[method-assign]
    assert encoder.encode(simple) == encoder.encode(simple) == by_fields.encode(simple)


def test_places_that_an_encoder_remembers_are_bounded() -> None:
    """A program that makes its loggers' names up as it goes does not fill the memory."""
    encoder = LineEncoder("shop")
    for number in range(10_000):
        line = json.loads(encoder.encode(entry(logger=f"app.{number}", code=("/a/b.py", "fit", random.randrange(9)))))
        assert line["logger"] == f"app.{number}"
    assert len(encoder._places) <= 4096
