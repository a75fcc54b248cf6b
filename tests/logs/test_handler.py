from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from logs.running import Running
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import TracerProvider

from otel_ml import health
from otel_ml.worker import BatchWorker

Run = Callable[..., Running]


class Raising:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Logging:
    def __repr__(self) -> str:
        logging.getLogger("app.inner").info("being %s", "shown")
        return "shown"


def test_line_has_level_logger_module_function_line_and_extra(run_pipeline: Run) -> None:
    """A line says where it comes from and carries what the caller passed in `extra`."""
    running = run_pipeline()
    logging.getLogger("app").info("loaded %d rows", 3, extra={"source": "s3", "rows": 3})
    (line,) = running.lines()
    assert (line["message"], line["level"], line["logger"]) == ("loaded 3 rows", "INFO", "app")
    assert (line["source"], line["rows"], line["service"]) == ("s3", 3, "shop")
    assert line["module"] == "test_handler"
    assert line["function"] == "test_line_has_level_logger_module_function_line_and_extra"
    assert line["line"] > 0


def test_ids_are_those_of_the_open_span_and_absent_outside(run_pipeline: Run) -> None:
    """A record carries the ids of the span that was open when it was made, and none outside a span."""
    running = run_pipeline()
    log = logging.getLogger("app")
    with TracerProvider(shutdown_on_exit=False).get_tracer("t").start_as_current_span("s") as span:
        log.info("inside")
    log.info("outside")
    inside, outside = running.lines()
    context = span.get_span_context()
    assert inside["trace_id"] == format(context.trace_id, "032x")
    assert inside["span_id"] == format(context.span_id, "016x")
    assert inside["trace_flags"] == "01"
    assert not {"trace_id", "span_id", "trace_flags", "run_id"} & outside.keys()


@pytest.mark.parametrize("arguments", [("x",), (1, 2), (Raising(),), ({"a": Raising()},)])
def test_wrong_format_still_gives_a_line_and_is_said_once(run_pipeline: Run, arguments: tuple[Any, ...]) -> None:
    """A message that cannot be formatted is written with its template; it is counted each time and warned of once."""
    running = run_pipeline()
    for _ in range(2):
        logging.getLogger("app").info("value %d", *arguments)
    counts = Counter(line["logger"] for line in running.lines())
    assert counts == {"app": 2, "otel_ml": 1}
    assert all("value %d" in line["message"] for line in running.lines() if line["logger"] == "app")
    assert health.dropped()["logs", "bad_message"] == 2


def test_raising_extra_costs_only_itself(run_pipeline: Run) -> None:
    """An extra whose text raises is replaced by its type's name; the others are written."""
    running = run_pipeline()
    logging.getLogger("app").info("here", extra={"bad": Raising(), "good": 1})
    line = running.lines()[0]
    assert (line["bad"], line["good"]) == ("<Raising>", 1)


def test_message_object_that_raises_still_gives_a_line(run_pipeline: Run) -> None:
    """A message whose own `__str__` raises becomes the name of its type."""
    running = run_pipeline()
    logging.getLogger("app").info(Raising())
    assert running.messages()[0] == "<Raising>"


def test_exception_whose_str_raises_still_has_type_and_stack_trace(run_pipeline: Run) -> None:
    """A broken exception costs its message only."""

    class BrokenError(Exception):
        def __str__(self) -> str:
            raise ValueError("no")

    running = run_pipeline()
    try:
        raise BrokenError
    except BrokenError:
        logging.getLogger("app").exception("failed")
    exception = running.lines()[0]["exception"]
    assert exception["type"].endswith("BrokenError")
    assert "__str__ raised ValueError" in exception["message"]
    assert "Traceback" in exception["stacktrace"]


def test_repr_that_logs_ends_and_loses_nothing(run_pipeline: Run) -> None:
    """A `__repr__` that logs while our handler formats gives its own line and no endless recursion."""
    running = run_pipeline()
    logging.getLogger("app").info("value %r", Logging(), extra={"also": Logging()})
    messages = running.messages()
    assert "value shown" in messages
    assert messages.count("being shown") == 2


def test_repr_that_logs_itself_ends(run_pipeline: Run) -> None:
    """A `__repr__` that logs its own object gives the outer line and a line without its text."""

    class Itself:
        def __repr__(self) -> str:
            logging.getLogger("app.inner").info("I am %r", self)
            return "itself"

    running = run_pipeline()
    logging.getLogger("app").info("value %r", Itself())
    assert sorted(running.messages()) == ["I am %r", "value itself"]


