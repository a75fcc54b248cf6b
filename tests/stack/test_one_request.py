"""One request, found by its trace id in all three stores, with the names of the design."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

from stack import tempo
from stack.example import SECONDS, LoadedStack
from stack.stores import eventually, lines, prometheus

pytestmark = pytest.mark.xdist_group("stack")

ANSWERED = {"POST /predict", "choose", "score", "predict credit", "features", "decide"}


def trace(loaded: LoadedStack, trace_id: str) -> dict[str, dict[str, Any]]:
    """Return the spans of a trace by name, as Tempo's stand-in has them."""
    found = [span for span in tempo.spans(loaded.stack.directory) if span["traceId"] == trace_id]
    assert len({span["spanId"] for span in found}) == len(found), "a span came twice"
    return {span["name"]: span for span in found}


@pytest.mark.skipif(tempo.is_real(), reason="reads what reached the stand-in")
def test_all_spans_of_a_request_arrive_with_the_right_parents(loaded_stack: LoadedStack) -> None:
    """The request is the child of its caller, and the prediction a grandchild of the request."""
    spans = eventually(lambda: (found := trace(loaded_stack, loaded_stack.trace_id)).keys() >= ANSWERED and found)
    ids = {name: span["spanId"] for name, span in spans.items()}
    parents = {name: span.get("parentSpanId") for name, span in spans.items()}
    assert parents == {
        "POST /predict": loaded_stack.span_id,
        "choose": ids["POST /predict"],
        "score": ids["POST /predict"],
        "predict credit": ids["score"],
        "features": ids["predict credit"],
        "decide": ids["POST /predict"],
    }
    prediction = spans["predict credit"]
    assert prediction["resource"]["service.name"] == "credit-api"
    assert prediction["attributes"]["otel_ml.model.name"] == "credit"
    assert prediction["attributes"]["otel_ml.model.version"] == "2"
    assert prediction["attributes"]["otel_ml.input.rows"] == "1"


@pytest.mark.skipif(not tempo.is_real(), reason=tempo.WHY_SKIPPED)
def test_tempo_finds_the_request_by_its_id_and_by_traceql(loaded_stack: LoadedStack) -> None:
    """By id at once, by its attributes a little later."""
    url = loaded_stack.stack.tempo.url
    eventually(lambda: httpx.get(f"{url}/api/v2/traces/{loaded_stack.trace_id}").is_success)
    query = '{ resource.service.name = "credit-api" && span.otel_ml.model.version = "2" }'
    eventually(lambda: httpx.get(f"{url}/api/search", params={"q": query}).json().get("traces"), 90)


def test_the_log_lines_of_a_request_are_found_by_its_trace_id(loaded_stack: LoadedStack) -> None:
    """As LogQL, with labels of few values and everything else as structured metadata."""
    query = f'{{service_name="credit-api"}} | trace_id="{loaded_stack.trace_id}"'
    ((facts, text),) = eventually(lambda: lines(loaded_stack.loki, query))
    assert text.startswith("version 2 scored 1 applicants")
    assert facts["severity_text"] == "INFO" and facts["scope_name"] == "credit.api" and len(facts["span_id"]) == 16
    assert facts["deployment_environment_name"] == "production", "the gateway says so where the sender did not"
    names = httpx.get(f"{loaded_stack.loki.url}/loki/api/v1/labels", timeout=30).json()["data"]
    allowed = "service_name service_namespace deployment_environment_name otel_ml_model_name otel_ml_status"
    assert set(names) - {"__stream_shard__", "__time_shard__"} <= set(allowed.split())


def test_an_exemplar_leads_from_the_histogram_to_a_trace(loaded_stack: LoadedStack) -> None:
    """The one request was the last of its kind, so it is the exemplar of one bucket."""

    def look() -> list[dict[str, str]]:
        series = prometheus(
            loaded_stack.prometheus,
            "query_exemplars",
            query='otel_ml_inference_duration_seconds_bucket{otel_ml_model_name="credit"}',
            start=time.time() - 3600,
            end=time.time(),
        )
        labels = [exemplar["labels"] for one in series for exemplar in one["exemplars"]]
        return [found for found in labels if found["trace_id"] == loaded_stack.trace_id]

    (found, *_) = eventually(look)
    assert len(found["span_id"]) == 16


