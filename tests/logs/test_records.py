from __future__ import annotations

import copy
import logging
import logging.config
import logging.handlers
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn.config
from logs.running import Running
from opentelemetry.instrumentation.logging import LoggingInstrumentor
from opentelemetry.sdk.trace import TracerProvider

from otel_ml import health

Run = Callable[..., Running]

# What Hydra's default `job_logging` resolves to, with its output directory as a parameter.
HYDRA_JOB_LOGGING: dict[str, Any] = {
    "version": 1,
    "formatters": {"simple": {"format": "[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"}},
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "simple", "stream": "ext://sys.stdout"},
        "file": {"class": "logging.FileHandler", "formatter": "simple", "filename": None},
    },
    "root": {"level": "INFO", "handlers": ["console", "file"]},
    "disable_existing_loggers": False,
}


class Collecting(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def _by_dict_config(tmp_path: Path) -> None:
    logging.config.dictConfig(
        {"version": 1, "root": {"level": "INFO", "handlers": []}, "disable_existing_loggers": False}
    )


def _by_hydra(tmp_path: Path) -> None:
    config = copy.deepcopy(HYDRA_JOB_LOGGING)
    config["handlers"]["file"]["filename"] = str(tmp_path / "main.txt")
    logging.config.dictConfig(config)


def _by_file_config(tmp_path: Path) -> None:
    path = tmp_path / "logging.ini"
    path.write_text(
        "[loggers]\nkeys=root\n[handlers]\nkeys=h\n[formatters]\nkeys=\n[logger_root]\nlevel=INFO\nhandlers=h\n"
        "[handler_h]\nclass=NullHandler\nargs=()\n"
    )
    logging.config.fileConfig(path, disable_existing_loggers=False)


def _by_basic_config(tmp_path: Path) -> None:
    logging.basicConfig(force=True, level=logging.INFO, handlers=[logging.NullHandler()])


def _by_clear(tmp_path: Path) -> None:
    logging.getLogger().handlers.clear()


@pytest.mark.parametrize("take_off", [_by_dict_config, _by_hydra, _by_file_config, _by_basic_config, _by_clear])
def test_records_arrive_once_after_handlers_were_taken_off(
    run_pipeline: Run, tmp_path: Path, take_off: Callable[[Path], None]
) -> None:
    """Whatever takes our handler off the root logger or closes it, the very next record is written, and only once."""
    running = run_pipeline()
    log = logging.getLogger("app.part")
    log.info("before")
    for round_number in range(2):
        take_off(tmp_path)
        log.info("after %d", round_number)
        log.info("again %d", round_number)
    assert running.messages() == ["before", "after 0", "again 0", "after 1", "again 1"]


def test_logger_that_keeps_its_records_is_heard(run_pipeline: Run) -> None:
    """A logger with handlers of its own that does not propagate, as mlflow's, is written, once."""
    running = run_pipeline()
    log = logging.getLogger("mlflow_like")
    log.addHandler(Collecting())
    log.propagate = False
    log.setLevel(logging.INFO)
    logging.getLogger("mlflow_like.deep.child").info("from a child")
    log.info("own")
    assert running.messages() == ["from a child", "own"]


def test_propagation_switched_on_later_writes_nothing_twice(run_pipeline: Run) -> None:
    """A logger that got our handler because it did not propagate, and later does, is written once, and back again."""
    running = run_pipeline()
    outer, inner = logging.getLogger("outer"), logging.getLogger("outer.inner")
    for log in (outer, inner):
        log.addHandler(Collecting())
        log.propagate = False
        log.warning("alone %s", log.name)
    inner.propagate = True
    inner.warning("to outer")
    outer.propagate = True
    inner.warning("to root")
    inner.propagate = False
    inner.warning("alone again")
    assert running.messages() == ["alone outer", "alone outer.inner", "to outer", "to root", "alone again"]


def test_silenced_logger_stays_silent(run_pipeline: Run) -> None:
    """A logger that was silenced (no propagation, nothing but a NullHandler) is left alone."""
    running = run_pipeline()
    log = logging.getLogger("silenced")
    log.addHandler(logging.NullHandler())
    log.propagate = False
    log.error("not for anyone")
    logging.getLogger("silenced.child").error("nor this")
    loud = logging.getLogger("silenced.loud")
    loud.addHandler(Collecting())
    loud.error("this one is shown by its own handler")
    log.error("still silent")
    assert running.messages() == ["this one is shown by its own handler"]


def test_uvicorn_configuration_is_heard(run_pipeline: Run) -> None:
    """After uvicorn's own LOGGING_CONFIG, records of its server and access loggers are written once."""
    running = run_pipeline()
    logging.getLogger("uvicorn.error")  # made before: dictConfig treats existing loggers differently
    logging.config.dictConfig(copy.deepcopy(uvicorn.config.LOGGING_CONFIG))
    logging.getLogger("uvicorn.error").info("started")
    access = ("127.0.0.1:1", "GET", "/", "1.1", 200)
    logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', *access)
    logging.getLogger("app").info("own")
    assert running.messages() == ["started", '127.0.0.1:1 - "GET / HTTP/1.1" 200', "own"]


def test_application_handlers_see_the_ids_of_the_contrib_instrumentation(run_pipeline: Run) -> None:
    """Formats with the names of opentelemetry-instrumentation-logging work in the application's own handlers."""
    collecting = Collecting()
    run_pipeline()
    log = logging.getLogger("app")
    log.addHandler(collecting)
    with TracerProvider(shutdown_on_exit=False).get_tracer("t").start_as_current_span("s") as span:
        log.warning("inside")
    log.warning("outside")
    text = "%(otelTraceID)s %(otelSpanID)s %(otelTraceSampled)s %(otelServiceName)s [%(otelRunID)s]"
    inside, outside = (logging.Formatter(text).format(record) for record in collecting.records)
    context = span.get_span_context()
    assert inside == f"{context.trace_id:032x} {context.span_id:016x} True shop []"
    assert outside == "0 0 False shop []"


def test_instrumentation_of_the_application_is_left_alone(run_pipeline: Run, clean_logging: None) -> None:
    """An application that instrumented logging itself, without ids, keeps its hook and gets ids; closing keeps it."""
    hooked: list[str] = []
    instrumentor = LoggingInstrumentor()
    instrumentor.instrument(
        enable_log_auto_instrumentation=False, log_hook=lambda span, record: hooked.append(record.getMessage())
    )
    theirs = logging.getLogRecordFactory()
    running = run_pipeline()
    with TracerProvider(shutdown_on_exit=False).get_tracer("t").start_as_current_span("s") as span:
        logging.getLogger("app").info("hello")
    assert running.lines()[0]["span_id"] == format(span.get_span_context().span_id, "016x")
    assert hooked == ["hello"]
    running.pipeline.close(30.0)
    assert instrumentor.is_instrumented_by_opentelemetry
    assert logging.getLogRecordFactory() is theirs


def test_closing_puts_everything_back(run_pipeline: Run, clean_logging: None) -> None:
    """After close, factory, handlers, level and instrumentation are as before, and later records go nowhere of ours."""
    factory = logging.getLogRecordFactory()
    log = logging.getLogger("owner")
    log.addHandler(Collecting())
    log.propagate = False
    running = run_pipeline(level="DEBUG")
    log.warning("heard")
    assert logging.getLogger().level == logging.DEBUG
    assert running.pipeline.close(30.0)
    assert running.pipeline.close(30.0)
    assert logging.getLogRecordFactory() is factory
    assert not LoggingInstrumentor().is_instrumented_by_opentelemetry
    assert logging.getLogger().level == logging.WARNING
    assert [type(handler) for handler in log.handlers] == [Collecting]
    assert logging.getLogger().handlers == []
    log.warning("not heard")
    assert running.messages() == ["heard"]


def test_factory_set_by_the_application_meanwhile_survives_closing(run_pipeline: Run, clean_logging: None) -> None:
    """A record factory that the application wrapped around ours stays after close and works; a new start works too."""
    running = run_pipeline()
    ours = logging.getLogRecordFactory()

    def theirs(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = ours(*args, **kwargs)
        record.tenant = "a"
        return record

    logging.setLogRecordFactory(theirs)
    logging.getLogger("app").info("one")
    assert running.lines()[0]["tenant"] == "a"
    running.pipeline.close(30.0)
    assert logging.getLogRecordFactory() is theirs
    again = run_pipeline()
    logging.getLogger("app").info("two")
    assert [line["message"] for line in again.lines()] == ["one", "two"]


def test_factory_replaced_by_the_application_costs_no_ids(run_pipeline: Run) -> None:
    """Records of a factory that knows nothing of ours still get the ids of the open span, from the handler."""
    running = run_pipeline()
    logging.setLogRecordFactory(logging.LogRecord)
    with TracerProvider(shutdown_on_exit=False).get_tracer("t").start_as_current_span("s") as span:
        logging.getLogger("app").info("x")
    assert running.lines()[0]["trace_id"] == format(span.get_span_context().trace_id, "032x")


def test_error_of_ours_while_making_a_record_is_survived(run_pipeline: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """When our own code fails while a record is made, the caller sees nothing of it and the record is written."""
    running = run_pipeline()

    def broken() -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("otel_ml.logs.records.inherited", broken)
    logging.getLogger("app").info("written")
    assert "written" in running.messages()
    assert health.dropped()["internal", "log record factory"] > 0


def test_queue_handler_between_keeps_the_callers_ids(run_pipeline: Run) -> None:
    """A record that the application's own QueueListener handles on another thread keeps the ids it was made with."""
    running = run_pipeline()
    (handler,) = logging.getLogger().handlers
    log, waiting = logging.getLogger("queued"), queue.SimpleQueue[Any]()
    log.addHandler(logging.handlers.QueueHandler(waiting))
    logging.setLogRecordFactory(logging.getLogRecordFactory())
    with TracerProvider(shutdown_on_exit=False).get_tracer("t").start_as_current_span("s") as span:
        record = log.makeRecord("queued", logging.INFO, __file__, 1, "x", (), None)
        log.handlers[0].handle(record)
    listener = logging.handlers.QueueListener(waiting, handler)
    listener.start()
    listener.stop()
    assert running.lines()[0]["span_id"] == format(span.get_span_context().span_id, "016x")


@pytest.mark.parametrize(
    "name", ["trace_id", "span_id", "run_id", "service", "otel", "level", "timestamp", "exception"]
)
def test_caller_may_use_any_name_in_extra(run_pipeline: Run, name: str) -> None:
    """No name that a caller may pass in `extra` raises KeyError, and none of its values is lost."""
    running = run_pipeline()
    try:
        raise ValueError("x")
    except ValueError:
        logging.getLogger("app").exception("m", extra={name: "mine"})
    line = running.lines()[0]
    assert "mine" in (line.get(name), line.get(f"extra_{name}"))
    assert line["exception"]["type"] == "ValueError"
