"""The example service as one would run it: a process of its own, real requests, and what it leaves in local files."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from support import is_ambient

EXAMPLE = Path(__file__).parents[2] / "examples" / "serving"
EMAIL = "ada@example.org"
APPLICANT = {
    "email": EMAIL,
    "income": 32000,
    "amount": 9000,
    "age": 41,
    "years_employed": 6,
    "late_payments": 0,
    "utilisation": 0.3,
    "purpose": "car",
}
ANSWERED = {"POST /predict", "choose", "score", "predict credit", "features", "decide"}


def environment(folder: Path, models: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not is_ambient(name)}
    own = {"OTEL_ML_DIR": str(folder / "state"), "OTEL_ML_LOG_FORMAT": "none", "CREDIT_MODELS": str(models)}
    quick = {"OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_METRIC_EXPORT_INTERVAL": "500"}
    # As in the image: several threads for one small matrix spend their time waiting for each other.
    return {**inherited, **own, **quick, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def run(name: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLE / name), *arguments],
        cwd=folder,
        env=environment(folder, folder / "models"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def eventually(condition: Callable[[], Any], timeout: float = 30.0) -> Any:
    """Return what the condition returns as soon as that is true."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        assert time.monotonic() < deadline, condition
        time.sleep(0.1)
    return result


@dataclass(frozen=True)
class Recorded:
    """The local files of one process."""

    folder: Path

    def lines(self, pattern: str) -> list[dict[str, Any]]:
        """Return the complete lines of all files of a kind; the last one may be half written."""
        texts = [path.read_text() for path in self.folder.glob(f"state/*/{pattern}")]
        return [json.loads(line) for text in texts for line in text[: text.rfind("\n") + 1].splitlines()]

    def logs(self, trace_id: str | None = None) -> list[dict[str, Any]]:
        return [line for line in self.lines("*.log") if trace_id is None or line.get("trace_id") == trace_id]

    def spans(self, trace_id: str | None = None) -> list[dict[str, Any]]:
        requests = self.lines("traces-*.jsonl")
        scopes = [scope for line in requests for resource in line["resourceSpans"] for scope in resource["scopeSpans"]]
        spans = [span for scope in scopes for span in scope["spans"]]
        return [span for span in spans if trace_id is None or span["traceId"] == trace_id]

    def trace(self, trace_id: str, names: set[str]) -> dict[str, dict[str, Any]]:
        """Wait until the spans of these names are there; return all of the trace by name."""
        eventually(lambda: names <= {span["name"] for span in self.spans(trace_id)})
        spans = self.spans(trace_id)
        assert len({span["name"] for span in spans}) == len(spans)
        return {span["name"]: span for span in spans}


@dataclass(frozen=True)
class Service(Recorded):
    process: subprocess.Popen[bytes]
    url: str

    def predict(self, *applicants: dict[str, Any], trace_id: str = "", version: str | None = None) -> httpx.Response:
        headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"} if trace_id else {}
        body = {"applicants": applicants, "version": version}
        return httpx.post(f"{self.url}/predict", json=body, headers=headers, timeout=60)

    def healthy(self) -> bool:
        assert self.process.poll() is None, "the service ended"
        try:
            return httpx.get(f"{self.url}/healthz").status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def serving(folder: Path, models: Path) -> Iterator[Service]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(EXAMPLE / "service.py"), "--port", str(port)]
    with subprocess.Popen(command, cwd=folder, env=environment(folder, models)) as process:
        try:
            service = Service(folder, process, f"http://127.0.0.1:{port}")
            eventually(service.healthy, timeout=60)
            yield service
        finally:
            process.kill()


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A training run that has written its models."""
    folder = tmp_path_factory.mktemp("training")
    done = run("train.py", "--models", "models", "--rows", "2000", folder=folder)
    assert done.returncode == 0, done.stderr
    return Recorded(folder)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One that finds no models, and therefore fits its own."""
    folder = tmp_path_factory.mktemp("service")
    with serving(folder, folder / "none") as running:
        yield running


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {item["key"]: next(iter(item["value"].values())) for item in span["attributes"]}


def exemplars(page: str, metric: str) -> set[str]:
    """Return the trace ids that lead from a histogram to its traces."""
    families = {family.name: family for family in text_string_to_metric_families(page)}
    return {sample.exemplar.labels["trace_id"] for sample in families[metric].samples if sample.exemplar}


def metrics_page(service: Service) -> httpx.Response:
    accept = {"accept": "application/openmetrics-text"}
    return httpx.get(f"{service.url}/metrics", headers=accept, follow_redirects=True)


