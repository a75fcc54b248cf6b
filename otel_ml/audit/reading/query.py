"""SQL over the whole audit trail: open and sealed segments and Parquet, each record once, read-only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from otel_ml.audit import payloads, place
from otel_ml.audit.extras import require
from otel_ml.audit.reading import sources, statements
from otel_ml.audit.reading.columns import COLUMNS, FROM_LINE, OUTCOME, TIME, quoted
from otel_ml.audit.reading.statements import QueryError
from otel_ml.audit.record import GAP, PREDICTION

_PURPOSE: Final = "to query the audit trail"
_ATTEMPTS: Final = 5
_SETTINGS: Final = {
    "allow_community_extensions": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",  # SQL sees no variables of the program
    "temp_directory": "",  # what is decrypted never spills to a disk
}
_OUTCOME: Final = "record_id time label time_unix_nano run_id seq hash segment".split()
_GAP: Final = "lost first_time_unix_nano last_time_unix_nano seq hash segment".split()
_NOT_OF_PREDICTIONS: Final = set("event_name encrypted label lost first_time_unix_nano last_time_unix_nano".split())

Parameters = Sequence[Any] | Mapping[str, Any] | None


def _rows(connection: Any, sql: str, parameters: Parameters) -> Any:
    return connection.execute(sql, parameters)


def query(sql: str, parameters: Parameters = None, *, directory: str | Path | None = None) -> list[dict[str, Any]]:
    """Return the rows that a SELECT finds in the audit trail.

    The views are `predictions`, `outcomes` and `gaps`. `time` is UTC. `features`, `prediction` and `label` are JSON:
    `features->>'amount'` is a text in SQL, and the columns arrive as Python objects. NaN and infinities in them are
    the texts "NaN", "Infinity" and "-Infinity". What belongs to an erased subject is None. What this process has
    recorded so far is seen.

    Args:
        sql: One SELECT statement in DuckDB's dialect.
        parameters: Values for `?` or `$name` in the statement.
        directory: Audit directory; None: that of this process, else the default one.

    Raises:
        QueryError: The statement is no SELECT, is wrong, or a segment is damaged.
        TrailNotFoundError: There is no audit trail.
        MissingExtraError: DuckDB or pyarrow is not installed.
    """
    with run(sql, parameters, directory=directory) as result:
        return list(dicts(result.description, result.fetchall()))


@contextmanager
def run(
    sql: str,
    parameters: Parameters = None,
    *,
    directory: str | Path | None = None,
    start: Callable[[Any, str, Parameters], Any] = _rows,
) -> Iterator[Any]:
    """Run a SELECT and give its result, to be read in parts while the trail is open.

    Args:
        sql: One SELECT statement in DuckDB's dialect.
        parameters: Values for `?` or `$name` in the statement.
        directory: Audit directory; None: that of this process, else the default one.
        start: Starts the statement on a connection and returns the result; by default one with `description` and
            `fetchmany`.

    Raises:
        QueryError: The statement is no SELECT, is wrong, or a segment is damaged.
    """
    folder = place.find(directory)
    with _query_errors():
        connection, result = _started(folder, sql, parameters, start)
    try:
        with _query_errors():  # the result comes in parts, so that it may end with an error
            yield result
    finally:
        connection.close()


def _started(folder: Path, sql: str, parameters: Parameters, start: Callable[..., Any]) -> tuple[Any, Any]:
    lost = require("duckdb", "audit", _PURPOSE).IOException
    for _ in range(_ATTEMPTS):
        try:
            return _start(connect(folder), sql, parameters, start)
        except lost:  # retention may delete a file between our look and DuckDB's
            time.sleep(0.05)
    return _start(connect(folder), sql, parameters, start)


def _start(connection: Any, sql: str, parameters: Parameters, start: Callable[..., Any]) -> tuple[Any, Any]:
    try:
        statements.check(connection, sql)
        return connection, start(connection, sql, parameters)
    except BaseException:
        connection.close()
        raise


@contextmanager
def _query_errors() -> Iterator[None]:
    try:
        yield
    except require("duckdb", "audit", _PURPOSE).Error as error:
        raise QueryError(f"query: {error}{_hint(str(error))}") from None


def _hint(message: str) -> str:
    damaged = "Malformed JSON" in message or "Conversion Error" in message
    return "\nA value or a segment is not what it should be: `otel-ml audit verify` tells which." if damaged else ""


def dicts(description: Sequence[Any], rows: Sequence[Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Yield fetched rows as dicts, with JSON as Python objects.

    Args:
        description: DuckDB's description of the result.
        rows: As they were fetched.
    """
    names = [column[0] for column in description]
    of_json = [column[0] for column in description if str(column[1]) == "JSON"]
    for row in rows:
        found = dict(zip(names, row, strict=True))
        for name in of_json:
            found[name] = None if found[name] is None else orjson.loads(found[name])
        yield found