def test_nested_record_runs_no_code_of_the_caller(run_pipeline: Run) -> None:
    """What a `__repr__` logs is written as far as it goes without running further code: objects by their type."""

    class Outer:
        def __repr__(self) -> str:
            log = logging.getLogger("app.inner")
            log.info(self)
            log.info("wrong %d", "format")
            log.info("own %s", self, extra={"a": self})
            return "outer"

    running = run_pipeline()
    logging.getLogger("app").info("value %r", Outer())
    assert running.messages() == ["<Outer>", "wrong %d", "own %s", "value outer"]


def test_stack_info_is_a_field(run_pipeline: Run) -> None:
    """A stack asked for by `stack_info` is on the line."""
    running = run_pipeline()
    logging.getLogger("app").info("here", stack_info=True)
    assert "test_stack_info_is_a_field" in running.lines()[0]["stack_info"]


def test_exc_info_that_is_none_is_no_exception(run_pipeline: Run) -> None:
    """`exc_info=True` outside an exception, and an object that is no exception, give a line without one."""
    running = run_pipeline()
    logging.getLogger("app").info("one", exc_info=True)
    logging.getLogger().handle(logging.makeLogRecord({"msg": "two", "levelno": 20, "exc_info": ()}))
    logging.getLogger().handle(logging.makeLogRecord({"msg": "three", "levelno": 20, "exc_info": (1,)}))
    assert running.messages()[:3] == ["one", "two", "three"]
    assert all("exception" not in line for line in running.lines())


def test_containers_in_extra_are_written_as_they_were(run_pipeline: Run) -> None:
    """What the caller changes after the call does not show: containers are copied on the caller's thread."""
    running = run_pipeline()
    inner = [1]
    state = {"list": inner, "set": {1}}
    logging.getLogger("app").info("state", extra={"state": state, "later": inner})
    inner.append(2)
    state["new"] = 1
    line = running.lines()[0]
    assert (line["state"], line["later"]) == ({"list": [1], "set": [1]}, [1])


def test_no_table_array_or_model_is_ever_dumped(run_pipeline: Run) -> None:
    """Tables, arrays and models are described, as extra, in containers, as argument and as the message itself."""

    class Model:
        def predict(self, rows: list[float]) -> list[float]:
            return rows

        def __repr__(self) -> str:
            return "4242"

    frame = pd.DataFrame({"a": [4242] * 3})
    array = np.full(3, 4242)
    running = run_pipeline()
    log = logging.getLogger("app")
    log.info("extra", extra={"frame": frame, "array": array, "model": Model(), "nested": {"deep": [array]}})
    log.info("arguments %s %r %s %s", frame, array, [array], Model())
    log.info(frame)
    log.info("named %(frame)s", {"frame": frame})
    for line in running.lines():
        assert "4242" not in str(line)
    assert "DataFrame" in running.lines()[0]["frame"]["type"]
    assert "DataFrame" in running.messages()[2]


def test_numbers_of_numpy_are_numbers(run_pipeline: Run) -> None:
    """Numpy scalars become plain numbers, and what JSON has no number for becomes text."""
    running = run_pipeline()
    extra = {"f": np.float32(0.5), "i": np.int64(7), "b": np.bool_(True), "nan": float("nan"), "big": 2**70}
    logging.getLogger("app").info("numbers", extra=extra)
    line = running.lines()[0]
    assert (line["f"], line["i"], line["b"], line["nan"], line["big"]) == (0.5, 7, True, "NaN", hex(2**70))


def test_personal_data_is_masked_in_every_part(run_pipeline: Run) -> None:
    """Message, extra and exception text are masked before a file or an exporter sees them."""
    running = run_pipeline()
    try:
        raise ValueError("ann@example.com is unknown")
    except ValueError:
        logging.getLogger("app").exception(
            "mail %s", "ann@example.com", extra={"to": ["ann@example.com"], "password": "x1"}
        )
    assert "ann@example.com" not in str(running.lines())
    assert running.lines()[0]["password"] != "x1"
    record = running.exported()[0]
    assert "ann@example.com" not in f"{record.body} {dict(record.attributes)}"


def test_records_made_while_exporting_are_written_once_a_minute_and_never_exported(run_pipeline: Run) -> None:
    """What an exporter logs goes to the file once, is counted after that, and is not fed back into the export."""
    running = run_pipeline()

    def export(batch: list[int]) -> None:
        for item in batch:
            logging.getLogger("opentelemetry.exporter").warning("cannot reach %s", item)

    worker = BatchWorker("traces", export, queue_size=10, batch_size=10, interval=0.01)
    for item in range(5):
        worker.put(item)
    assert worker.close(30.0)
    assert running.messages() == ["cannot reach 0"]
    assert running.exported() == []
    assert health.dropped()["logs", "repeated_export_message"] == 4