def test_a_request_is_one_trace_with_its_log_line_and_its_place_in_the_histogram(service: Service) -> None:
    """All three carry the trace id that the caller sent, and the spans are where the README draws them."""
    trace_id = uuid4().hex
    risky = {**APPLICANT, "amount": 40000, "late_payments": 4, "utilisation": 0.9}
    answer = service.predict(APPLICANT, risky, trace_id=trace_id, version="1").json()
    assert (answer["version"], answer["decisions"]) == ("1", ["approve", "decline"])
    page = metrics_page(service).text
    spans = service.trace(trace_id, ANSWERED)
    parents = {name: span.get("parentSpanId") for name, span in spans.items()}
    request = spans["POST /predict"]["spanId"]
    assert set(spans) == ANSWERED
    assert parents == {
        "POST /predict": "b7ad6b7169203331",
        "choose": request,
        "score": request,
        "predict credit": spans["score"]["spanId"],
        "features": spans["predict credit"]["spanId"],
        "decide": request,
    }
    assert attributes(spans["predict credit"])["otel_ml.model.version"] == "1"
    [line] = eventually(lambda: service.logs(trace_id))
    assert line["message"] == "version 1 scored 2 applicants, declined 1"
    assert line["span_id"] == request
    assert trace_id in exemplars(page, "otel_ml_inference_duration_seconds")


def test_a_failing_prediction_is_logged_once_with_masked_features(service: Service) -> None:
    """The caller gets 422 and the trace id; the e-mail is in no file."""
    for fault in ({"purpose": "yacht"}, {"income": None}):
        answer = service.predict({**APPLICANT, **fault})
        assert answer.status_code == 422
        trace_id = answer.json()["detail"]["trace_id"]
        spans = service.trace(trace_id, {"POST /predict"})
        assert {name for name, span in spans.items() if span["status"].get("code") == 2} == {"score", "predict credit"}
        [line] = eventually(lambda trace_id=trace_id: service.logs(trace_id))
        assert (line["level"], line["logger"]) == ("ERROR", "otel_ml.inference")
        assert line["message"].startswith("predict credit failed: ValueError: ")
        assert line["exception"]["type"] == "ValueError"
        assert line["otel_ml.features"] == [{**APPLICANT, **fault, "email": "[redacted]"}]
    files = [path for path in service.folder.rglob("*") if path.is_file()]
    assert not [path for path in files if EMAIL.encode() in path.read_bytes()]


def test_metrics_are_open_metrics_and_probes_leave_no_trace(service: Service) -> None:
    """The page parses, and neither it nor the health check is traced or logged."""
    service.predict(APPLICANT)
    page = metrics_page(service)
    assert page.headers["content-type"].startswith("application/openmetrics-text")
    for metric in ("otel_ml_inference_duration_seconds", "http_server_request_duration_seconds"):
        assert exemplars(page.text, metric)
    assert service.healthy()
    marker = uuid4().hex
    service.predict(APPLICANT, trace_id=marker)  # once it is there, so is everything before
    service.trace(marker, ANSWERED)
    assert {span["name"] for span in service.spans() if not span.get("parentSpanId")} <= {"POST /predict"}
    assert not [line for line in service.logs() if "healthz" in line["message"] or "GET" in line["message"]]


def test_the_load_is_the_mix_that_it_promises_and_does_not_wait_for_a_slow_server(service: Service) -> None:
    """A stop of one second shows in a fifth of the requests of five; a load that waited for answers would show few."""
    folder = service.folder / "load"
    folder.mkdir()
    before = len(service.spans())

    def pause() -> None:
        deadline = time.monotonic() + 60
        while len(service.spans()) == before and time.monotonic() < deadline:  # until the load has begun
            time.sleep(0.05)
        service.process.send_signal(signal.SIGSTOP)
        time.sleep(1)
        service.process.send_signal(signal.SIGCONT)

    pausing = threading.Thread(target=pause)
    pausing.start()
    arguments = ["--url", service.url, "--rate", "40", "--seconds", "5", "--json"]
    try:
        done = run("load.py", *arguments, folder=folder)
    finally:
        pausing.join()
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["kinds"] == {"single": 180, "small": 6, "large": 6, "faulty": 8}
    assert report["statuses"] == {"200": 192, "422": 8}
    assert 0.05 <= report["versions"]["2"] / 192 <= 0.4
    assert report["latency_ms"]["p90"] > 200
    service.trace(report["traces"]["failed"][0], ANSWERED - {"decide"})
    large = attributes(service.trace(report["traces"]["slow"][0], ANSWERED)["predict credit"])
    assert int(large["otel_ml.output.rows"]) >= 3000
    clients = {(span["traceId"], span["spanId"]) for span in Recorded(folder).spans()}
    assert len(clients) == 200

    def answered() -> list[tuple[str, str]]:
        requests = [span for span in service.spans() if span["name"] == "POST /predict"]
        parents = [(span["traceId"], span.get("parentSpanId", "")) for span in requests]
        return sorted(parent for parent in parents if parent in clients)

    eventually(lambda: len(answered()) >= len(clients))  # an export follows its request by up to a second
    assert answered() == sorted(clients)


