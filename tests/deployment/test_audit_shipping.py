"""What `docs/audit-shipping.md` says of other stores fits the lines that are shipped and the columns that SQL has."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from otel_ml.audit.reading.columns import COLUMNS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/audit-shipping.md").read_text("utf-8")
NOT_OF_PREDICTIONS = {"event_name", "label", "lost", "first_time_unix_nano", "last_time_unix_nano"}


def statement(beginning: str) -> str:
    return next(part for part in re.split(r";\n|```", PAGE) if part.strip().removeprefix("sql\n").startswith(beginning))


def test_the_table_has_the_columns_of_the_view() -> None:
    """Of predictions, under the same names, so that the same queries run on both."""
    columns = set(re.findall(r"^    (\w+) \S", statement("CREATE TABLE predictions"), re.M))
    assert columns == {column.name for column in COLUMNS} - NOT_OF_PREDICTIONS | {"time"}


def test_each_column_is_read_from_the_field_of_its_name() -> None:
    """As the line spells it; and every column is read, but for the time, which follows from another."""
    view = statement("CREATE MATERIALIZED VIEW predictions_of_lines")
    read = dict(re.findall(r"\(line, '([^']+)'[^)]*\)?'?\) AS (\w+)", view))
    names = {column.key: column.name for column in COLUMNS}
    assert {key: names[key] for key in read} == read
    assert set(read.values()) == {column.name for column in COLUMNS} - NOT_OF_PREDICTIONS
    assert "= 'otel_ml.prediction'" in view
    assert "= 'otel_ml.outcome'" in statement("CREATE MATERIALIZED VIEW outcomes_of_lines")


def test_copies_of_a_record_are_merged_by_its_id() -> None:
    """By nothing that could differ between copies; the partition follows from the record."""
    table = statement("CREATE TABLE predictions")
    assert "ENGINE = ReplacingMergeTree\n" in table and table.rstrip().endswith("ORDER BY record_id")
    assert "PARTITION BY toYYYYMM(fromUnixTimestamp64Nano(time_unix_nano" in table


def test_the_page_names_what_the_agent_sends() -> None:
    """Each attribute that it keeps is in the table of structured metadata, in Loki's spelling."""
    agent = yaml.safe_load((ROOT / "collector/agent.yaml").read_text())
    (kept,) = re.findall(r"keep_keys\(log.attributes, \[(.+?)\]\)", str(agent["processors"]["transform/audit"]))
    told = next(line for line in PAGE.splitlines() if line.startswith("| structured metadata"))
    assert [key for key in re.findall(r'"([^"]+)"', kept) if f"`{key.replace('.', '_')}`" not in told] == []
    assert "OTEL_ML_AUDIT_MAX_AGE" in PAGE and "48 hours" in PAGE and "48h" in str(agent)
