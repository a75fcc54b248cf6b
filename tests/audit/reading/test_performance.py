"""Metrics of a model against outcomes that came later."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path

import pytest

from otel_ml import ConfigurationError
from otel_ml.audit.reading import compaction
from otel_ml.audit.reading.performance import performance
from segments import START, Process
from support import run_python

HOUR = 3600 * 1_000_000_000


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    return tmp_path / "audit"


def test_windows_and_versions_have_a_value_each(trail: Path) -> None:
    """The oldest window first; what has no outcome yet counts as a record, not as a mistake."""
    with Process(trail) as process:
        for number, (hours, version, predicted, label) in enumerate(
            [(0, "1", "a", "a"), (0, "1", "a", "b"), (0, "2", "a", "a"), (1, "1", "b", "b"), (1, "1", "b", None)]
        ):
            process.prediction(
                record_id=str(number), time_unix_nano=START + hours * HOUR, prediction=predicted,
                otel_ml__model__version=version,
            )  # fmt: skip
            if label is not None:
                process.outcome(str(number), label)
    for _ in range(2):
        found = performance("fraud", window=3600, directory=trail)
        assert [(p.start.hour, p.model_version, p.records, p.labelled, p.value) for p in found] == [
            (16, "1", 2, 2, 0.5),
            (16, "2", 1, 1, 1.0),
            (17, "1", 2, 1, 1.0),
        ]
        assert (found[0].start, found[0].end) == (datetime(2026, 11, 22, 16), datetime(2026, 11, 22, 17))
        assert type(found[0].value) is float
        compaction.compact(trail)


def test_the_latest_outcome_counts(trail: Path) -> None:
    """Truth may be corrected, by another process too; the time of the outcome decides, not its place."""
    process = Process(trail)
    process.prediction(record_id="a", prediction=1)
    Process(trail, pid=2).outcome("a", 1, time=START + 2)
    process.outcome("a", 0, time=START + 1)
    (found,) = performance("fraud", directory=trail)
    assert (found.value, found.labelled) == (1.0, 1)


def test_failures_summaries_and_other_models_have_no_part(trail: Path) -> None:
    """Only a prediction that was returned, of one row and of this model, can be right or wrong."""
    with Process(trail) as process:
        for number, given in enumerate(
            [{}, {"otel_ml__status": "error", "prediction": None}, {"rows": 20_000}, {"otel_ml__model__name": "other"}]
        ):
            process.prediction(**({"record_id": str(number), "prediction": 1} | given))
            process.outcome(str(number), 1)
    (found,) = performance("fraud", directory=trail)
    assert (found.records, found.labelled, found.value) == (1, 1, 1.0)
    assert performance("unknown", directory=trail) == []


def test_a_metric_may_be_any_function_and_a_prediction_anything(trail: Path) -> None:
    """Scores in a dict, lists of one item, and numbers that JSON does not have."""
    with Process(trail) as process:
        for number, predicted in enumerate([{"score": 0.9}, {"score": 0.2}]):
            process.prediction(record_id=str(number), prediction=predicted)
            process.outcome(str(number), 1 - number)
        process.prediction(record_id="x", otel_ml__model__name="list", prediction=[2.0])
        process.outcome("x", "Infinity")
    (area,) = performance("fraud", metric="roc_auc_score", prediction=lambda p: p["score"], directory=trail)
    assert area.value == 1.0
    seen = []
    (own,) = performance("list", metric=lambda truth, predicted: seen.append((truth, predicted)), directory=trail)
    assert own.value is None
    assert seen == [([math.inf], [2.0])]


def test_a_window_that_a_metric_refuses_says_why(trail: Path) -> None:
    """The other windows have their values."""
    with Process(trail) as process:
        for number, hours in enumerate([0, 0, 1]):
            process.prediction(record_id=str(number), time_unix_nano=START + hours * HOUR, prediction=[number])
            process.outcome(str(number), "text" if hours else number)
    found = performance("fraud", metric="mean_absolute_error", window=3600, directory=trail)
    assert [(p.value, bool(p.problem)) for p in found] == [(0.0, False), (None, True)]
    assert "text" in found[1].problem


@pytest.mark.parametrize("metric", ["acuracy", "_private", 3, "__doc__"])
def test_a_metric_that_does_not_exist_is_refused(trail: Path, metric: object) -> None:
    """The name is in the message, and one that would work."""
    trail.mkdir()
    with pytest.raises(ConfigurationError, match=r"performance\(metric=\)"):
        performance("fraud", metric=metric, directory=trail)  # type: ignore[arg-type]


@pytest.mark.parametrize("window", [0, -1, math.inf, math.nan, "1d"])
def test_a_window_that_cannot_be_is_refused(trail: Path, window: object) -> None:
    """It is a number of seconds above 0."""
    trail.mkdir()
    with pytest.raises(ConfigurationError, match="a number of seconds above 0"):
        performance("fraud", window=window, directory=trail)  # type: ignore[arg-type]


def test_without_scikit_learn_a_name_says_what_to_install() -> None:
    """A function of one's own needs none."""
    code = """
        import sys
        class Hide:
            def find_spec(self, name, path=None, target=None):
                if name == "sklearn":
                    raise ModuleNotFoundError(name, name=name)
        sys.meta_path.insert(0, Hide())
        from otel_ml.audit.reading.performance import performance
        performance("fraud")
    """
    assert "pip install 'otel-ml[sklearn]'" in run_python(code).stderr
