"""What a newcomer is promised, from outside: real commands, real files, a real scrape."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

OTEL_ML = str(Path(sys.executable).with_name("otel-ml"))

SERVER = """
import sys, otel_ml
with otel_ml.configure(logs=otel_ml.Logs(format="none")) as telemetry:
    @otel_ml.inference(model="fraud", version="1")
    def predict(x):
        return x

    for i in range(20):
        predict([i])
    telemetry.flush()
    print(telemetry.directory, flush=True)
    sys.stdin.readline()
"""


def scrape(port: int) -> str:
    """Ask as Prometheus does, with curl where there is one."""
    url, accept = f"http://127.0.0.1:{port}/metrics", "application/openmetrics-text; version=1.0.0"
    curl = shutil.which("curl")
    if curl is not None:
        command = [curl, "--silent", "--fail", "--header", f"Accept: {accept}", url]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(answer.read().decode())


def test_the_exemplars_of_a_scrape_lead_to_traces_that_exist(tmp_path: Path) -> None:
    """`/metrics`, asked for by the standard variables, parses as OpenMetrics; each trace id is in the trace file."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environ = {**os.environ, "OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_PROMETHEUS_PORT": str(port)}
    server = subprocess.Popen(
        [sys.executable, "-P", "-c", SERVER],
        cwd=tmp_path, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        directory = Path(server.stdout.readline().strip())
        page = scrape(port)
    finally:
        server.communicate("\n", timeout=30)
    assert server.returncode == 0
    families = {family.name: family for family in text_string_to_metric_families(page)}
    samples = families["otel_ml_inference_duration_seconds"].samples
    exemplars = [sample.exemplar for sample in samples if sample.exemplar]
    count = next(sample.value for sample in samples if sample.name.endswith("_count"))
    traces = {
        (span["traceId"], span["spanId"])
        for path in directory.glob("traces-*")
        for line in path.read_text().splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    }
    assert count == 20 and exemplars
    assert {(found.labels["trace_id"], found.labels["span_id"]) for found in exemplars} <= traces


def test_a_script_that_knows_nothing_gets_a_run_id_json_logs_with_trace_ids_and_a_trace(tmp_path: Path) -> None:
    """`otel-ml run -- python your_script.py`, then `otel-ml show`; its output and exit code stay the script's."""
    (tmp_path / "your_script.py").write_text(
        "import logging, os\n"
        "logging.warning('careful')\n"
        "print('result', os.environ['OTEL_ML_RUN_ID'])\n"
        "raise SystemExit(3)\n"
    )
    done = subprocess.run(
        [OTEL_ML, "run", "--", sys.executable, "your_script.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    word, run_id = done.stdout.split()
    (line,) = [json.loads(text) for text in done.stderr.splitlines() if '"careful"' in text]
    (directory,) = (tmp_path / ".otel_ml").iterdir()
    trace = "".join(path.read_text() for path in directory.glob("traces-*"))
    assert word == "result" and line["run_id"] == run_id and directory.name.endswith(run_id)
    assert f'"traceId":"{line["trace_id"]}"' in trace and f'"spanId":"{line["span_id"]}"' in trace
    shown = subprocess.run([OTEL_ML, "show"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "run your_script.py" in shown.stdout and "careful" in shown.stdout


def test_a_half_written_run_can_be_shown(tmp_path: Path) -> None:
    """After a real `kill -9` in the middle of the work."""
    code = """
import logging, otel_ml
telemetry = otel_ml.configure(logs=otel_ml.Logs(format="none"))
with otel_ml.run("killed"):
    with otel_ml.step("done"):
        logging.getLogger("app").warning("so far so good")
    telemetry.flush()
    print("ready", flush=True)
    with otel_ml.step("never ends"):
        import time
        time.sleep(60)
"""
    program = subprocess.Popen([sys.executable, "-P", "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None and program.stdout.readline() == "ready\n"
    program.kill()
    program.wait(30)
    program.stdout.close()
    shown = subprocess.run([OTEL_ML, "show"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "killed" in shown.stdout and "interrupted" in shown.stdout
    assert "done" in shown.stdout and "so far so good" in shown.stdout


@pytest.mark.parametrize("code", ["import otel_ml", "import otel_ml.decorators, otel_ml.runs"])
def test_importing_is_light(code: str) -> None:
    """No SDK, no CLI, no numpy: their absence is what keeps the import short, not a stopwatch."""
    check = (
        f"import sys; {code}; heavy = [m for m in ('opentelemetry.sdk', 'asyncio', 'importlib.metadata', 'requests', "
        "'grpc', 'rich', 'click', 'orjson', 'prometheus_client', 'numpy') if m in sys.modules]; print(heavy)"
    )
    baseline = (
        "import sys, opentelemetry.trace, opentelemetry.metrics, opentelemetry.propagate, opentelemetry.baggage; "
    )
    done = subprocess.run([sys.executable, "-P", "-c", baseline + check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stdout
