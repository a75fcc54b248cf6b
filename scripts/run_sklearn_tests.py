"""Run the tests that scikit-learn is released with: without us, and with every estimator watched.

    python scripts/run_sklearn_tests.py [--quick]

With the instrumentation on whatever passes without it has to pass, but for what `tests/sklearn_suite/exceptions.toml`
lists. The tests are those of the scikit-learn that is installed in the interpreter which runs this.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import sklearn

SUITE = Path(__file__).resolve().parents[1] / "tests/sklearn_suite"
PACKAGE = Path(sklearn.__file__).parent
QUICK = (
    "tests/test_pipeline.py", "tests/test_base.py", "tests/test_metaestimators.py", "compose",
    "tests/test_metaestimators_metadata_routing.py", "utils/tests/test_set_output.py", "utils/tests/test_parallel.py",
)  # fmt: skip
FULL = (
    *QUICK, "tests/test_metadata_routing.py", "tests/test_docstring_parameters.py", "tests/test_common.py",
    "model_selection", "ensemble",
)  # fmt: skip
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "SKLEARN_TESTS_GLOBAL_RANDOM_SEED": "42"}

Outcomes = dict[str, str]


def run(paths: tuple[str, ...], folder: Path, *, watched: bool) -> Outcomes:
    """Run tests; return the outcome of each.

    Args:
        paths: Files and folders in scikit-learn's package.
        folder: An empty folder, for what the run writes.
        watched: Whether every estimator is watched.

    Raises:
        SystemExit: pytest could not run them.
    """
    report = folder / "report.xml"
    plugin = ["-p", "instrumented"] if watched else []
    command = [
        sys.executable, "-P", "-m", "pytest", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(PACKAGE),
        "--numprocesses=2", "--quiet", "--tb=line", f"--junit-xml={report}", *plugin,
        *(str(PACKAGE / path) for path in paths if (PACKAGE / path).exists()),
    ]  # fmt: skip
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(SUITE), "SKLEARN_SUITE_STATE": str(folder / "state")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1) or not report.exists():
        raise SystemExit(f"pytest ended with {done.returncode}:\n{done.stdout[-5000:]}{done.stderr[-5000:]}")
    return outcomes(report)


def outcomes(report: Path) -> Outcomes:
    """Return the outcome of each test of a report in JUnit's format."""
    found: Outcomes = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        found[f"{case.get('classname')}::{case.get('name')}"] = outcome
    return found


def spans_in(state: Path) -> int:
    """Return how many spans of estimators were written."""
    return sum(path.read_text().count('"otel_ml.estimator.method"') for path in state.glob("*/traces-*.jsonl"))


def main() -> int:
    """Compare; return 1 when something passes without us only."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true", help="pipelines, base, meta-estimators and compose only")
    given = arguments.parse_args()
    paths = QUICK if given.quick else FULL
    excused = set(tomllib.loads((SUITE / "exceptions.toml").read_text()))
    with tempfile.TemporaryDirectory() as name:
        results: dict[bool, Outcomes] = {}
        for watched in (False, True):
            folder = Path(name) / ("watched" if watched else "plain")
            folder.mkdir()
            begin = time.monotonic()
            results[watched] = run(paths, folder, watched=watched)
            counts = ", ".join(
                f"{number} {what}" for what, number in sorted(Counter(results[watched].values()).items())
            )
            spans = f", {spans_in(folder / 'state')} spans" if watched else ""
            print(f"scikit-learn {sklearn.__version__}, {'watched' if watched else 'plain'}: {counts}{spans}, "
                  f"{time.monotonic() - begin:.0f} s")  # fmt: skip
        if not spans_in(Path(name) / "watched" / "state"):
            raise SystemExit("nothing was watched, so this proves nothing")
    plain, instrumented = results[False], results[True]
    lost = [test for test, outcome in plain.items() if outcome == "passed" and instrumented.get(test) != "passed"]
    for test in sorted(set(lost) - excused):
        print(f"passes without us only: {test} ({instrumented.get(test, 'not run')})")
    return 1 if set(lost) - excused else 0


if __name__ == "__main__":
    sys.exit(main())