def test_exporters_of_the_sdk_are_recognised_too(run_pipeline: Run) -> None:
    """A record that an SDK thread makes with instrumentation suppressed is not exported either."""
    running = run_pipeline()
    with suppress_instrumentation():
        logging.getLogger("opentelemetry.sdk.metrics").warning("export failed")
        logging.getLogger("app").warning("the application's own")
    assert running.messages() == ["export failed", "the application's own"]
    assert [record.body for record in running.exported()] == ["the application's own"]


def test_filter_that_raises_loses_no_record(run_pipeline: Run) -> None:
    """A filter that the application put on our handler may reject a record, but by raising it loses nothing."""
    running = run_pipeline()
    (handler,) = logging.getLogger().handlers

    def only_good(record: logging.LogRecord) -> bool:
        if record.getMessage() == "raise":
            raise KeyError("x")
        return record.getMessage() != "reject"

    handler.addFilter(only_good)
    for message in ("keep", "reject", "raise"):
        logging.getLogger("app").info(message)
    assert [message for message in running.messages() if not message.startswith("logs:")] == ["keep", "raise"]


def test_full_queue_drops_and_counts(run_pipeline: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that is full costs records, which are counted; the caller is not held up."""
    running = run_pipeline(queue_size=1)
    monkeypatch.setattr(running.pipeline._worker, "_start", lambda: None)  # a writer that never gets to run
    for _ in range(5):
        logging.getLogger("app").info("x")
    assert health.dropped()["logs", "queue_full"] == 4


def test_masking_that_fails_lets_nothing_through(run_pipeline: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the redactor itself fails, the line says so and holds none of the caller's text."""
    running = run_pipeline()

    class Failing:
        def text(self, value: str) -> str:
            raise RuntimeError("redactor is broken")

    monkeypatch.setattr("otel_ml.redaction.current", Failing)
    logging.getLogger("app").info("secret", extra={"key": "secret"})
    assert running.messages()[0] == "[redaction failed]"
    assert "secret" not in str(running.lines())


@pytest.mark.parametrize("spoiled", [None, 7, "abc", "z" * 32])
def test_ids_that_a_filter_spoiled_do_no_harm(run_pipeline: Run, spoiled: object) -> None:
    """Ids on the record that are no ids lose neither the line nor the exported record."""
    running = run_pipeline()
    record = logging.getLogger("app").makeRecord("app", 20, __file__, 1, "x", (), None)
    record.otelTraceID = spoiled
    logging.getLogger("app").handle(record)
    assert running.messages() == ["x"]
    assert [exported.trace_id for exported in running.exported()] == [0]


def test_bare_record_is_written(run_pipeline: Run) -> None:
    """A record with hardly anything in it, as `makeLogRecord` makes it, raises nothing and gives a line."""
    running = run_pipeline()
    logging.getLogger().handle(logging.makeLogRecord({"msg": "bare", "levelno": 20, "created": float("nan")}))
    assert running.messages() == ["bare"]


def test_huge_record_is_bounded(run_pipeline: Run) -> None:
    """Ten megabytes of message, extra or exception text become a line of some hundred kilobytes, head and tail kept."""
    running = run_pipeline()
    huge = f"head {'x' * 10_000_000} tail"
    try:
        raise ValueError(huge)
    except ValueError:
        logging.getLogger("app").exception("%s", huge, extra={"a": huge, "b": [huge]})
    (line,) = running.lines()
    assert len(str(line)) < 500_000
    assert line["message"].startswith("head xxx")


def test_record_from_another_process_keeps_its_ids_and_rendered_stack_trace(run_pipeline: Run) -> None:
    """A record that came through a queue, with its exception rendered to text, is written with what it has."""
    running = run_pipeline()
    fields = {
        "name": "app", "levelno": 40, "levelname": "ERROR", "msg": "failed", "otelTraceID": f"{7:032x}",
        "otelSpanID": f"{8:016x}", "otelTraceSampled": True,
        "exc_text": "Traceback (most recent call last):\nKeyError: 1",
    }  # fmt: skip
    logging.getLogger("app").handle(logging.makeLogRecord(fields))
    (line,) = running.lines()
    assert (line["trace_id"], line["span_id"]) == (f"{7:032x}", f"{8:016x}")
    assert line["exception"] == {"stacktrace": "Traceback (most recent call last):\nKeyError: 1"}
