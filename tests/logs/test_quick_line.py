"""A line made where a record is logged is the line that the listener makes of the same record."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from logs.running import read_lines
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otel_ml import health, redaction
from otel_ml.logs import LogPipeline, simple_records, start
from otel_ml.logs.json_lines import LineEncoder
from otel_ml.logs.listener import Listener
from otel_ml.logs.places import Places
from otel_ml.logs.quick_line import NAMES
from otel_ml.options import Logs, Redaction
from otel_ml.redaction import Redactor

ATOMS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
MESSAGES = st.sampled_from(["plain", "%s", "%r and %s", "%d", "100 %", 'a\x7f\u2028\x85\n"\\b']) | st.text()
USUAL: dict[str, Any] = {
    **dict.fromkeys(NAMES), "name": "app", "levelname": "INFO", "levelno": 20, "pathname": "/a/b.py", "lineno": 7,
    "funcName": "fit", "created": 1_795_365_588.123456, "args": (), "msg": "plain", "otelTraceID": "0",
    "otelSpanID": "0", "otelTraceSampled": False, "otelRunID": "",
}  # fmt: skip


class Lines:
    """A listener whose lines are kept, and the places that it tells of."""

    def __init__(self) -> None:
        encoder = LineEncoder("shöp")
        self.places = Places(encoder)
        self.made: list[bytes] = []
        self._listener = Listener([(encoder.encode, [self.made.extend])], None, self.places)

    def by_listener(self, fields: dict[str, Any]) -> bytes:
        """Return the line that the listener makes."""
        taken = simple_records.captured(fields)
        assert taken is not None
        self._listener.consume([taken])
        return self.made.pop()


pytestmark = pytest.mark.usefixtures("own_redactor")


@given(
    st.fixed_dictionaries(
        {
            "created": st.floats(0.001, 2**33 - 1),
            "msg": MESSAGES,
            "args": st.lists(ATOMS, max_size=2).map(tuple),
            "name": st.text(max_size=5),
            "levelname": st.text(max_size=5),
            "pathname": st.text("/ab.é\x85", max_size=5),
            "funcName": st.text(max_size=5),
            "lineno": st.integers(0, 10**6) | st.booleans(),
            "otelTraceID": st.sampled_from(["0", "ab" * 16, "é" * 32, '"' * 32]),
            "otelSpanID": st.just("cd" * 8) | st.text(max_size=5),
            "otelTraceSampled": st.booleans(),
            "otelRunID": st.just("") | st.text(max_size=5),
        }
    )
)
@example({"created": 951_782_400.0, "msg": "leap day"})
@example({"created": 4_107_542_399.999999, "msg": "the last moment of a February without one"})
@example({"created": 0.000001, "msg": "the first"})
@example({"msg": "".join(map(chr, range(0x180))) + "\u2027\u2028\u2029\u202a\U0001f600"})
@example({"lineno": True})
def test_it_is_the_line_that_the_listener_makes(changes: dict[str, Any]) -> None:
    """Every byte of it: whatever the texts, the time and the ids, escapes and characters that end a line included."""
    fields = {**USUAL, **changes}
    lines = Lines()
    try:
        expected = lines.by_listener(fields)
    except (TypeError, ValueError):  # the message's format is wrong
        return
    made = lines.places.line(fields)
    assert made in (None, expected)
    assert lines.by_listener(fields) == expected


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)), st.sampled_from(["0", "ab" * 16]), st.booleans())
def test_ordinary_records_are_made_here_from_the_second_on(text: str, trace_id: str, sampled: bool) -> None:
    """In a span or outside one, sampled or not: when their text is known to hold nothing that is masked."""
    lines = Lines()
    fields = {**USUAL, "msg": text, "otelTraceID": trace_id, "otelSpanID": "cd" * 8, "otelTraceSampled": sampled}
    assert lines.places.line(fields) is None
    expected = lines.by_listener(fields)
    shapes = redaction.current().shapes
    known = text.encode().translate(bytes.maketrans(b"123456789", b"000000000"))
    if shapes is not None and shapes.get(known) == 0:
        assert lines.places.line(fields) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"user": 7}, {"message": "m"}, {"exc_info": (None, None, None)}, {"exc_text": "text"}, {"stack_info": "stack"},
        {"args": ([],)}, {"args": {"a": 1}}, {"msg": 7}, {"created": 1}, {"created": float("nan")}, {"created": -1.0},
        {"lineno": True}, {"lineno": None}, {"funcName": None}, {"name": 5}, {"levelname": None}, {"otelRunID": None},
        {"otelTraceID": 7}, {"otelTraceID": "z" * 31}, {"otelTraceID": "a" * 32, "otelTraceSampled": 1},
        {"otelTraceID": "a" * 32, "otelSpanID": "-"}, {"otelRunID": 'a"'}, {"otelRunID": "é"}, {"msg": "\ud800"},
        {"msg": "x" * 70_000}, {"msg": "write to ann@example.com"}, {"msg": "password=%s", "args": ("hunter2",)},
        {"msg": "card 4111 1111 1111 1111"}, {"msg": "unlike any before"},
    ],
)  # fmt: skip
def test_whatever_is_not_ordinary_is_left_to_the_listener(changes: dict[str, Any]) -> None:
    """Extra, exceptions, objects, fields that somebody changed, and every text that may hold what is masked."""
    lines = Lines()
    lines.by_listener(USUAL)
    assert lines.places.line(USUAL) is not None
    assert lines.places.line({**USUAL, **changes}) is None
    shorter = dict(USUAL)
    shorter.pop("processName")
    assert lines.places.line(shorter) is None
    assert lines.places.line({**shorter, "other": None}) is None


@pytest.mark.parametrize(
    "options",
    [Redaction(patterns=("plain",)), Redaction(callback=lambda key, value: value), Redaction(keys=("plain",))],
)
def test_what_was_found_belongs_to_the_redactor_in_force(options: Redaction) -> None:
    """With another redactor nothing is known any more, and with rules of the user's own nothing ever is."""
    lines = Lines()
    lines.by_listener(USUAL)
    redaction.use(Redactor(options))
    assert lines.places.line(USUAL) is None
    expected = lines.by_listener(USUAL)
    assert lines.places.line(USUAL) == (expected if options.keys else None)


