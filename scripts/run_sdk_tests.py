"""Run the tests that OpenTelemetry's SDK is released with: against the SDK itself, and against our tracer in it.

    python scripts/run_sdk_tests.py

Ours, with either kind of span, has to pass whatever the SDK passes, but for what `tests/sdk_suite/exceptions.toml`
lists. The tests are those of the SDK that is installed in the interpreter which runs this; they are downloaded once,
and kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

SUITE = Path(__file__).resolve().parents[1] / "tests/sdk_suite"
TESTS = ("tests/trace", "tests/shared_internal")
DIGESTS = "digests.json"
TIMEOUT = 300.0


@dataclass(frozen=True)
class Run:
    """What became of one run.

    Args:
        outcomes: "passed", "failed" or "skipped" of each test.
        output: What pytest printed.
        ours: Spans of our class that were started.
        stock: Spans of the SDK's class that were started.
    """

    outcomes: dict[str, str]
    output: str
    ours: int = 0
    stock: int = 0

    def having(self, outcome: str) -> set[str]:
        """Return the tests with an outcome."""
        return {test for test, found in self.outcomes.items() if found == outcome}

    def __str__(self) -> str:
        counts = Counter(self.outcomes.values())
        return ", ".join(
            f"{counts[outcome]} {outcome}" for outcome in ("passed", "failed", "skipped") if counts[outcome]
        )


def main() -> None:
    """Run them, and say in one line what came out.

    Raises:
        SystemExit: Ours failed a test that it has to pass, or the runs prove nothing.
    """
    started = time.monotonic()
    sdk = version("opentelemetry-sdk")
    archives = downloaded(sdk, version("opentelemetry-semantic-conventions"))
    exceptions = listed_exceptions()
    with tempfile.TemporaryDirectory() as scratch:
        folder = unpacked(archives, Path(scratch))
        stock = run(folder, "stock")
        runs = {name: run(folder, name) for name in ("ours", "locked")}
    problems = []
    for name, each in runs.items():
        found = compare(stock, each, exceptions)
        problems += [f"{name}: {problem}" for problem in found]
        if found:
            print(each.output)
    for problem in problems:
        print(f"run_sdk_tests: {problem}", file=sys.stderr)
    results = [f"stock {stock}", *(f"{name} {each}, {each.ours} spans" for name, each in runs.items())]
    verdict = f"{len(problems)} problems, {len(exceptions)} exceptions"
    seconds = time.monotonic() - started
    print(f"===== tests of the SDK {sdk}: {'; '.join(results)}; {verdict} in {seconds:.1f}s =====", flush=True)
    if problems:
        raise SystemExit(1)


def compare(stock: Run, ours: Run, exceptions: dict[str, str]) -> list[str]:
    """Return what is wrong: nothing, if ours does all that the SDK does.

    Args:
        stock: The run against the SDK.
        ours: A run against ours.
        exceptions: Tests that ours may fail.
    """
    passed = stock.having("passed")
    failed = passed - ours.having("passed")
    problems = [
        f"{test} passes with the SDK, and is {ours.outcomes.get(test, 'not run')}"
        for test in sorted(failed - exceptions.keys())
    ]
    problems += [f"{test} is an exception, and passes" for test in sorted(exceptions.keys() - failed)]
    if not passed:
        problems.append(f"no test passed with the SDK itself:\n{stock.output}")
    if not ours.ours or ours.stock:
        problems.append(f"the SDK was not replaced: {ours.ours} spans of ours were started, {ours.stock} of the SDK's")
    return problems


def listed_exceptions() -> dict[str, str]:
    """Return the reason of each test that ours may fail."""
    listed = tomllib.loads((SUITE / "exceptions.toml").read_text())
    return {each["test"]: each["reason"] for each in listed.get("exception", [])}


def run(folder: Path, name: str) -> Run:
    """Run the tests in a process of their own, and return what became of each.

    Args:
        folder: Where the tests were unpacked.
        name: "stock", or the kind of span of ours that takes the place of the SDK's.

    Raises:
        SystemExit: Nothing is known of the tests.
    """
    substitute = name != "stock"
    outcomes, counts = folder / f"{name}.json", folder / f"{name}.txt"
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "PYTEST_", "PYTHON"))}
    paths = [folder / "utils", SUITE / "plugins"] + ([SUITE / "substitution"] if substitute else [])
    options = ["-q", "--tb=short", "-p", "outcomes", "-p", "no:cacheprovider", "-p", "no:otel_ml"]
    environment = {
        **inherited,
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), inherited.get("PATH", os.defpath))),
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SDK_SUITE_OUTCOMES": str(outcomes),
        "SDK_SUITE_COUNTS": str(counts),
        "SDK_SUITE_SPAN": name,
    }
    output = output_of([sys.executable, "-m", "pytest", *TESTS, *options], folder, environment)
    if not outcomes.exists():
        raise SystemExit(f"{output}\nrun_sdk_tests: pytest told nothing of the run {name!r}")
    rows = [tuple(map(int, line.split())) for line in counts.read_text().splitlines()] if substitute else []
    ours, stock = sum(row[0] for row in rows), sum(row[1] for row in rows)
    return Run(json.loads(outcomes.read_text()), output, ours, stock)


def output_of(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    """Run a command, and return what it printed; one that hangs is killed, and says so."""
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
            check=False,
        ).stdout
    except subprocess.TimeoutExpired as error:
        printed: Any = error.stdout or ""  # bytes or text, whatever was asked for
        text = printed.decode(errors="replace") if isinstance(printed, bytes) else printed
        return f"{text}\nkilled after {TIMEOUT:.0f} s"


def downloaded(sdk: str, conventions: str) -> list[Path]:
    """Return the SDK's source archive and its test tools, from the network only when they are not there whole.

    Args:
        sdk: Version of the SDK.
        conventions: Version of its packages that are betas: the newest test tools are those of this one or before.
    """
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = caches / "otel_ml" / "sdk_tests" / sdk
    if not is_whole(cache):
        say(f"downloading the tests of opentelemetry-sdk {sdk}")
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            download(f"opentelemetry-sdk=={sdk}", scratch, "--no-binary=opentelemetry-sdk")
            download(f"opentelemetry-test-utils<={conventions}", scratch, "--only-binary=opentelemetry-test-utils")
            digests = {}
            for path in Path(scratch).iterdir():
                digests[path.name] = digest(path)
                path.replace(cache / path.name)
        (cache / DIGESTS).write_text(json.dumps(digests))
    return [cache / name for name in json.loads((cache / DIGESTS).read_text())]


def download(requirement: str, folder: str, *options: str) -> None:
    """Have pip download one package.

    Raises:
        SystemExit: It could not.
    """
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download", "--no-deps"]
    if subprocess.run([*command, *options, "--dest", folder, requirement], check=False).returncode:
        raise SystemExit(f"run_sdk_tests: pip could not download {requirement}")


def is_whole(cache: Path) -> bool:
    """Whether the archives are there, and are what was downloaded."""
    try:
        digests = json.loads((cache / DIGESTS).read_text())
        return len(digests) == 2 and all(digest(cache / name) == found for name, found in digests.items())
    except (OSError, ValueError):
        return False


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def unpacked(archives: list[Path], scratch: Path) -> Path:
    """Unpack the archives, and return the folder that holds the tests, with their tools in `utils`."""
    for archive in archives:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                wheel.extractall(scratch / "utils")
        else:
            with tarfile.open(archive) as source:
                source.extractall(scratch, filter="data")
    (folder,) = scratch.glob("opentelemetry_sdk-*")
    (scratch / "utils").rename(folder / "utils")
    return folder


def say(message: str) -> None:
    """Tell progress on stderr."""
    print(f"run_sdk_tests: {message} ...", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
