"""The shipped Prometheus config and rules in a real Prometheus: what is taken, kept, labelled and refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from stack import servers
from stack.backends import GRAFANA, RESOURCE, SPAN, TRACE, attributes, run, runbook_queries
from stack.servers import Server
from stack.stores import eventually
from stack.stores import prometheus as ask

pytestmark = pytest.mark.xdist_group("prometheus")  # it is started once

RULES = sorted((GRAFANA / "rules").glob("*.yaml"))
RULE_TESTS = sorted((GRAFANA / "rules/tests").glob("*.yaml"))


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Prometheus with the shipped config and rules, and an empty folder for Alertmanagers."""
    directory = tmp_path_factory.mktemp("prometheus")
    (directory / "prometheus-config/alertmanagers").mkdir(parents=True)
    server = servers.prometheus(directory)
    with servers.running(server):
        yield server


def push_metrics(prometheus: Server, service: str, age: float = 0, count: int = 4) -> httpx.Response:
    """Send the histogram of a model, with an exemplar, as it was some seconds ago."""
    now = time.time_ns() - int(age * 1e9)
    exemplar = {"timeUnixNano": str(now), "asDouble": 0.2, "traceId": TRACE, "spanId": SPAN}
    point = {
        "timeUnixNano": str(now), "startTimeUnixNano": str(now - 10**10), "count": str(count), "sum": 0.2 * count,
        "explicitBounds": [0.1, 0.25], "bucketCounts": ["0", str(count), "0"], "exemplars": [exemplar],
        "attributes": attributes({"otel_ml.model.name": "credit"}),
    }  # fmt: skip
    histogram = {"aggregationTemporality": 2, "dataPoints": [point]}
    metric = {"name": "otel_ml.inference.duration", "unit": "s", "histogram": histogram}
    resource = {**RESOURCE, "service.name": service, "service.version": "1.2.0", "service.instance.id": "one"}
    metrics = [{"resource": {"attributes": attributes(resource)}, "scopeMetrics": [{"metrics": [metric]}]}]
    return httpx.post(f"{prometheus.otlp}/v1/metrics", json={"resourceMetrics": metrics}, timeout=30)


def test_promtool_accepts_config() -> None:
    """The Prometheus config and every rule file that it names are valid."""
    assert f"{len(RULES)} rule files found" in run("promtool", "check", "config", GRAFANA / "prometheus.yaml")


def test_promtool_accepts_rules() -> None:
    """The rules are valid, and none is there twice."""
    run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *RULES)


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_alerts_fire_and_stay_silent(path: Path) -> None:
    """Each alert fires on its bad series with its annotations, and not on good or borderline ones."""
    run("promtool", "test", "rules", path)


def test_metric_has_promoted_labels(prometheus: Server) -> None:
    """The resource's identity becomes labels, instance and job, and nothing else of it does."""
    assert push_metrics(prometheus, "labelled").is_success
    [found] = ask(prometheus, "query", query='otel_ml_inference_duration_seconds_count{service_name="labelled"}')[
        "result"
    ]
    assert found["metric"] == {
        "__name__": "otel_ml_inference_duration_seconds_count", "otel_ml_model_name": "credit", "job": "bank/labelled",
        "instance": "one", "service_name": "labelled", "service_namespace": "bank", "service_version": "1.2.0",
        "deployment_environment_name": "production",
    }  # fmt: skip


def test_metric_has_exemplar(prometheus: Server) -> None:
    """The exemplar names its trace in the label that the data source follows."""
    assert push_metrics(prometheus, "exemplary").is_success
    query = 'otel_ml_inference_duration_seconds_bucket{service_name="exemplary"}'
    now = time.time()
    found = ask(prometheus, "query_exemplars", query=query, start=now - 600, end=now + 60)
    assert [(series["seriesLabels"]["le"], one["labels"]) for series in found for one in series["exemplars"]] == [
        ("0.25", {"trace_id": TRACE, "span_id": SPAN})
    ]


def test_late_metric_is_kept(prometheus: Server) -> None:
    """What a queue held for 23 hours is taken beside newer points; what is older is refused and counted."""
    assert push_metrics(prometheus, "delayed", count=9).is_success
    assert push_metrics(prometheus, "delayed", age=23 * 3600, count=1).is_success
    name = 'otel_ml_inference_duration_seconds_count{service_name="delayed"}'
    values = {value for _, value in ask(prometheus, "query", query=f"{name}[24h]")["result"][0]["values"]}
    assert values == {"0", "1", "9"}  # 0 when the count began, so that an only export is an increase too
    push_metrics(prometheus, "delayed", age=26 * 3600, count=1)
    own = httpx.get(f"{prometheus.url}/metrics").text.splitlines()
    [too_old] = [line for line in own if line.startswith("prometheus_tsdb_too_old_samples_total")]
    assert float(too_old.rsplit(" ", 1)[1]) > 0


def test_prometheus_loads_all_rules(prometheus: Server) -> None:
    """Every group is there and evaluates without an error, and the retention comes from the file."""

    def evaluated() -> Any:
        rules = [rule for group in ask(prometheus, "rules")["groups"] for rule in group["rules"]]
        assert not [rule for rule in rules if rule["health"] == "err"], rules
        return all(rule["health"] == "ok" for rule in rules) and rules

    rules = eventually(evaluated, 100)
    assert ask(prometheus, "status/runtimeinfo")["storageRetention"] == "31d"
    assert {rule["name"] for rule in rules} >= {"GatewayDown", "otel_ml:objective_errors:ratio"}


def test_alertmanager_is_added_by_a_file(prometheus: Server) -> None:
    """A file in the folder brings an Alertmanager in, without a restart."""
    file = prometheus.directory / "prometheus-config/alertmanagers/ours.yaml"
    file.write_text("[{targets: ['127.0.0.1:9']}]\n")
    found = eventually(lambda: ask(prometheus, "alertmanagers")["activeAlertmanagers"], 30)
    assert found == [{"url": "http://127.0.0.1:9/api/v2/alerts"}]


def test_prometheus_reads_runbooks(prometheus: Server) -> None:
    """A PromQL query on a runbook is one that Prometheus can evaluate."""
    queries = runbook_queries("promql")
    assert len(queries) > 20
    for query in queries:
        ask(prometheus, "query", query=query)