def ask_for_a_body_and_wait(service: Service, trace_id: str, body: bytes) -> socket.socket:
    """Send the head of a request; return when the service is at work on it, and waits for the body."""
    url = httpx.URL(service.url)
    connection = socket.create_connection((url.host, url.port), timeout=30)
    head = [
        "POST /predict HTTP/1.1",
        f"Host: {url.host}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"traceparent: 00-{trace_id}-b7ad6b7169203331-01",
        "Expect: 100-continue",
        "Connection: close",
    ]
    connection.sendall("\r\n".join([*head, "", ""]).encode())
    assert connection.recv(1024).startswith(b"HTTP/1.1 100 ")
    return connection


def test_a_stop_under_load_loses_nothing_of_a_request_that_was_answered(training: Recorded, tmp_path: Path) -> None:
    """SIGTERM lets the requests under way finish; the spans and log lines of each are in the files.

    This service has models that a training run wrote, and trains none.
    """
    answered: list[str] = []

    def send_until_it_ends(service: Service, rows: int) -> None:
        while True:
            trace_id = uuid4().hex
            try:
                answer = service.predict(*[APPLICANT] * rows, trace_id=trace_id)
            except httpx.TransportError:
                return
            assert answer.status_code == 200
            answered.append(trace_id)

    with serving(tmp_path, training.folder / "models") as service:
        senders = [threading.Thread(target=send_until_it_ends, args=(service, rows)) for rows in (1, 1, 5000)]
        for sender in senders:
            sender.start()
        eventually(lambda: len(answered) > 50, timeout=60)
        last, body = uuid4().hex, json.dumps({"applicants": [APPLICANT]}).encode()
        with ask_for_a_body_and_wait(service, last, body) as connection:
            service.process.terminate()
            eventually(lambda: [line for line in service.logs() if line["message"] == "Shutting down"])
            connection.sendall(body)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200 ")
        service.process.wait(30)
        for sender in senders:
            sender.join(30)
    logs, answered = service.logs(), [*answered, last]
    assert next(line["message"] for line in logs if line["logger"] == "credit.api") == "serving versions 1, 2"
    lines = Counter(line.get("trace_id") for line in logs)
    spans = Counter((span["traceId"], span["name"]) for span in service.spans())
    assert [(trace_id, name) for trace_id in answered for name in ANSWERED if spans[trace_id, name] != 1] == []
    assert [trace_id for trace_id in answered if lines[trace_id] != 1] == []


def test_training_is_one_trace(training: Recorded) -> None:
    """Every stage is a span of the run `train-credit`, with its run id."""
    spans = training.spans()
    names = [span["name"] for span in sorted(spans, key=lambda span: int(span["startTimeUnixNano"]))]
    assert names == ["run train-credit", "load", "split", *["train", "evaluate", "save"] * 2]
    assert len({span["traceId"] for span in spans}) == 1
    assert len({attributes(span)["otel_ml.run.id"] for span in spans}) == 1
    assert {line["service"] for line in training.logs()} == {"credit-training"}


def test_training_without_its_data_fails_in_the_step_that_needs_it(tmp_path: Path) -> None:
    """The step and the run have failed, and the exception is logged once."""
    done = run("train.py", "--data", "missing.csv", folder=tmp_path)
    assert done.returncode == 1 and "missing.csv" in done.stderr
    spans = {span["name"]: span for span in Recorded(tmp_path).spans()}
    assert set(spans) == {"run train-credit", "load"}
    assert {span["status"].get("code") for span in spans.values()} == {2}
    [line] = [line for line in Recorded(tmp_path).logs() if line["level"] == "ERROR"]
    assert (line["logger"], line["exception"]["type"]) == ("otel_ml.step", "FileNotFoundError")
    assert not (tmp_path / "models").exists()
