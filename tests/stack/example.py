"""The load that the shared stack sees: the example is trained, served and used, and some of it goes wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from segments import Process
from stack import tempo
from stack.servers import REPOSITORY, Server, free_ports
from stack.whole import Stack
from support import is_ambient

EXAMPLE = REPOSITORY / "examples/serving"
SECONDS = 30
RATE = 15
APPLICANT = {
    "income": 32000, "amount": 9000, "age": 41, "years_employed": 6,
    "late_payments": 0, "utilisation": 0.3, "purpose": "car",
}  # fmt: skip

# The spans of this program have nowhere to go. Its predictions are counted as the audit trail will count its records.
TROUBLED = """
    import time
    from opentelemetry import metrics
    import otel_ml
    from otel_ml import conventions, health

    @otel_ml.inference(model="audited", version="1")
    def predict(x):
        return x

    with otel_ml.configure(service_name="troubled"):
        labels = {conventions.MODEL_NAME: "audited", "otel_ml.status": "ok"}
        records = metrics.get_meter(conventions.SCOPE).create_counter("otel_ml.audit.records")
        for _ in range(60):
            predict([1.0])
            records.add(1, labels)
            health.count_dropped("audit", "queue_full")
            time.sleep(0.5)
"""
# This one writes files, which the agent reads.
FILES = """
    import logging
    import otel_ml

    with otel_ml.configure(service_name="files", level="DEBUG", logs=otel_ml.Logs(format="none")):
        with otel_ml.step("work"):
            logging.getLogger("app").warning("from a file", extra={"rows": 3})
            try:
                1 / 0
            except ZeroDivisionError:
                logging.getLogger("app").exception("it went wrong")
"""


@dataclass
class LoadedStack:
    """The stack, and what was done to it.

    Args:
        stack: The servers.
        report: What the load generator says that it sent.
        trace_id: Trace id of one request that was sent by itself, with `span_id` as its parent.
        span_id: See there.
        service: Base URL of the example service, which still runs.
    """

    stack: Stack
    report: dict[str, Any]
    trace_id: str
    span_id: str
    service: str

    @property
    def prometheus(self) -> Server:
        """Where metrics are."""
        return self.stack.prometheus

    @property
    def loki(self) -> Server:
        """Where logs are."""
        return self.stack.loki

    @property
    def tempo(self) -> Server | None:
        """Where traces are; None when a stand-in takes Tempo's place."""
        return self.stack.tempo if tempo.is_real() else None


def environment(stack: Stack, **more: str) -> dict[str, str]:
    """Return the variables of a program that sends to the stack's agent."""
    inherited = {name: value for name, value in os.environ.items() if not is_ambient(name)}
    # Several threads for one small matrix would wait for each other.
    quiet = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OTEL_ML_LOG_FORMAT": "none"}
    sending = {"OTEL_EXPORTER_OTLP_ENDPOINT": stack.agent.otlp, "OTEL_METRIC_EXPORT_INTERVAL": "5000"}
    return {**inherited, **quiet, **sending, "CREDIT_MODELS": str(stack.directory / "models"), **more}


def run(stack: Stack, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the example to its end."""
    return subprocess.run(
        [sys.executable, str(EXAMPLE / name), *arguments],
        cwd=stack.directory,
        env=environment(stack),
        capture_output=True,
        text=True,
        timeout=120 + SECONDS,
        check=False,
    )


@contextmanager
def started(command: list[str], folder: Path, variables: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program meanwhile, and end it afterwards."""
    with (folder / "programs.output").open("ab") as output:
        process = subprocess.Popen(command, cwd=folder, env=variables, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def serving(stack: Stack) -> Iterator[str]:
    """Start the example service and give its base URL."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(EXAMPLE / "service.py"), "--port", str(port)]
    with started(command, stack.directory, environment(stack)):
        deadline = time.monotonic() + 60
        while True:
            try:
                if httpx.get(f"{url}/healthz", timeout=2).is_success:
                    break
            except httpx.HTTPError:
                assert time.monotonic() < deadline, (stack.directory / "programs.output").read_text()
            time.sleep(0.2)
        yield url


@contextmanager
def under_load(stack: Stack) -> Iterator[LoadedStack]:
    """Do all of it, and leave the service running."""
    trained = run(stack, "train.py", "--models", str(stack.directory / "models"))
    assert trained.returncode == 0, trained.stderr
    failed = run(stack, "train.py", "--data", "missing.csv")
    assert failed.returncode == 1, failed.stderr
    lost = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{stack.agent.otlp}/nowhere"}
    files = {"OTEL_LOGS_EXPORTER": "none", "OTEL_ML_LOG_DIR": str(stack.directory / "logs")}
    write_audit_segment(stack.directory / "audit")
    with ExitStack() as cleanup:
        url = cleanup.enter_context(serving(stack))
        for code, variables in ((TROUBLED, lost), (FILES, files)):
            command = [sys.executable, "-P", "-c", textwrap.dedent(code)]
            cleanup.enter_context(started(command, stack.directory, environment(stack, **variables)))
        report = run(stack, "load.py", "--url", url, "--rate", str(RATE), "--seconds", str(SECONDS), "--json")
        assert report.returncode == 0, report.stderr
        trace_id, span_id = os.urandom(16).hex(), os.urandom(8).hex()
        httpx.post(
            f"{url}/predict",
            json={"applicants": [APPLICANT], "version": "2"},
            headers={"traceparent": f"00-{trace_id}-{span_id}-01"},
            timeout=30,
        ).raise_for_status()
        yield LoadedStack(stack, json.loads(report.stdout), trace_id, span_id, url)


def write_audit_segment(folder: Path) -> None:
    """Write a sealed segment: predictions of the program above, each tenth failed, and a gap."""
    process, now = Process(folder, service="troubled"), time.time_ns()
    for number in range(50):
        failed = {"otel_ml__status": "error", "severity_number": 17, "error__type": "ValueError", "prediction": None}
        process.prediction(
            record_id=f"01a204c5-0000-7000-8000-{number:012d}", time_unix_nano=now, trace_id=os.urandom(16).hex(),
            span_id=os.urandom(8).hex(), service__name="troubled", otel_ml__model__name="audited",
            otel_ml__model__version="1", features={"amount": number, "max_token": 5, "password": "[redacted]"},
            **({} if number % 10 else {**failed, "exception__message": "too small"}),
        )  # fmt: skip
    lost = {"lost": {"queue_full": 2}, "first_time_unix_nano": now, "last_time_unix_nano": now}
    process.add({"event.name": "otel_ml.audit.gap", **lost})
    process.seal()
