"""One page for all workers of a real server, whichever of them answers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse

from otel_ml.metrics.exposition import MetricsServer
from otel_ml.metrics.family import Family
from otel_ml.metrics.serving import serve
from support import is_ambient

WORKERS = 3
GUNICORN = ["gunicorn", "--workers", str(WORKERS), "--no-control-socket", "prefork_app:application"]
UVICORN = ["uvicorn", "--workers", str(WORKERS), "--log-level", "warning", "prefork_app:asgi_application"]
SERVERS = {
    "gunicorn": GUNICORN,
    "gunicorn, preloaded": [*GUNICORN, "--preload"],
    "uvicorn": UVICORN,
}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def get(port: int, path: str = "/") -> str:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", headers={"Accept": "application/openmetrics-text", "Connection": "close"}
    )
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.read().decode()
        except OSError:  # it starts, or the worker was killed
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextmanager
def serving(command: list[str], **env: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Run a server until the end of the block; give its port."""
    port = free_port()
    bind = ["--bind", f"127.0.0.1:{port}"] if command[0] == "gunicorn" else ["--port", str(port)]
    inherited = {name: value for name, value in os.environ.items() if not is_ambient(name)}
    with (Path.cwd() / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", command[0], *bind, *command[1:]],
            env={**inherited, "PYTHONPATH": str(Path(__file__).parent), **env},
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield port, process
        except OSError as error:
            raise AssertionError(Path("server.log").read_text()) from error
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()  # gunicorn may lose the signal for a worker that it has just forked, and wait half a minute
            process.wait()


class Load:
    """Sends predictions, and knows who answered them and what a page should say."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.sent = 0
        self.spans: dict[str, int] = {}

    def send(self, number: int) -> set[int]:
        pids = set()
        for _ in range(number):
            pid, span = get(self.port).split()
            self.spans[span] = int(pid)
            pids.add(int(pid))
            self.sent += 1
        return pids

    def send_to_all(self) -> set[int]:
        """Send until all workers have answered; return who they are."""
        pids: set[int] = set()
        deadline = time.monotonic() + 30
        while len(pids) < WORKERS:
            pids |= self.send(5)
            assert time.monotonic() < deadline, f"only {pids} answer"
        return pids

    def check(self, port: int | None = None) -> dict[str, object]:
        """Look at the page several times, so that more than one process shows it; return its exemplars' spans."""
        seen: dict[str, object] = {}
        for _ in range(12):
            samples = [s for f in parse(get(port or self.port, "/metrics")) for s in f.samples]
            values = {s.name: s.value for s in samples if s.name.startswith("otel_ml_inference")}
            assert values["otel_ml_inference_duration_seconds_count"] == self.sent
            assert values["otel_ml_inference_rows_total"] == 3 * self.sent
            assert [s.labels["service_name"] for s in samples if s.name == "target_info"] == ["prefork"]
            seen |= {s.exemplar.labels["trace_id"]: s for s in samples if s.exemplar}
        assert seen and set(seen) <= set(self.spans)
        return seen


@pytest.fixture(params=SERVERS)
def command(request: pytest.FixtureRequest) -> list[str]:
    pytest.importorskip(SERVERS[request.param][0])
    return SERVERS[request.param]


def test_every_worker_shows_what_all_of_them_counted(command: list[str]) -> None:
    """Also after one was killed and another took its place; with exemplars, and nothing counted twice."""
    with serving(command) as (port, _):
        load = Load(port)
        pids = load.send_to_all()
        load.check()
        for victim in sorted(pids)[:2]:
            os.kill(victim, signal.SIGKILL)
            load.check()
            after = load.send_to_all()
            assert victim not in after
            load.check()


def test_a_port_is_served_by_one_worker_and_by_another_after_that_died(command: list[str]) -> None:
    """The page at `Metrics(port=...)` is the sum too, and nobody complains that the port is taken."""
    metrics_port = free_port()
    with serving(command, TEST_METRICS_PORT=str(metrics_port)) as (port, _):
        load = Load(port)
        pids = load.send_to_all()
        load.check(metrics_port)
        for victim in sorted(pids):
            os.kill(victim, signal.SIGKILL)
            load.check(metrics_port)
        load.send_to_all()
        load.check(metrics_port)
    assert "cannot be served" not in Path("server.log").read_text()


def test_a_start_does_not_count_on_from_an_earlier_one(command: list[str], tmp_path: Path) -> None:
    """Although it was killed to the last process and left its folder, which the start removes."""
    for folder in ({}, {"OTEL_ML_METRICS_DIR": str(tmp_path / "shared")}):
        for _ in range(2):
            with serving(command, **folder) as (port, process):
                load = Load(port)
                pids = load.send_to_all()
                load.check()
                process.kill()
                process.wait()
                for pid in pids:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
    assert len(list((tmp_path / "shared").iterdir())) == 1


def test_the_exemplar_of_a_worker_that_died_is_kept(command: list[str]) -> None:
    """It is shown until another process measures something in its bucket."""
    with serving(command) as (port, _):
        load = Load(port)
        load.send_to_all()
        spans = load.check()
        for pid in {load.spans[span] for span in spans}:
            os.kill(pid, signal.SIGKILL)
        assert set(load.check()) == set(spans)


def test_a_port_is_served_when_the_process_that_had_it_ends_at_that_moment(tmp_path: Path) -> None:
    """Between the attempt to take the port and the look at who has it: nobody of the family does any more."""
    port = free_port()
    code = f"import socket; s = socket.create_server(('127.0.0.1', {port})); print('has it', flush=True); input()"
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"has it\n"

    class Late(Family):
        def has_server(self, port: int) -> bool:
            holder.kill()
            holder.wait()
            return super().has_server(port)

    server = serve("127.0.0.1", port, CollectorRegistry(), Late("late", tmp_path))
    assert isinstance(server, MetricsServer)
    server.close()
    holder.communicate()
