"""Inference calls on record: what they were given, when they were given it, and how they ended."""

from __future__ import annotations

import asyncio
import json
import math
import re
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import otel_ml
from otel_ml import conventions
from otel_ml.audit.recording import Recording
from otel_ml.instruments import instruments
from otel_ml.options import Audit


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    """Put the inference calls of a test on record in a folder of its own."""
    trail = Trail(tmp_path / "audit")
    yield trail
    trail.close()


class Trail:
    """A recording, and what it has written."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.directory = directory
        self.recording = Recording(Audit(**options), directory, {"service.name": "tests"}, "[redacted]")

    def records(self) -> list[dict[str, Any]]:
        """Return the predictions that are on record."""
        assert self.recording.flush(10)
        texts = [path.read_text("utf-8") for path in sorted(self.directory.glob("*-0*.jsonl*"))]
        lines = [json.loads(line) for text in texts for line in text.splitlines()]
        return [line for line in lines if line.get("event.name") == "otel_ml.prediction"]

    def close(self) -> None:
        """Stop."""
        assert self.recording.close(10)
        assert instruments.recorder is None


def test_a_prediction_is_one_record_with_what_is_known_of_it(trail: Trail) -> None:
    """Model, versions, features, prediction, duration and status of a call; its record id is a UUIDv7."""

    @otel_ml.inference(model="fraud", version="1.2.0", feature_version="7", subject="customer")
    def predict(features: dict[str, float], customer: str) -> dict[str, float]:
        return {"score": features["amount"] / 4}

    predict({"amount": 10.0, "count": 3}, customer="zoe")
    [record] = trail.records()
    assert uuid.UUID(record["record_id"]).version == 7
    assert record["otel_ml.model.name"] == "fraud"
    assert (record["otel_ml.model.version"], record["otel_ml.feature.version"]) == ("1.2.0", "7")
    assert (record["features"], record["prediction"]) == ({"amount": 10.0, "count": 3}, {"score": 2.5})
    assert (record["otel_ml.status"], record["severity_number"], record["rows"]) == ("ok", 9, 1)
    assert record["duration_ms"] > 0
    assert re.fullmatch(r"[0-9a-f]{32}", record["subject"])
    assert "zoe" not in json.dumps(record)  # no name of hexadecimal digits, which a hash may have by chance


def test_the_span_names_its_record(trail: Trail, captured_telemetry: Any) -> None:
    """From a trace to what the model was given: the span has the record's id, the record the span's."""

    @otel_ml.inference(model="fraud")
    def predict(x: float) -> float:
        return x

    predict(1.0)
    [record] = trail.records()
    [span] = captured_telemetry.spans
    assert span.attributes[conventions.AUDIT_RECORD_ID] == record["record_id"]
    assert (record["trace_id"], record["span_id"]) == (span.trace_id, span.span_id)


def test_a_table_of_one_row_is_one_record_that_the_span_names(trail: Trail, captured_telemetry: Any) -> None:
    """Its features are an object of names and values, not a list of one, whether the call went well or not."""

    @otel_ml.inference(model="fraud")
    def predict(rows: pd.DataFrame) -> list[float]:
        return [1 / count for count in rows["count"]]

    predict(pd.DataFrame({"count": [2], "amount": [12.5]}))
    with pytest.raises(ZeroDivisionError):
        predict(pd.DataFrame({"count": [0], "amount": [12.5]}))
    found = {record["record_id"]: record for record in trail.records()}
    good, bad = (found.pop(span.attributes[conventions.AUDIT_RECORD_ID]) for span in captured_telemetry.spans)
    assert not found
    assert (good["features"], good["prediction"]) == ({"count": 2, "amount": 12.5}, 0.5)
    assert (bad["features"], bad["otel_ml.status"]) == ({"count": 0, "amount": 12.5}, "error")
    assert good["rows"] == bad["rows"] == 1 and "row" not in good


def test_a_failed_prediction_is_on_record_with_its_features(trail: Trail) -> None:
    """The caller gets the model's own exception, the auditor its masked text and what caused it."""
    wrong = ValueError("no score for bob@example.com")

    @otel_ml.inference(model="fraud")
    def predict(features: dict[str, Any]) -> float:
        raise wrong

    with pytest.raises(ValueError, match="no score") as caught:
        predict({"amount": -1.0, "password": "hunter2"})
    assert caught.value is wrong
    [record] = trail.records()
    assert (record["otel_ml.status"], record["severity_number"]) == ("error", 17)
    assert record["error.type"] == "ValueError"
    assert record["exception.message"] == "no score for [redacted]"
    assert "Traceback" in record["exception.stacktrace"]
    assert record["features"] == {"amount": -1.0, "password": "[redacted]"}
    assert record["redacted"] == ["password"]
    assert "prediction" not in record


def test_an_exception_that_a_step_inside_recorded_is_on_record_too(trail: Trail) -> None:
    """It is logged once, where it was raised; the record has it all the same."""

    @otel_ml.step
    def inner() -> None:
        raise KeyError("missing")

    @otel_ml.inference(model="fraud")
    def predict(x: float) -> None:
        inner()

    with pytest.raises(KeyError):
        predict(1.0)
    [record] = trail.records()
    assert (record["error.type"], record["exception.message"]) == ("KeyError", "'missing'")


