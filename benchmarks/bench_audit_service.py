"""What the audit trail costs the requests of a real service: the example in `examples/serving`, with it and without it.

Run with `python benchmarks/bench_audit_service.py`. Two server processes run at the same time, and are asked in turn, a
short slice each, by one client over one connection at a steady rate well below what they can do; each pair of slices
has the same requests, and the order changes from pair to pair. What the machine does besides hits both alike.

A duration is counted from sending, or from when the request was due if the one before took longer than that. The
interval of the ratio is a bootstrap over pairs of slices.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import runpy
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

EXAMPLE = Path(__file__).parents[1] / "examples" / "serving"
LAUNCH = """
import functools, runpy, sys, otel_ml
from pathlib import Path
audit = otel_ml.Audit(directory=Path("audit")) if sys.argv[1] == "on" else False
otel_ml.configure = functools.partial(otel_ml.configure, audit=audit)
sys.path.insert(0, sys.argv[2])
sys.argv = ["service.py", "--port", sys.argv[3]]
runpy.run_path(sys.path[0] + "/service.py", run_name="__main__")
"""
SINGLE_THREADED = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class Client:
    """One connection to one server.

    Args:
        port: Where it listens.
    """

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(self, content: bytes) -> int:
        """Send a request; return the status of the answer."""
        self._connection.request("POST", "/predict", content, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        answer.read()
        return answer.status

    def ask_steadily(self, bodies: Sequence[bytes], rate: float) -> list[float]:
        """Send requests at a steady rate; return how long each took, in milliseconds."""
        found = []
        due = time.perf_counter()
        for content in bodies:
            wait = due - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            begin = time.perf_counter() if wait > 0 else due
            if self.ask(content) not in (200, 422):
                raise SystemExit("the service failed")
            found.append((time.perf_counter() - begin) * 1000)
            due += 1.0 / rate
        return found


@contextmanager
def serving(folder: Path, audit: str, models: Path) -> Iterator[Client]:
    """Run the service with or without audit trail; give a client of it once it answers."""
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, **SINGLE_THREADED, "OTEL_ML_DIR": str(folder / "state"), "CREDIT_MODELS": str(models)}
    command = [sys.executable, "-c", LAUNCH, audit, str(EXAMPLE), str(port)]
    with (folder / "console").open("w") as console:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=console, stderr=console)
        try:
            wait_for(port, process)
            yield Client(port)
        finally:
            process.terminate()
            process.wait(30)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server listens."""
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the service did not start")


def train(folder: Path) -> Path:
    """Fit the models that both servers load."""
    command = [sys.executable, str(EXAMPLE / "train.py"), "--models", "models", "--rows", "3000"]
    subprocess.run(
        command, cwd=folder, check=True, capture_output=True, env={**os.environ, "OTEL_ML_DIR": str(folder / "state")}
    )
    return folder / "models"


def measure(clients: dict[str, Client], given: argparse.Namespace) -> dict[str, list[list[float]]]:
    """Ask both in turn; return the durations of each slice."""
    body: Callable[[str, random.Random], bytes] = runpy.run_path(str(EXAMPLE / "load.py"))["body"]
    dice = random.Random(given.seed)
    number = round(given.rate * given.slice)
    found: dict[str, list[list[float]]] = {name: [] for name in clients}
    for pair in range(-given.warm, given.pairs):
        kinds = ["faulty" if dice.random() < given.faulty / 100 else "single" for _ in range(number)]
        bodies = [body(kind, dice) for kind in kinds]
        for name in list(clients)[:: 1 if pair % 2 else -1]:
            durations = clients[name].ask_steadily(bodies, given.rate)
            if pair >= 0:
                found[name].append(durations)
    return found


def compare(found: dict[str, list[list[float]]], quantile: float) -> tuple[float, float, float]:
    """Return the ratio of a percentile with audit trail to that without, and its 95 % interval."""
    with_audit, without = (np.array(found[name]) for name in ("on", "off"))
    dice = np.random.default_rng(1)
    ratios = []
    for _ in range(2000):
        pairs = dice.integers(0, len(without), len(without))
        ratios.append(np.quantile(with_audit[pairs], quantile) / np.quantile(without[pairs], quantile))
    low, high = np.quantile(ratios, (0.025, 0.975))
    return float(np.quantile(with_audit, quantile) / np.quantile(without, quantile)), float(low), float(high)


def recorded(directory: Path) -> int:
    """Return how many predictions are on record."""
    return sum(path.read_text().count('"event.name":"otel_ml.prediction"') for path in directory.glob("*-0*.jsonl*"))


def report(found: dict[str, list[list[float]]], records: int) -> dict[str, Any]:
    """Return the figures, in milliseconds."""
    figures: dict[str, Any] = {"requests_each": sum(map(len, found["on"])), "records": records}
    for name, slices in found.items():
        figures[name] = {f"p{100 * q:g}": round(float(np.quantile(slices, q)), 3) for q in (0.5, 0.9, 0.99, 0.999)}
    for quantile in (0.5, 0.99):
        ratio, low, high = compare(found, quantile)
        figures[f"ratio_of_p{100 * quantile:g}"] = {
            "ratio": round(ratio, 4),
            "from": round(low, 4),
            "to": round(high, 4),
        }
    return figures


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rate", type=float, default=40.0, help="requests a second, to the server that is asked")
    arguments.add_argument("--slice", type=float, default=1.0, help="seconds for which one server is asked")
    arguments.add_argument("--pairs", type=int, default=200, help="of slices")
    arguments.add_argument("--warm", type=int, default=5, help="pairs before that which do not count")
    arguments.add_argument("--faulty", type=float, default=0.0, help="requests of a hundred that the model refuses")
    arguments.add_argument("--seed", type=int, default=7)
    arguments.add_argument("--json", action="store_true")
    given = arguments.parse_args()
    if given.slice > 2:
        arguments.error("a server that is not asked for two slices of more than 2 s closes its connection")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        models = train(folder)
        clients = {audit: stack.enter_context(serving(folder / audit, audit, models)) for audit in ("on", "off")}
        found = measure(clients, given)
        stack.close()
        figures = report(found, recorded(folder / "on" / "audit"))
        if recorded(folder / "off" / "state" / "audit"):
            raise SystemExit("the server without audit trail has one")
    if figures["records"] < figures["requests_each"]:
        raise SystemExit("records are missing")
    if given.json:
        print(json.dumps(figures))
        return
    for key, value in figures.items():
        print(f"{key:16} {value}")


if __name__ == "__main__":
    main()
