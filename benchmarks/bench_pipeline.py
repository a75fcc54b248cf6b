"""What watching costs the example pipeline, from Prefect's server to the last stage of DVC.

Run with `python benchmarks/bench_pipeline.py`, where `otel_ml[all]` is installed; Linux only. Two runs share one
processor, one of them with `OTEL_SDK_DISABLED=true`: the kernel gives it to both in turns of some milliseconds, so a
machine that changes its speed does it to both. Runs after one another differ by more than is to be measured. The figure
is the CPU time of all processes of the one run over that of the other.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "pipeline"
SOURCES = ("conf", "stages", "dvc.yaml", "flow.py")
FLOW = ["python", "flow.py"]


def begin(folder: Path, processor: int, *, watched: bool) -> subprocess.Popen[bytes]:
    """Start a run in a folder of its own, on one processor."""
    for name in SOURCES:
        source = EXAMPLE / name
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, folder / name)
    environment = {
        **os.environ, "DVC_NO_ANALYTICS": "1", "MLFLOW_DISABLE_TELEMETRY": "true",
        "PREFECT_HOME": str(folder / ".prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
    }  # fmt: skip
    environment["OTEL_SDK_DISABLED"] = "false" if watched else "true"
    subprocess.run(["dvc", "init", "--no-scm", "--quiet"], cwd=folder, env=environment, check=True)
    command = ["otel-ml", "run", "--name", "pipeline", "--", *FLOW] if watched else FLOW
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {processor})  # it goes to the processes that this one starts
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
    os.sched_setaffinity(0, before)
    return process


def end(runs: dict[tuple[int, bool], subprocess.Popen[bytes]]) -> dict[tuple[int, bool], float]:
    """Wait for the runs; return their CPU seconds, by processor and whether they were watched."""
    seconds: dict[tuple[int, bool], float] = {}
    failed = []
    for run, process in runs.items():
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            failed.append(f"run {run} ended with {process.returncode}")
        seconds[run] = used.ru_utime + used.ru_stime
    if failed:
        raise SystemExit("\n".join(failed))
    return seconds


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=2, help="each has a pair of runs on every processor")
    rounds = arguments.parse_args().rounds
    available = sorted(os.sched_getaffinity(0))
    ratios: list[float] = []
    for number in range(rounds):
        began, runs = time.monotonic(), {}
        with tempfile.TemporaryDirectory() as folder:
            for processor in available:
                for watched in (False, True) if (number + processor) % 2 else (True, False):
                    place = Path(folder, f"{processor}-{watched}")
                    place.mkdir()
                    runs[processor, watched] = begin(place, processor, watched=watched)
            seconds = end(runs)
        for processor in available:
            plain, seen = seconds[processor, False], seconds[processor, True]
            ratios.append(seen / plain)
            print(f"plain {plain:.2f} s, watched {seen:.2f} s of CPU: {ratios[-1]:.4f}", flush=True)
        print(f"({time.monotonic() - began:.0f} s)", flush=True)
    print(f"median of the ratios {statistics.median(ratios):.4f} ({min(ratios):.4f} to {max(ratios):.4f})")


if __name__ == "__main__":
    main()