def connect(directory: Path) -> Any:
    """Return a DuckDB connection that sees the audit trail of a directory, and nothing else of this machine.

    Its settings are locked, and no file can be opened but the Parquet copies, whose originals stay out of reach.
    `statements.check` keeps those from being written to.

    Args:
        directory: Audit directory.

    Raises:
        MissingExtraError: DuckDB or pyarrow is not installed.
    """
    connection = require("duckdb", "audit", _PURPOSE).connect(":memory:", config=dict(_SETTINGS))
    connection.execute("SET enable_progress_bar = false")
    connection.execute("SET TimeZone = 'UTC'")  # so that `time > now() - interval '1 hour'` means what it says
    found = sources.find(directory)
    parquet = [str(source.parquet) for source in found if source.parquet is not None]
    lines = [source for source in found if source.parquet is None]
    connection.execute("SET allowed_paths = ?", [parquet])
    connection.register("lines", sources.Lines(lines))
    can_decrypt = payloads.register(connection, directory)
    connection.execute(f"CREATE VIEW records AS {_records(parquet, bool(lines))}")
    connection.execute(f"CREATE VIEW predictions AS {_predictions(can_decrypt)}")
    connection.execute(
        f"CREATE VIEW outcomes AS SELECT {_listed(_OUTCOME)} FROM records WHERE event_name = '{OUTCOME}'"
    )
    connection.execute(f"CREATE VIEW gaps AS SELECT {_listed(_GAP)} FROM records WHERE event_name = '{GAP}'")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _records(parquet: list[str], lines: bool) -> str:
    """Return SQL of everything that was recorded, from Parquet where there is some, else from lines."""
    parts = []
    if parquet:
        names = ", ".join(quoted(path) for path in parquet)
        fields = ", ".join(f'"{column.name}"' for column in COLUMNS)
        parts.append(f"SELECT {fields}, segment, time FROM read_parquet([{names}])")
    if lines or not parquet:
        parts.append(f"SELECT *, {TIME} FROM (SELECT {FROM_LINE}, segment FROM lines)")
    return " UNION ALL ".join(parts)


def _predictions(can_decrypt: bool) -> str:
    """Return SQL of the view `predictions`: the record's fields, those first that are asked for most."""
    names = [column.name for column in COLUMNS if column.name not in _NOT_OF_PREDICTIONS]
    shown = {name: f'"{name}"' for name in ("record_id", "time", *names, "segment")}
    shown["rows"] = 'coalesce("rows", 1) AS "rows"'
    if can_decrypt:
        for name in ("features", "prediction"):
            clear = f"nullif(payload(record_id, subject, encrypted)::JSON -> '$.{name}', 'null'::JSON)"
            shown[name] = f"CASE WHEN encrypted IS NULL THEN {name} ELSE {clear} END AS {name}"
    return f"SELECT {', '.join(shown.values())} FROM records WHERE event_name = '{PREDICTION}'"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
