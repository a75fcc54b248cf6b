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
from segments import START, Process
from stack.otlp_requests import counter, facts, logs, plain, record, send, span, traces
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
    readable.write_text(
        "exporters: {otlp_http/gateway: {compression: gzip}, otlp_http/audit: {compression: gzip}}\n"
        "receivers: {file_log/audit: {poll_interval: 500ms}}"
    )
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


def audited(upstream: OtlpReceiver, number: int) -> dict[tuple[str, int], tuple[dict[str, Any], Any, dict[str, Any]]]:
    """Wait for so many lines; return record, log record and resource of each by segment and number."""
    upstream.wait("logs", number, 60)
    found = {}
    for item in upstream.requests:
        for of_resource in item.message.resource_logs if item.signal == "logs" and item.accepted else ():
            resource = facts(of_resource.resource.attributes)
            for one in (one for scope in of_resource.scope_logs for one in scope.log_records):
                line = plain(one.body)
                found[facts(one.attributes)["log.file.name"], line["seq"]] = (line, one, resource)
    return found


def test_sealed_segments_arrive_record_by_record(server: Server, upstream: OtlpReceiver, tmp_path: Path) -> None:
    """Every line as it was written, with its time to the nanosecond; what is under way and the manifest stay."""
    process = Process(tmp_path / "audit", service="credit-api")
    trace = {"trace_id": TRACE, "span_id": SPAN, "trace_flags": 1}
    features = {"income": 1.5, "big": 2**63 - 1, "password": "[redacted]", "list": [None, "NaN"]}
    for number in range(9):
        failed = {"otel_ml__status": "error", "severity_number": 17, "error__type": "ValueError"} if number % 3 else {}
        process.prediction(
            record_id=f"r{number}", time_unix_nano=START + number, service__name="credit-api",
            otel_ml__model__name="ab"[number % 2], features=features, call_id="c",
            service__instance__id="one", deployment__environment__name="staging",
            row=number, rows=1, **trace, **failed,
        )  # fmt: skip
    process.outcome("r0", 1)
    process.gap(queue_full=3)
    sealed = process.seal()
    process.prediction(record_id="under way")
    (tmp_path / "audit" / "manifest.jsonl").write_text('{"event.name":"otel_ml.audit.hold","seq":0}\n')
    server.start().wait()
    lines = [json.loads(line) for line in sealed.read_text().splitlines()]
    found = audited(upstream, len(lines))
    assert {key: line for key, (line, _, _) in found.items()} == {(sealed.name, one["seq"]): one for one in lines}
    for line, one, resource in found.values():
        assert one.event_name == line["event.name"]
        assert resource["service.name"] == "credit-api"
        if line["event.name"] != "otel_ml.prediction":
            assert not {"otel_ml.model.name", "otel_ml.status"} & set(resource)
            continue
        assert one.time_unix_nano == line["time_unix_nano"] and one.severity_number == line["severity_number"]
        assert (one.trace_id.hex(), one.span_id.hex(), one.flags) == (TRACE, SPAN, 1)
        for key in ("otel_ml.model.name", "otel_ml.status", "service.instance.id", "deployment.environment.name"):
            assert resource[key] == line[key]
        assert facts(one.attributes).items() >= {
            "otel_ml.audit.record_id": line["record_id"], "otel_ml.model.version": "1.2", "duration_ms": 1.5,
            "call_id": "c", "row": line["row"], "rows": 1, "seq": line["seq"],
        }.items()  # fmt: skip
        assert not {"features", "prediction", "hash", "record_id"} & set(facts(one.attributes))
    (gap,) = (one for line, one, _ in found.values() if line["event.name"] == "otel_ml.audit.gap")
    assert (gap.severity_text, gap.time_unix_nano) == ("WARN", START)


def test_segments_survive_kills_and_an_absent_gateway(server: Server, upstream: OtlpReceiver, tmp_path: Path) -> None:
    """Each record arrives at least once, with the id by which a second one is known; sealed later, they follow."""
    process = Process(tmp_path / "audit", service="credit-api")
    upstream.misbehave(Fault(status=503))
    server.start().wait()
    for turn in range(3):
        for number in range(100):
            process.prediction(record_id=f"{turn}-{number}")
        process.seal()
        time.sleep(1)
        server.kill()
        server.start().wait()
    upstream.behave()

    def ids() -> set[str]:
        return {facts(one.attributes).get("otel_ml.audit.record_id", "") for one in upstream.records("logs")}

    expected = {f"{turn}-{number}" for turn in range(3) for number in range(100)}
    upstream.wait_until(lambda: ids() >= expected, "all records", 90)


def test_large_records_are_sent_in_requests_that_the_gateway_takes(
    server: Server, upstream: OtlpReceiver, tmp_path: Path
) -> None:
    """It refuses more than 20 MiB for good, and a record may have 64 KiB."""
    process = Process(tmp_path / "audit", service="credit-api")
    for number in range(600):
        process.prediction(record_id=str(number), features={"text": f"{number} " + "x" * 60_000})
    process.seal()
    server.start().wait()
    upstream.wait("logs", 602, 90)
    sizes = [item.message.ByteSize() for item in upstream.requests if item.signal == "logs"]
    assert max(sizes) < 10_000_000 and len(sizes) > 3


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
