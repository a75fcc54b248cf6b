"""The real servers of the stack, started from the shipped configs: only addresses and directories are overridden.

`start_stack(directory)` gives agent, gateway, Loki, Prometheus and Tempo. Without a Tempo (`OTEL_ML_TEMPO` names its
binary) a second collector takes its place, which writes what would have reached it to a file.
"""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import httpx

REPOSITORY = Path(__file__).parents[2]
TOKEN = "a-token-for-the-tests"
SCRAPED = {"gateway:8888": "gateway", "loki:3100": "loki", "prometheus:9090": "prometheus", "tempo:3200": "tempo"}
_LIVED_THROUGH = ("PATH", "HOME", "TMPDIR", "LANG")


# Read here, because each test runs without the variables that configure telemetry.
BINARIES = os.environ.get("OTEL_ML_SERVERS")


def binary(name: str) -> str:
    """Return the path of a server's binary; `make stack-test` says where they are."""
    assert BINARIES, "OTEL_ML_SERVERS is not set: run `make stack-test`, which builds the servers"
    return str(Path(BINARIES) / name)


def free_ports(number: int) -> list[int]:
    """Return ports on loopback that nobody uses and no other test gets.

    They are below those that the system gives to outgoing connections, and a lock on a file of its name keeps each for
    this process.
    """
    found: list[int] = []
    for port in random.sample(range(20_000, 32_000), 2_000):
        lock = (Path(tempfile.gettempdir()) / f"otel_ml-port-{port}").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as free:
                free.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
            continue
        _locks.append(lock)
        found.append(port)
        if len(found) == number:
            return found
    raise AssertionError("no free port was found")


_locks: list[TextIO] = []


@dataclass
class Server:
    """One process and how to tell that it is up.

    Args:
        name: What it is called in messages, and its log file.
        command: Program and arguments.
        directory: Where its output goes.
        url: Base URL of its main port.
        health: URL that answers with 2xx when it is ready.
        environment: Variables on top of PATH and the like.
        otlp: Base URL where it takes OTLP over HTTP, if it does.
        otlp_grpc: Address where it takes OTLP over gRPC, if it does.
    """

    name: str
    command: Sequence[str]
    directory: Path
    url: str
    health: str
    environment: Mapping[str, str] = field(default_factory=dict)
    otlp: str = ""
    otlp_grpc: str = ""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        """Start the process, without waiting for it to be ready."""
        self.directory.mkdir(parents=True, exist_ok=True)
        kept = {name: os.environ[name] for name in _LIVED_THROUGH if name in os.environ}
        with (self.directory / f"{self.name}.output").open("ab") as output:
            self.process = subprocess.Popen(
                self.command, env={**kept, **self.environment}, stdout=output, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, cwd=self.directory,
            )  # fmt: skip
        return self

    def wait(self, timeout: float = 90.0) -> Server:
        """Wait until it is ready.

        Raises:
            AssertionError: It ended, or was not ready in time; with the end of its output.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            assert self.process is not None and self.process.poll() is None, (
                f"{self.name} ended:\n{self.output[-4000:]}"
            )
            with suppress(httpx.HTTPError):
                if httpx.get(self.health, timeout=2).is_success:
                    return self
            time.sleep(0.2)
        raise AssertionError(f"{self.name} was not ready after {timeout:.0f} s:\n{self.output[-4000:]}")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the process in order, or by another signal, and wait until it has ended."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def kill(self) -> None:
        """End the process by SIGKILL."""
        self.stop(signal.SIGKILL)

    @property
    def output(self) -> str:
        """What the process wrote to stdout and stderr since its first start."""
        return (self.directory / f"{self.name}.output").read_text(errors="replace")

    @property
    def memory(self) -> int:
        """Largest resident memory of the process so far, bytes."""
        return 1024 * int(self._status("VmHWM").split()[0])

    @property
    def cpu(self) -> float:
        """CPU time that the process has used, seconds."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _status(self, name: str) -> str:
        assert self.process is not None
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(line.split(":", 1)[1] for line in lines if line.startswith(f"{name}:"))


@contextmanager
def running(*servers: Server) -> Iterator[None]:
    """Start servers, wait until all are ready, and end them afterwards, the last one first."""
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.wait()
        yield
    finally:
        for server in reversed(servers):
            server.stop()


