"""The fields of a record, and the columns that SQL sees of them: one table for lines, Parquet and views."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from otel_ml import conventions

OUTCOME: Final = "otel_ml.outcome"
_EPOCH = datetime(1970, 1, 1)  # SQL's TIMESTAMP knows no zone; ours are UTC


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a line.

    Args:
        key: Its name in the line.
        name: Its name in SQL.
        type: Its type in SQL.
    """

    key: str
    name: str
    type: str = "VARCHAR"

    @property
    def from_line(self) -> str:
        """SQL that reads it from a column `line`; what is of another type there is an error, not a NULL."""
        path = f"""'$."{self.key}"'"""
        if self.type == "JSON":
            return f"nullif(line -> {path}, 'null'::JSON)"
        if self.type == "VARCHAR":
            return f"line ->> {path}"
        return f"(line {'->' if self.type.endswith('[]') else '->>'} {path})::{self.type}"


EVENT: Final = Column(conventions.EVENT_NAME, "event_name")
COLUMNS: Final = (
    EVENT,
    Column("record_id", "record_id"),
    Column("schema_version", "schema_version", "INTEGER"),
    Column("time_unix_nano", "time_unix_nano", "BIGINT"),
    Column("duration_ms", "duration_ms", "DOUBLE"),
    Column("trace_id", "trace_id"),
    Column("span_id", "span_id"),
    Column("trace_flags", "trace_flags", "INTEGER"),
    Column("service.name", "service_name"),
    Column("service.version", "service_version"),
    Column("service.instance.id", "service_instance_id"),
    Column("deployment.environment.name", "environment"),
    Column(conventions.RUN_ID, "run_id"),
    Column(conventions.MODEL_NAME, "model_name"),
    Column(conventions.MODEL_VERSION, "model_version"),
    Column(conventions.FEATURE_VERSION, "feature_version"),
    Column("severity_number", "severity_number", "INTEGER"),
    Column(conventions.STATUS, "status"),
    Column(conventions.ERROR_TYPE, "error_type"),
    Column(conventions.EXCEPTION_MESSAGE, "exception_message"),
    Column(conventions.EXCEPTION_STACKTRACE, "exception_stacktrace"),
    Column("call_id", "call_id"),
    Column("row", "row", "BIGINT"),
    Column("rows", "rows", "BIGINT"),
    Column("features", "features", "JSON"),
    Column("prediction", "prediction", "JSON"),
    Column("subject", "subject"),
    Column("encrypted", "encrypted"),
    Column("redacted", "redacted", "VARCHAR[]"),
    Column("truncated", "truncated", "VARCHAR[]"),
    Column("label", "label", "JSON"),
    Column("lost", "lost", "JSON"),
    Column("first_time_unix_nano", "first_time_unix_nano", "BIGINT"),
    Column("last_time_unix_nano", "last_time_unix_nano", "BIGINT"),
    Column("seq", "seq", "BIGINT"),
    Column("hash", "hash"),
)
"""Every field that a query can ask for, in the order of the line."""

FROM_LINE: Final = ", ".join(f'{column.from_line} AS "{column.name}"' for column in COLUMNS)
"""SQL of all columns, from a column `line`."""

TIME: Final = "make_timestamp(time_unix_nano // 1000) AS time"
"""SQL of the column that every view has beside `time_unix_nano`: UTC, in microseconds."""

_NAME_OF = {column.key: column.name for column in COLUMNS}


def decode(line: bytes) -> dict[str, Any]:
    """Return a line as a dict with the names that SQL has for its fields; fields unknown to SQL keep theirs.

    Args:
        line: One whole line of a segment.

    Raises:
        orjson.JSONDecodeError: It is not JSON.
    """
    fields: dict[str, Any] = orjson.loads(line)
    record = {_NAME_OF.get(key, key): value for key, value in fields.items()}
    nanoseconds = record.get("time_unix_nano")
    if isinstance(nanoseconds, int):
        record["time"] = _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    return record


def nanoseconds(moment: datetime) -> int:
    """Return a moment as records have it; one that has no zone is UTC.

    Args:
        moment: To the microsecond.
    """
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH.replace(tzinfo=UTC)) // timedelta(microseconds=1) * 1000


def quoted(text: str) -> str:
    """Return a text as SQL writes it.

    Args:
        text: Anything, for example a path.
    """
    return f"""'{text.replace("'", "''")}'"""
