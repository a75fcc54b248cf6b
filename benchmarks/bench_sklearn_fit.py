"""What watching costs a grid search of some twenty seconds, with its fits in this process or in workers.

Run with `python benchmarks/bench_sklearn_fit.py`. The same search runs plain and watched in turns, in one process; the
figure is the median of the ratios within each round, of CPU time, of this process and its workers, and of wall time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import otel_ml


def search(trees: int, jobs: int) -> tuple[float, float]:
    """Return wall and CPU seconds of one search of 20 fits."""
    pipeline = Pipeline([("scale", StandardScaler()), ("model", GradientBoostingClassifier(n_estimators=trees))])
    wanted = GridSearchCV(pipeline, {"model__max_depth": [2, 3], "model__subsample": [0.5, 1.0]}, cv=5, n_jobs=jobs)
    before, begin = os.times(), time.perf_counter()
    wanted.fit(*load_breast_cancer(return_X_y=True))
    wall, after = time.perf_counter() - begin, os.times()
    return wall, sum(after[:4]) - sum(before[:4])


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--trees", type=int, default=480, help="of each model")
    arguments.add_argument("--jobs", type=int, default=1)
    given = arguments.parse_args()
    instrumentor = otel_ml.SklearnInstrumentor()
    found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        logs = otel_ml.Logs(format="none")
        with otel_ml.configure(service_name="search", directory=Path(folder), audit=False, logs=logs):
            for number in range(given.rounds):
                for watched in (False, True) if number % 2 else (True, False):
                    if watched:
                        instrumentor.instrument(progress=False)
                    found[watched].append(search(given.trees, given.jobs))
                    if watched:
                        instrumentor.uninstrument()
    for place, what in enumerate(("wall", "cpu")):
        plain, seen = (statistics.median(run[place] for run in found[watched]) for watched in (False, True))
        ratios = sorted(w[place] / p[place] for p, w in zip(found[False], found[True], strict=True))
        span = f"{statistics.median(ratios):.4f} ({ratios[0]:.4f} to {ratios[-1]:.4f})"
        print(f"{what}: plain {plain:.2f} s, watched {seen:.2f} s, median of the ratios {span}")


if __name__ == "__main__":
    main()
