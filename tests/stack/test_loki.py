"""The shipped Loki config in a real Loki: what is taken, kept, labelled and refused."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from stack import servers
from stack.backends import DAY, GRAFANA, RESOURCE, SPAN, STACK, TRACE, attributes, run, runbook_queries
from stack.servers import Server

pytestmark = pytest.mark.xdist_group("loki")  # it is started once


@pytest.fixture(scope="module")
def loki(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Loki with the shipped config."""
    server = servers.loki(tmp_path_factory.mktemp("loki"))
    with servers.running(server):
        yield server


def record(text: str, age: float = 0, **more: Any) -> dict[str, Any]:
    return {"timeUnixNano": str(time.time_ns() - int(age * 1e9)), "body": {"stringValue": text}, **more}


def push_logs(loki: Server, resource: Mapping[str, str], *records: dict[str, Any]) -> httpx.Response:
    logs = [{"resource": {"attributes": attributes(resource)}, "scopeLogs": [{"logRecords": records}]}]
    return httpx.post(f"{loki.otlp}/v1/logs", json={"resourceLogs": logs}, timeout=60)


def lines(loki: Server, query: str, days: float = 1) -> list[tuple[dict[str, str], str]]:
    """Return labels with structured metadata, and text, of what a LogQL query finds."""
    start = time.time_ns() - int(days * DAY * 1e9)
    answer = httpx.get(f"{loki.url}/loki/api/v1/query_range", params={"query": query, "start": start}, timeout=60)
    assert answer.is_success, answer.text
    return [(found["stream"], text) for found in answer.json()["data"]["result"] for _, text in found["values"]]


def index_labels(loki: Server, service: str) -> list[dict[str, str]]:
    answer = httpx.get(f"{loki.url}/loki/api/v1/series", params={"match[]": f'{{service_name="{service}"}}'})
    assert answer.is_success, answer.text
    return answer.json()["data"]


def test_loki_accepts_config() -> None:
    """Loki verifies its config, and one variable sets both what is kept and how old a record may be."""
    arguments = (
        "-verify-config",
        "-print-config-stderr",
        "-config.expand-env=true",
        f"-config.file={GRAFANA}/loki.yaml",
    )
    printed = run("loki", *arguments, OTEL_ML_LOKI_RETENTION="100h").splitlines()
    assert "  retention_period: 4d4h" in printed
    assert "  reject_old_samples_max_age: 4d4h" in printed
    assert "  retention_enabled: true" in printed


def test_log_has_three_labels(loki: Server) -> None:
    """An application's record has three index labels; all else is structured metadata, also its trace."""
    details = {"otel_ml.model.name": "credit", "otel_ml.status": "ok", "exception.stacktrace": STACK}
    failed = record("predict failed", traceId=TRACE, spanId=SPAN, severityText="ERROR", attributes=attributes(details))
    assert push_logs(loki, {**RESOURCE, "service.instance.id": "one"}, failed).is_success
    [(found, text)] = lines(loki, f'{{service_name="credit-api"}} | trace_id="{TRACE}" | otel_ml_model_name="credit"')
    assert text == "predict failed"
    assert found["exception_stacktrace"] == STACK
    assert (found["span_id"], found["severity_text"], found["service_instance_id"]) == (SPAN, "ERROR", "one")
    assert index_labels(loki, "credit-api") == [
        {"service_name": "credit-api", "service_namespace": "bank", "deployment_environment_name": "production"}
    ]


def test_audit_record_has_five_labels(loki: Server) -> None:
    """Model and status are labels where the resource has them, which only that of audit records does."""
    resource = {**RESOURCE, "service.name": "audited", "otel_ml.model.name": "credit", "otel_ml.status": "error"}
    assert push_logs(loki, {**resource, "service.version": "7", "host.name": "node"}, record("{}")).is_success
    assert index_labels(loki, "audited") == [
        {"service_name": "audited", "service_namespace": "bank", "deployment_environment_name": "production",
         "otel_ml_model_name": "credit", "otel_ml_status": "error"}
    ]  # fmt: skip


def test_late_record_is_kept(loki: Server) -> None:
    """A run recorded weeks ago is taken beside fresh records of the same service."""
    resource = {**RESOURCE, "service.name": "late"}
    for age in (0, 20 * DAY, 3 * 3600, 0):
        assert push_logs(loki, resource, record(f"{age} s old", age)).is_success
    assert len(lines(loki, '{service_name="late"}', days=25)) == 4


def test_too_old_record_is_counted(loki: Server) -> None:
    """A record older than the retention is refused, under the reason that the alert and its runbook name."""
    answer = push_logs(loki, {**RESOURCE, "service.name": "ancient"}, record("from another age", 40 * DAY))
    assert answer.status_code == 400
    refused = [
        line for line in httpx.get(f"{loki.url}/metrics").text.splitlines() if "loki_discarded_samples_total{" in line
    ]
    assert any('reason="greater_than_max_sample_age"' in line for line in refused), refused


def test_long_line_is_cut(loki: Server) -> None:
    """A line above the limit is cut, and neither it nor its batch is refused."""
    resource = {**RESOURCE, "service.name": "talkative"}
    assert push_logs(loki, resource, record("x" * 400_000), record("short")).is_success
    assert sorted(len(text) for _, text in lines(loki, '{service_name="talkative"}')) == [5, 256 * 1024]


def test_one_stream_takes_a_burst(loki: Server) -> None:
    """One service may send 50 MB at once: nothing is refused, and it stays one stream."""
    resource = {**RESOURCE, "service.name": "busy"}
    for _ in range(10):
        burst = [record(f"{number:05} " + "y" * 994, traceId=TRACE) for number in range(5000)]
        answer = push_logs(loki, resource, *burst)
        assert answer.is_success, answer.text
    answer = httpx.get(
        f"{loki.url}/loki/api/v1/query", params={"query": 'sum(count_over_time({service_name="busy"}[1h]))'}, timeout=60
    )
    assert answer.json()["data"]["result"][0]["value"][1] == "50000"
    assert len(index_labels(loki, "busy")) == 1


def test_loki_reads_runbooks(loki: Server) -> None:
    """A LogQL query on a runbook is one that Loki can run."""
    queries = runbook_queries("logql")
    assert len(queries) > 3
    for query in queries:
        answer = httpx.get(f"{loki.url}/loki/api/v1/format_query", params={"query": query})
        assert answer.is_success, f"{query}: {answer.text}"
