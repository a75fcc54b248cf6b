"""The agent: files and OTLP in, everything out to the gateway, whatever is killed in between."""

from __future__ import annotations

import gzip
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from receivers import Fault, OtlpReceiver
from stack.otlp_requests import counter, facts, logs, record, send, span, traces
from stack.servers import TOKEN, Server, agent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def upstream() -> Iterator[OtlpReceiver]:
    """What stands where the gateway would."""
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture
def server(tmp_path: Path, upstream: OtlpReceiver) -> Iterator[Server]:
    """An agent, not started yet, and the folders that it reads."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "audit").mkdir()
    one = agent(tmp_path, upstream.http_url)
    readable = tmp_path / "readable.yaml"  # our receiver takes no zstd
    readable.write_text("exporters: {otlp_http/gateway: {compression: gzip}}")
    one.command = [*one.command, f"--config={readable}"]
    yield one
    one.stop()


def line(message: str, **fields: Any) -> str:
    """Return a line as otel_ml writes it to a log file."""
    known = {
        "timestamp": "2026-11-22T19:56:03.000123Z", "level": "WARNING", "logger": "credit.api", "message": message,
        "service": "credit-api", "module": "api", "function": "predict", "line": 41,
    }  # fmt: skip
    return json.dumps({**known, **fields}) + "\n"


def bodies(upstream: OtlpReceiver) -> list[str]:
    return [one.body.string_value for one in upstream.records("logs")]


def resource_of(upstream: OtlpReceiver, body: str) -> dict[str, Any]:
    """Return the resource attributes of the log record with this body."""
    return next(
        facts(of_resource.resource.attributes)
        for item in upstream.requests
        if item.signal == "logs"
        for of_resource in item.message.resource_logs
        for scope in of_resource.scope_logs
        for one in scope.log_records
        if one.body.string_value == body
    )


def test_a_log_file_arrives_with_the_names_of_otlp(server: Server, upstream: OtlpReceiver, tmp_path: Path) -> None:
    """Time, severity, trace, logger, run, exception and service; what is no JSON stays as it is."""
    failure = {"type": "ValueError", "message": "bad", "stacktrace": "Traceback\n  line"}
    ids = {"trace_id": TRACE, "span_id": SPAN, "trace_flags": "01", "run_id": "run-1"}
    text = line("full", **ids, exception=failure, rows=3, **{"event.name": "otel_ml.run.start"})
    text += "  plain text, \n" + '{"torn": \n' + line("other", service="other-api", level="CRITICAL")
    (tmp_path / "logs" / "credit-api-20261122T195603Z-12.log").write_text(text)
    server.start().wait()
    found = {one.body.string_value: one for one in upstream.wait("logs", 4, 60)}
    assert set(found) == {"full", "  plain text, ", '{"torn": ', "other"}
    full = found["full"]
    assert full.time_unix_nano == 1795377363000123000 and full.event_name == "otel_ml.run.start"
    assert (full.severity_number, full.severity_text) == (13, "WARN")
    assert (found["other"].severity_number, found["other"].severity_text) == (21, "FATAL")
    assert (full.trace_id.hex(), full.span_id.hex(), full.flags) == (TRACE, SPAN, 1)
    assert facts(full.attributes) == {
        "otel_ml.run.id": "run-1",
        "event.name": "otel_ml.run.start",
        "code.function.name": "predict",
        "code.line.number": 41,
        "exception.type": "ValueError",
        "exception.message": "bad",
        "exception.stacktrace": "Traceback\n  line",
        "module": "api",
        "rows": 3,
        "log.file.name": "credit-api-20261122T195603Z-12.log",
    }
    scopes = {scope.scope.name for item in upstream.requests if item.signal == "logs"
              for of_resource in item.message.resource_logs for scope in of_resource.scope_logs}  # fmt: skip
    assert scopes == {"credit.api", ""}
    services = {body: resource_of(upstream, body)["service.name"] for body in found}
    assert services == {
        "full": "credit-api",
        "  plain text, ": "credit-api",
        '{"torn": ': "credit-api",
        "other": "other-api",
    }
    assert resource_of(upstream, "full").keys() >= {"host.name", "os.type"}
    assert {item.headers["authorization"] for item in upstream.requests} == {f"Bearer {TOKEN}"}


def test_audit_segments_arrive_whole_and_can_be_indexed(server: Server, upstream: OtlpReceiver, tmp_path: Path) -> None:
    """The line is the body; service, model and status belong to the resource, also where lines differ."""
    lines = [
        json.dumps({
            "record_id": f"r{number}", "event.name": "otel_ml.prediction", "service.name": "credit-api",
            "time_unix_nano": 1795378105249851125 + number, "otel_ml.model.name": model, "otel_ml.model.version": "2",
            "otel_ml.status": status, "severity_number": severity, "trace_id": TRACE, "span_id": SPAN,
            "features": {"income": 1.5},
        })
        for number, (model, status, severity) in enumerate((("a", "ok", 9), ("b", "error", 17), ("a", "error", 17)) * 3)
    ]  # fmt: skip
    (tmp_path / "audit" / "host-1-1.jsonl").write_text("\n".join([*lines, '{"count": 9}']) + "\n")
    (tmp_path / "audit" / "host-1-2.jsonl.open").write_text('{"record_id": "not sealed yet"}\n')
    server.start().wait()
    found = {one.body.string_value: one for one in upstream.wait("logs", 10, 60)}
    assert set(found) == {*lines, '{"count": 9}'}
    for number, text in enumerate(lines):
        written, one, resource = json.loads(text), found[text], resource_of(upstream, text)
        assert one.time_unix_nano == 1795378105249851125 + number, "to the nanosecond"
        assert one.severity_number == written["severity_number"] and one.trace_id.hex() == TRACE
        assert one.event_name == "otel_ml.prediction"
        assert facts(one.attributes)["otel_ml.audit.record_id"] == f"r{number}"
        for key in ("service.name", "otel_ml.model.name", "otel_ml.status"):
            assert resource[key] == written[key]


def test_rotation_and_restarts_lose_no_line_and_repeat_none(
    server: Server, upstream: OtlpReceiver, tmp_path: Path
) -> None:
    """Files are renamed and compressed, while the agent runs and while it is down."""
    file = tmp_path / "logs" / "credit-api.log"
    written = [str(number) for number in range(60)]

    def write(start: int) -> None:
        with file.open("a") as output:
            output.writelines(map(line, written[start : start + 10]))

    def rotate(number: int, compress: bool) -> None:
        old = file.rename(f"{file}.{number}")
        if compress:
            with old.open("rb") as source, gzip.open(f"{old}.gz.tmp", "wb") as target:
                shutil.copyfileobj(source, target)
            Path(f"{old}.gz.tmp").rename(f"{old}.gz")
            old.unlink()

    write(0)
    server.start().wait()
    upstream.wait("logs", 10, 60)
    rotate(1, compress=True)  # what was read, while the agent runs
    write(10)
    upstream.wait("logs", 20, 60)
    server.stop()
    write(20)
    rotate(2, compress=True)  # ten lines read, ten not, while it is down
    write(30)
    rotate(3, compress=False)
    write(40)
    server.start().wait()
    upstream.wait("logs", 50, 60)
    server.stop()
    write(50)
    server.start().wait()
    upstream.wait("logs", 60, 60)
    time.sleep(2)  # in which a line would be repeated
    assert Counter(bodies(upstream)) == Counter(written)


def test_nothing_that_it_acknowledged_is_lost_by_a_kill(server: Server, upstream: OtlpReceiver, tmp_path: Path) -> None:
    """The gateway is away, the agent is killed, both come back: spans, logs, points and lines of files are there."""
    upstream.misbehave(Fault(status=503))
    server.start().wait()
    spans = [span() for _ in range(50)]
    for number, one in enumerate(spans):
        assert send(server, traces([one]), None).is_success
        assert send(server, logs([record(f"otlp {number}")]), None).is_success
        assert send(server, counter(number, {"number": str(number)}), None).is_success
    (tmp_path / "logs" / "a.log").write_text("".join(line(f"file {number}") for number in range(50)))
    _until(lambda: 'accepted_log_records_total{receiver="file_log/logs"' in _metrics(server))
    server.kill()
    upstream.behave()
    server.start().wait()
    arrived = {one.span_id for one in upstream.wait("traces", 50, 60)}
    assert arrived == {one.span_id for one in spans}
    upstream.wait("logs", 100, 60)
    assert set(bodies(upstream)) == {f"{kind} {number}" for kind in ("otlp", "file") for number in range(50)}

    def points() -> set[str]:
        ours = [metric for metric in upstream.records("metrics") if metric.name == "test.count"]
        return {facts(point.attributes)["number"] for metric in ours for point in metric.sum.data_points}

    upstream.wait_until(lambda: len(points()) == 50, "50 points", 60)


def test_it_reports_on_its_machine_and_on_itself(server: Server, upstream: OtlpReceiver) -> None:
    """Under names that tell machines apart, without being reachable from outside."""
    server.environment = {**server.environment, "OTEL_ML_HOST_METRICS_INTERVAL": "1s"}
    server.start().wait()

    def reported() -> dict[tuple[str, str], set[str]]:
        found: dict[tuple[str, str], set[str]] = {}
        for item in list(upstream.requests):
            for of_resource in item.message.resource_metrics if item.signal == "metrics" else ():
                resource = facts(of_resource.resource.attributes)
                assert resource["service.instance.id"] == resource["host.name"]
                names = {metric.name for scope in of_resource.scope_metrics for metric in scope.metrics}
                found.setdefault((resource["service.name"], resource["host.name"]), set()).update(names)
        return found

    def complete() -> bool:
        names = {service: found for (service, _), found in reported().items()}
        host = {"system.cpu.time", "system.memory.utilization", "system.filesystem.utilization", "system.network.io"}
        own = {"otelcol_exporter_queue_size", "otelcol_process_uptime_seconds_total"}
        return names.get("host", set()) >= host and names.get("agent", set()) >= own

    upstream.wait_until(complete, "metrics of the host and of the agent", 90)
    assert {service for service, _ in reported()} == {"host", "agent"}


def _metrics(server: Server) -> str:
    return httpx.get(f"{server.url}/metrics", timeout=10).text


def _until(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)
