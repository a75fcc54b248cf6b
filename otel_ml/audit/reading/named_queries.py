"""Questions that are asked again and again, by name; through ibis also on another engine that holds the records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from otel_ml.audit.extras import require
from otel_ml.audit.reading.query import query
from otel_ml.errors import ConfigurationError

NAMED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "models": """
            SELECT model_name, model_version, count(*) AS records,
                sum(CASE WHEN status = 'error' THEN 1 ELSE 0 END) AS failures,
                avg(duration_ms) AS mean_ms, max(time) AS last
            FROM predictions GROUP BY model_name, model_version ORDER BY model_name, model_version
        """,
        "failures": """
            SELECT time, model_name, model_version, error_type, exception_message, features, record_id, trace_id
            FROM predictions WHERE status = 'error' ORDER BY time DESC LIMIT 100
        """,
        "errors": """
            SELECT model_name, model_version, error_type, count(*) AS failures, max(time) AS last
            FROM predictions WHERE status = 'error'
            GROUP BY model_name, model_version, error_type ORDER BY failures DESC
        """,
        "slowest": """
            SELECT time, duration_ms, model_name, model_version, status, record_id, trace_id
            FROM predictions ORDER BY duration_ms DESC LIMIT 100
        """,
        "hours": """
            SELECT model_name, date_trunc('hour', time) AS hour, count(*) AS records,
                sum(CASE WHEN status = 'error' THEN 1 ELSE 0 END) AS failures, avg(duration_ms) AS mean_ms
            FROM predictions GROUP BY model_name, date_trunc('hour', time) ORDER BY model_name, hour
        """,
    }
)
"""SQL by name, in DuckDB's dialect and no more of it than other engines have too."""


def named(name: str, *, connection: Any = None, directory: str | Path | None = None) -> list[dict[str, Any]]:
    """Return the rows of a named query.

    Args:
        name: One of `NAMED`: `models`, `failures`, `errors`, `slowest` or `hours`.
        connection: An ibis backend with a table `predictions` that has the columns of the view of that name, for
            example `ibis.clickhouse.connect(...)`. None: the local audit trail.
        directory: Audit directory of the local trail; None: that of this process, else the default one.

    Raises:
        ConfigurationError: There is no query of that name.
        MissingExtraError: What the query needs is not installed.
    """
    if name not in NAMED:
        raise ConfigurationError("named(name)", name, f"one of {', '.join(NAMED)}")
    if connection is None:
        return query(NAMED[name], directory=directory)
    require("ibis", "ibis", "to ask another engine")
    rows: list[dict[str, Any]] = connection.sql(NAMED[name], dialect="duckdb").to_pyarrow().to_pylist()
    return rows
