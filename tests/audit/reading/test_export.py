"""What a query finds, as a Parquet or CSV file."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_ml import ConfigurationError
from otel_ml.audit.reading.export import export
from otel_ml.audit.reading.statements import QueryError
from segments import Process


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    directory = tmp_path / "audit"
    with Process(directory) as process:
        process.prediction(record_id="a", redacted=["email"], features={"text": 'a "b", c\nd'})
        process.prediction(record_id="b", prediction=None)
    return directory


def test_everything_is_exported_by_default(trail: Path, tmp_path: Path) -> None:
    """Each prediction is a row, as Parquet with types and as CSV with a header."""
    assert export(tmp_path / "out.parquet", directory=trail) == 2
    rows = sorted(pq.read_table(tmp_path / "out.parquet").to_pylist(), key=lambda row: row["record_id"])
    assert [row["record_id"] for row in rows] == ["a", "b"]
    assert json.loads(rows[0]["features"]) == {"text": 'a "b", c\nd'}
    assert rows[0]["redacted"] == ["email"]
    assert export(str(tmp_path / "out.csv"), directory=trail) == 2
    with (tmp_path / "out.csv").open(newline="") as file:
        written = sorted(csv.DictReader(file), key=lambda row: row["record_id"])
    assert list(written[0]) == list(rows[0])
    assert json.loads(written[0]["features"]) == {"text": 'a "b", c\nd'}
    assert (json.loads(written[0]["redacted"]), written[1]["prediction"]) == (["email"], "")


def test_a_query_says_what_is_exported(trail: Path, tmp_path: Path) -> None:
    """With its own columns and parameters."""
    path = tmp_path / "out.parquet"
    assert export(path, "SELECT record_id AS id FROM predictions WHERE record_id = ?", ["b"], directory=trail) == 1
    assert pq.read_table(path).to_pylist() == [{"id": "b"}]


def test_a_query_that_finds_nothing_gives_a_file_with_columns_only(trail: Path, tmp_path: Path) -> None:
    """So that whatever reads it does not fail."""
    for name in ("out.parquet", "out.csv"):
        assert export(tmp_path / name, "SELECT record_id FROM predictions WHERE false", directory=trail) == 0
    assert (tmp_path / "out.csv").read_bytes() == b"record_id\r\n"
    assert pq.read_schema(tmp_path / "out.parquet").names == ["record_id"]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30))
def test_any_text_comes_back_from_csv(text: str, trail: Path, tmp_path: Path) -> None:
    """Quotes, commas, line breaks and all the rest."""
    export(tmp_path / "out.csv", "SELECT ? AS text, 1 AS one", [text], directory=trail)
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["text", "one"], [text, "1"]]


def test_a_file_appears_in_whole_or_not_at_all(trail: Path, tmp_path: Path) -> None:
    """A query that fails leaves the file of before, and nothing beside it; others may not read it."""
    path = tmp_path / "out.csv"
    path.write_text("before")
    with pytest.raises(QueryError):
        export(path, "SELECT nope FROM predictions", directory=trail)
    with pytest.raises(QueryError, match="Conversion Error"):
        export(path, "SELECT (features->>'text')::int FROM predictions", directory=trail)
    assert path.read_text() == "before"
    assert {entry.name for entry in tmp_path.iterdir()} == {"audit", "out.csv"}
    export(path, directory=trail)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.json", r"received '.*out\.json'"),
        ("none/out.csv", "in a folder that exists"),
        ("audit/out.parquet", "outside of the audit directory"),
    ],
)
def test_a_destination_that_cannot_work_is_refused(trail: Path, tmp_path: Path, name: str, message: str) -> None:
    """Before anything is read; a file among the segments would be taken for one."""
    with pytest.raises(ConfigurationError, match=message):
        export(tmp_path / name, directory=trail)