def test_without_masking_any_text_is_ordinary() -> None:
    """When masking is switched off, nothing needs to be known of a text."""
    redaction.use(Redactor.off())
    lines = Lines()
    lines.by_listener(USUAL)
    other = {**USUAL, "msg": "password=hunter2"}
    made = lines.places.line(other)
    assert made is not None
    assert made == lines.by_listener(other)


def test_places_are_bounded() -> None:
    """A program that makes its loggers' names up as it goes does not fill the memory."""
    lines = Lines()
    for number in range(5000):
        lines.by_listener({**USUAL, "lineno": number})
    assert len(lines.places._now[1]) <= 4096


Start = Callable[..., LogPipeline]


@pytest.fixture(name="begin")
def make_begin(tmp_path: Path, clean_logging: None) -> Iterator[Start]:
    """Start a pipeline that writes to a file, and only there unless told otherwise."""
    started: list[LogPipeline] = []

    def begin(**options: Any) -> LogPipeline:
        root = logging.getLogger()
        root.handlers = [handler for handler in root.handlers if not type(handler).__module__.startswith("_pytest")]
        exporter = options.pop("exporter", None)
        started.append(
            start(
                Logs(**{"format": "none", **options}), service="shop", resource=Resource({}), directory=tmp_path,
                exporter=exporter, set_level=True,
            )
        )  # fmt: skip
        return started[-1]

    yield begin
    for pipeline in started:
        pipeline.close(30.0)


def queued(pipeline: LogPipeline, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list to which everything is added that waits for the listener from now on."""
    seen: list[Any] = []
    put = pipeline._handler._put
    monkeypatch.setattr(pipeline._handler, "_put", lambda item: (seen.append(item), put(item)))
    return seen


def test_a_logger_in_use_queues_lines_in_the_order_of_its_calls(
    begin: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each record is written once, in order, whichever way it goes, with the ids of the span that it was made in."""
    pipeline = begin()
    seen = queued(pipeline, monkeypatch)
    log = logging.getLogger("app")
    with TracerProvider(shutdown_on_exit=False).get_tracer("t").start_as_current_span("s") as span:
        for number in range(6):
            log.info("step %d", number)
            log.info("step %d of %s", number, "six", extra={"rows": number} if number % 2 else None)
            if number == 0:
                assert pipeline.flush(30.0)
    assert pipeline.flush(30.0)
    assert [type(item) is bytes for item in seen] == [False, False, *[True, False, True, True] * 2, True, False]
    written = read_lines(tmp_path)
    assert [line["message"] for line in written] == [
        text for number in range(6) for text in (f"step {number}", f"step {number} of six")
    ]
    assert {line["span_id"] for line in written} == {format(span.get_span_context().span_id, "016x")}
    assert [list(line) for line in written if "rows" not in line] == [list(written[0])] * 9
    assert health.dropped() == {}


def test_lines_are_made_by_the_listener_where_more_than_lines_is_wanted(
    begin: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an exporter, or with text for people beside the file, records go on as entries."""
    exporter = InMemoryLogRecordExporter()
    pipeline = begin(exporter=exporter)
    seen = queued(pipeline, monkeypatch)
    for _ in range(2):
        logging.getLogger("app").info("step")
        assert pipeline.flush(30.0)
    assert [type(item) for item in seen] == [tuple, tuple]
    assert [record.log_record.body for record in exporter.get_finished_logs()] == ["step", "step"]
    pipeline.close(30.0)
    shown = begin(format="console")
    assert shown._handler._places is None


def test_a_handler_of_the_applications_gets_the_record(begin: Start, tmp_path: Path) -> None:
    """What is a line for us is a record, with every field, for everybody else."""
    got: list[logging.LogRecord] = []

    class Collecting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            got.append(record)

    pipeline = begin()
    log = logging.getLogger("app")
    log.addHandler(Collecting())
    for _ in range(3):
        log.info("step %d", 1)
        assert pipeline.flush(30.0)
    assert [record.getMessage() for record in got] == ["step 1"] * 3
    assert [set(vars(record)) for record in got] == [set(NAMES)] * 3
    assert len(read_lines(tmp_path)) == 3


def test_many_threads_lose_and_tear_nothing(begin: Start, tmp_path: Path) -> None:
    """Threads that log at once while places become known have each record written once, whole, in their order."""
    pipeline = begin(queue_size=100_000)
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        log = logging.getLogger(f"worker.{number}")
        barrier.wait(30.0)
        for step in range(300):
            log.info("step %d", step)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    assert pipeline.flush(30.0)
    written = read_lines(tmp_path)
    for number in range(8):
        own = [line["message"] for line in written if line["logger"] == f"worker.{number}"]
        assert own == [f"step {step}" for step in range(300)]
    assert health.dropped() == {}