def test_metrics_have_the_names_and_labels_of_the_design(loaded_stack: LoadedStack) -> None:
    """Every request of the load is in the histogram exactly once, by version."""
    sent = sum(loaded_stack.report["versions"].values()) + 1

    def count() -> float:
        found = prometheus(
            loaded_stack.prometheus,
            "query",
            query='sum(otel_ml_inference_duration_seconds_count{service_name="credit-api",error_type="",'
            'otel_ml_model_name="credit",otel_ml_model_version=~"1|2"})',
        )["result"]
        return float(found[0]["value"][1]) if found else 0.0

    eventually(lambda: count() >= sent)
    assert count() == sent, f"after {SECONDS} s of load"


def test_a_failing_prediction_is_found_with_its_reason(loaded_stack: LoadedStack) -> None:
    """One ERROR line with error type, masked features and stack trace, in the failed request's trace."""
    (trace_id, *_) = loaded_stack.report["traces"]["failed"]
    query = f'{{service_name="credit-api"}} | severity_text="ERROR" | trace_id="{trace_id}"'
    ((facts, text),) = eventually(lambda: lines(loaded_stack.loki, query))
    assert text.startswith("predict credit failed: ValueError") and facts["error_type"] == "ValueError"
    assert "Traceback" in facts["exception_stacktrace"] and "@" not in facts["otel_ml_features"]
    assert facts["otel_ml_model_name"] == "credit"


def test_a_training_run_is_found_by_its_run_id(loaded_stack: LoadedStack) -> None:
    """The line of its end leads to its id, and the id to all its lines; the failed run says that it failed."""
    ends = eventually(
        lambda: (
            len(found := lines(loaded_stack.loki, '{service_name="credit-training"} |= "run train-credit ended"')) == 2
            and found
        )
    )
    by_status = {facts["otel_ml_run_status"]: facts["otel_ml_run_id"] for facts, _ in ends}
    assert by_status.keys() == {"ok", "error"}
    of_run = lines(loaded_stack.loki, f'{{service_name="credit-training"}} | otel_ml_run_id="{by_status["ok"]}"')
    assert len(of_run) >= 8 and any("area under the curve" in text for _, text in of_run)
    failure = lines(
        loaded_stack.loki, f'{{service_name=~".+"}} | otel_ml_run_id="{by_status["error"]}" | detected_level="error"'
    )
    assert any(facts["exception_type"] == "FileNotFoundError" for facts, _ in failure)


def test_what_the_agent_reads_from_files_is_like_what_is_sent(loaded_stack: LoadedStack) -> None:
    """Log lines of a program that writes files have service, ids, severity and exception as OTLP has them."""
    ((facts, text),) = eventually(lambda: lines(loaded_stack.loki, '{service_name="files"} |= "it went wrong"'))
    assert text == "it went wrong" and facts["detected_level"] == "error"
    assert facts["exception_type"] == "ZeroDivisionError" and "Traceback" in facts["exception_stacktrace"]
    assert len(facts["trace_id"]) == 32 and len(facts["span_id"]) == 16


def test_audit_records_are_found_by_model_and_status(loaded_stack: LoadedStack) -> None:
    """Model and status are labels; a record keeps its id, by which a second copy would be seen, and is JSON."""
    query = '{service_name="troubled", otel_ml_model_name="audited", otel_ml_status="error"}'
    found = eventually(lambda: len(found := lines(loaded_stack.loki, query)) == 5 and found)
    assert len({facts["otel_ml_audit_record_id"] for facts, _ in found}) == 5
    records = [json.loads(text) for _, text in found]
    assert {record["features"]["amount"] for record in records} == {0, 10, 20, 30, 40}
    assert all(record["features"].keys() == {"amount", "max_token", "password"} for record in records)


def test_a_gap_of_the_audit_trail_is_found(loaded_stack: LoadedStack) -> None:
    """With the service that it is of, and as a warning."""
    query = '{service_name="troubled"} | event_name="otel_ml.audit.gap"'
    ((facts, text),) = eventually(lambda: lines(loaded_stack.loki, query))
    assert json.loads(text)["lost"] == {"queue_full": 2} and facts["detected_level"] == "warn"
