from __future__ import annotations

import json
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st
from logs.running import entry

from otel_ml.logs.extras import plain
from otel_ml.logs.json_lines import LineEncoder

# Surrogates included, and the characters that break lines in one reader or another.
texts = (
    st.text()
    | st.text(st.characters(codec=None))
    | st.text('\n\r\x00\x1b[31m\x0b\x0c\x1c\x1d\x1e\x85\x9b\u2028\u2029\ud800"\\')
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.binary() | st.datetimes() | st.uuids(),
    lambda children: st.lists(children) | st.dictionaries(texts | st.integers(), children) | st.tuples(children),
    max_leaves=12,
)


@given(texts, texts, st.dictionaries(texts, values, max_size=5))
def test_any_record_is_exactly_one_parseable_line(message: str, logger: str, extra: dict[str, Any]) -> None:
    """Whatever the text and the values, the result is one line, for readers that split at any Unicode line end too."""
    fields = {key: plain(value) for key, value in extra.items()}
    line = LineEncoder("s").encode(entry(message=message, logger=logger, extra=fields))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert len(line.decode().splitlines()) == 1
    parsed = orjson.loads(line)
    assert parsed == json.loads(line)
    if all(not "\ud800" <= character <= "\udfff" for character in message):
        assert parsed["message"] == message


@given(st.text(), st.dictionaries(st.text(), st.integers(-(2**63), 2**63 - 1) | st.text() | st.booleans(), max_size=5))
def test_extras_come_back_as_they_were(message: str, extra: dict[str, Any]) -> None:
    """Plain values are found again under their own name, or behind `extra_` when the name is one of ours."""
    line = orjson.loads(LineEncoder("s").encode(entry(message=message, extra=dict(extra))))
    for key, value in extra.items():
        found = [line.get(key), line.get(f"extra_{key}")]
        assert value in found or str(value).lower() == str(found[0]).lower()


def test_fields_are_flat_and_in_order() -> None:
    """The line has the documented fields in the documented order, ids in lower-case hex, time in UTC microseconds."""
    exception = {"type": "ValueError", "message": "m", "stacktrace": "Traceback"}
    line = LineEncoder("svc").encode(
        entry(
            trace_id=f"{0xABC:032x}",
            span_id=f"{0xDEF:016x}",
            trace_flags=1,
            run_id="r1",
            extra={"a": 1},
            exception=exception,
        )
    )
    assert list(orjson.loads(line).items()) == [
        ("timestamp", "2026-11-22T16:39:48.123456Z"), ("level", "INFO"), ("logger", "app"), ("message", "hello"),
        ("trace_id", f"{0xABC:032x}"), ("span_id", f"{0xDEF:016x}"), ("trace_flags", "01"), ("run_id", "r1"),
        ("service", "svc"), ("module", "train"), ("function", "fit"), ("line", 7), ("a", 1), ("exception", exception),
    ]  # fmt: skip


def test_what_is_not_there_is_absent() -> None:
    """Outside span and run, and without an exception, the fields are absent rather than null or zero."""
    line = orjson.loads(LineEncoder("svc").encode(entry()))
    assert not {"trace_id", "span_id", "trace_flags", "run_id", "exception"} & line.keys()


def test_same_fact_twice_is_written_once() -> None:
    """An extra that repeats a field of ours, as structlog's `level`, is not written a second time."""
    line = orjson.loads(LineEncoder("svc").encode(entry(extra={"level": "info", "logger": "other"})))
    assert (line["level"], line["logger"], line["extra_logger"]) == ("INFO", "app", "other")
    assert "extra_level" not in line


def test_time_before_the_epoch_and_second_changes() -> None:
    """The cached second is renewed when the clock goes on or back."""
    encoder = LineEncoder("svc")
    stamps = [orjson.loads(encoder.encode(entry(time_ns=at)))["timestamp"] for at in (1, 2_000_000_000, 999_999_999)]
    assert stamps == ["1970-01-01T00:00:00.000000Z", "1970-01-01T00:00:02.000000Z", "1970-01-01T00:00:00.999999Z"]