def collector(
    name: str, configs: Sequence[Path], directory: Path, environment: Mapping[str, str], ports: Sequence[int]
) -> Server:
    """Return a collector whose four ports are OTLP over gRPC and over HTTP, health, and its own metrics."""
    grpc, http, health, metrics = ports
    return Server(
        name,
        [binary("otelcol"), *(f"--config={path}" for path in configs)],
        directory,
        f"http://127.0.0.1:{metrics}",
        f"http://127.0.0.1:{health}/",
        environment,
        f"http://127.0.0.1:{http}",
        f"127.0.0.1:{grpc}",
    )


def gateway(directory: Path, environment: Mapping[str, str] | None = None, *overlays: Path) -> Server:
    """Return a gateway with the shipped config, and overlays after it."""
    ports = free_ports(4)
    names = ("GRPC_PORT", "HTTP_PORT", "HEALTH_PORT", "METRICS_PORT")
    settings = {f"OTEL_ML_GATEWAY_{name}": str(port) for name, port in zip(names, ports, strict=True)}
    settings |= {"OTEL_ML_GATEWAY_HOST": "127.0.0.1", "OTEL_ML_GATEWAY_DIRECTORY": str(directory / "gateway")}
    settings |= {"OTEL_ML_TOKEN": TOKEN, **(environment or {})}
    return collector("gateway", [REPOSITORY / "collector/gateway.yaml", *overlays], directory, settings, ports)


def agent(directory: Path, gateway_url: str, environment: Mapping[str, str] | None = None) -> Server:
    """Return an agent with the shipped config that sends to a gateway."""
    ports = free_ports(4)
    names = ("GRPC_PORT", "HTTP_PORT", "HEALTH_PORT", "METRICS_PORT")
    settings = {f"OTEL_ML_AGENT_{name}": str(port) for name, port in zip(names, ports, strict=True)}
    settings |= {
        "OTEL_ML_AGENT_DIRECTORY": str(directory / "agent"),
        "OTEL_ML_GATEWAY_ENDPOINT": gateway_url,
        "OTEL_ML_LOG_FILES": str(directory / "logs" / "*.log"),
        "OTEL_ML_AUDIT_FILES": str(directory / "audit" / "*.jsonl"),
        "OTEL_ML_TOKEN": TOKEN,
        **(environment or {}),
    }
    return collector("agent", [REPOSITORY / "collector/agent.yaml"], directory, settings, ports)


def loki(directory: Path) -> Server:
    """Return a Loki with the shipped config."""
    port, grpc = free_ports(2)
    settings = {
        "OTEL_ML_LOKI_HOST": "127.0.0.1",
        "OTEL_ML_LOKI_PORT": str(port),
        "OTEL_ML_LOKI_GRPC_PORT": str(grpc),
        "OTEL_ML_LOKI_DIRECTORY": str(directory / "loki"),
    }
    command = [binary("loki"), f"-config.file={REPOSITORY / 'grafana/loki.yaml'}", "-config.expand-env=true"]
    url = f"http://127.0.0.1:{port}"
    return Server("loki", command, directory, url, f"{url}/ready", settings, f"{url}/otlp")


def prometheus(directory: Path, targets: Mapping[str, str] | None = None) -> Server:
    """Return a Prometheus with the shipped config and rules.

    Args:
        directory: Where its data and a copy of its config go; Prometheus expands no variables.
        targets: Address to be scraped by host name in the config, such as `{"gateway": "127.0.0.1:1234"}`.
    """
    (port,) = free_ports(1)
    home = directory / "prometheus-config"
    shutil.copytree(REPOSITORY / "grafana/rules", home / "rules", dirs_exist_ok=True, ignore=lambda *_: ["tests"])
    config = (REPOSITORY / "grafana/prometheus.yaml").read_text()
    for address, name in SCRAPED.items():
        own = f"127.0.0.1:{port}" if name == "prometheus" else "127.0.0.1:9"
        config = config.replace(address, (targets or {}).get(name, own))
    (home / "prometheus.yaml").write_text(config)
    command = [
        binary("prometheus"),
        f"--config.file={home / 'prometheus.yaml'}",
        f"--storage.tsdb.path={directory / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-otlp-receiver",
        "--web.enable-remote-write-receiver",
        "--enable-feature=exemplar-storage",
        "--enable-feature=created-timestamp-zero-ingestion",
        "--log.level=warn",
    ]
    url = f"http://127.0.0.1:{port}"
    return Server("prometheus", command, directory, url, f"{url}/-/ready", {}, f"{url}/api/v1/otlp")