def test_features_are_those_of_the_moment_of_the_call(trail: Trail) -> None:
    """A model that changes what it is given changes nothing of the record."""

    @otel_ml.inference(model="m")
    def one(features: dict[str, Any]) -> float:
        features.clear()
        return 1.0

    @otel_ml.inference(model="m")
    def many(rows: list[dict[str, float]]) -> list[float]:
        found = [row["a"] for row in rows]
        for row in rows:
            row["a"] = -1.0
        return found

    one({"a": 1.0, "nested": {"b": [2.0]}})
    many([{"a": 3.0}, {"a": 4.0}])
    first, *rest = trail.records()
    assert first["features"] == {"a": 1.0, "nested": {"b": [2.0]}}
    assert [(record["features"], record["prediction"]) for record in rest] == [({"a": 3.0}, 3.0), ({"a": 4.0}, 4.0)]
    assert len({record["call_id"] for record in rest}) == 1


def test_rows_above_the_bound_are_one_record_that_says_how_many(tmp_path: Path) -> None:
    """A call with a million rows does not become a million lines."""
    trail = Trail(tmp_path / "bounded", max_rows=3)

    @otel_ml.inference(model="m")
    def predict(rows: list[dict[str, float]]) -> list[float]:
        return [row["a"] for row in rows]

    predict([{"a": float(index)} for index in range(4)])
    [record] = trail.records()
    trail.close()
    assert record["rows"] == 4


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_can_be_told_apart(trail: Trail, value: float) -> None:
    """They are texts, never null."""

    @otel_ml.inference(model="m")
    def predict(features: dict[str, float]) -> float:
        return features["x"]

    predict({"x": value})
    [record] = trail.records()
    expected = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    assert (record["features"], record["prediction"]) == ({"x": expected}, expected)


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(features=_PLAIN, result=_PLAIN)
def test_any_input_and_result_reach_caller_and_record(trail: Trail, features: Any, result: Any) -> None:
    """Whatever a model takes and gives, the caller gets that very object, and there is one more record, or its rows."""
    before = len(trail.records())

    @otel_ml.inference(model="m")
    def predict(features: Any) -> Any:
        return result

    assert predict(features) is result
    assert len(trail.records()) > before


def test_cancelled_and_abandoned_calls_are_on_record(trail: Trail) -> None:
    """A task that is cancelled and a generator that nobody reads to its end are no failures, and took their time."""

    @otel_ml.inference(model="slow")
    async def predict(x: float) -> None:
        await asyncio.sleep(60)

    @otel_ml.inference(model="stream")
    def stream(x: float) -> Iterator[float]:
        yield x
        yield x

    async def cancel() -> None:
        task = asyncio.create_task(predict(1.0))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    reader = stream(2.0)
    next(reader)
    reader.close()
    assert [record["otel_ml.status"] for record in trail.records()] == ["cancelled", "abandoned"]


def test_calls_can_be_left_off_the_record(trail: Trail) -> None:
    """`audit=False` at the decorator."""

    @otel_ml.inference(model="m", audit=False)
    def predict(x: float) -> float:
        return x

    predict(1.0)
    assert trail.records() == []


def test_functions_of_the_caller_that_raise_cost_the_call_nothing(trail: Trail) -> None:
    """A wrong `subject=` is counted; the call and its record are there."""

    @otel_ml.inference(model="m", subject=lambda x: 1 / 0)
    def predict(x: float) -> float:
        return x

    assert predict(3.0) == 3.0
    [record] = trail.records()
    assert (record["features"], record["prediction"]) == (3.0, 3.0)
    assert "subject" not in record


def test_sync_returns_when_the_record_is_on_the_disk(tmp_path: Path) -> None:
    """What the caller has seen return is in the file, without a flush."""
    trail = Trail(tmp_path / "sync", durability="sync")

    @otel_ml.inference(model="m")
    def predict(x: float) -> float:
        return x

    def work() -> None:
        for _ in range(5):
            predict(1.0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text = "".join(path.read_text() for path in (tmp_path / "sync").glob("*.jsonl*"))
    assert text.count('"event.name":"otel_ml.prediction"') == 20
    trail.close()


def test_records_are_counted_by_model_and_status(trail: Trail) -> None:
    """The counter that dashboards and alerts stand on: as many as there are lines."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    instruments.bind(None, provider)
    try:

        @otel_ml.inference(model="m", version="1")
        def predict(rows: Any) -> Any:
            if not rows:
                raise ValueError("nothing to do")
            return rows

        predict([[1.0], [2.0]])
        predict({"a": 1})
        with pytest.raises(ValueError, match="nothing"):
            predict([])
        found = {
            point.attributes["otel_ml.status"]: point.value
            for resource in reader.get_metrics_data().resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == conventions.AUDIT_RECORDS
            for point in metric.data.data_points
        }
        assert found == {"ok": 3, "error": 1}
        assert len(trail.records()) == 4
    finally:
        provider.shutdown()
        instruments.bind()
