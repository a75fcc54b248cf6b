"""The named queries, here and on another engine."""

from __future__ import annotations

from pathlib import Path

import ibis
import polars
import pytest
import sqlglot

from otel_ml import ConfigurationError
from otel_ml.audit.reading.named_queries import NAMED, named
from otel_ml.audit.reading.query import query
from segments import START, Process


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    directory = tmp_path / "audit"
    with Process(directory) as process:
        for number in range(6):
            failed = {"otel_ml__status": "error", "error__type": "ValueError", "exception__message": "no"}
            process.prediction(
                duration_ms=float(number), time_unix_nano=START + number * 10**12,
                otel_ml__model__version=str(number % 2), **(failed if number == 4 else {}),
            )  # fmt: skip
    return directory


def test_each_name_has_an_answer(trail: Path) -> None:
    """What is asked most often needs no SQL."""
    models = named("models", directory=trail)
    assert [(row["model_version"], row["records"], row["failures"], row["mean_ms"]) for row in models] == [
        ("0", 3, 1, 2.0),
        ("1", 3, 0, 3.0),
    ]
    (failure,) = named("failures", directory=trail)
    assert (failure["error_type"], failure["exception_message"]) == ("ValueError", "no")
    assert failure["features"] == {"amount": 12.5, "country": "DE"}
    assert [row["failures"] for row in named("errors", directory=trail)] == [1]
    assert [row["duration_ms"] for row in named("slowest", directory=trail)] == [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]
    assert [row["records"] for row in named("hours", directory=trail)] == [2, 3, 1]


def test_an_unknown_name_lists_those_that_there_are(trail: Path) -> None:
    """So that one can choose."""
    with pytest.raises(ConfigurationError, match="one of models, failures, errors, slowest, hours, received 'model'"):
        named("model", directory=trail)


@pytest.mark.parametrize("name", NAMED)
def test_another_engine_gives_the_same_answer(trail: Path, name: str) -> None:
    """The records were shipped elsewhere, here to polars; the question stays."""
    rows = query("SELECT * EXCLUDE (features, redacted, truncated) FROM predictions", directory=trail)
    records = polars.DataFrame([{**row, "features": "{}"} for row in rows], infer_schema_length=None)
    there = named(name, connection=ibis.polars.connect({"predictions": records}))
    here = named(name, directory=trail)
    assert [{**row, "features": None} for row in there] == [{**row, "features": None} for row in here]


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("dialect", ["clickhouse", "spark", "postgres", "bigquery"])
def test_the_sql_can_be_said_in_other_dialects(name: str, dialect: str) -> None:
    """Nothing in it is DuckDB's alone."""
    level = sqlglot.ErrorLevel.RAISE
    (sql,) = sqlglot.transpile(NAMED[name], read="duckdb", write=dialect, unsupported_level=level)
    assert sqlglot.parse_one(sql, read=dialect)
