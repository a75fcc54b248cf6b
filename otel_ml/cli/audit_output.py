"""How records and answers of the audit trail look: tables for people, CSV and JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otel_ml.audit.reading.columns import OUTCOME
from otel_ml.audit.reading.export import fetched, write_csv
from otel_ml.audit.reading.query import dicts
from otel_ml.audit.record import GAP
from otel_ml.cli import render

if TYPE_CHECKING:
    from otel_ml.audit.reading.stats import Stats

_ROWS_SHOWN: Final = 200
_CELL: Final = 200
_SHORT: Final = 36  # as long as an id
_JSON: Final = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE


def print_result(result: Any, format: Literal["table", "csv", "json"]) -> None:
    """Print what a query found.

    Args:
        result: As `query.run` gives it.
        format: `table`, of at most 200 rows; `csv`; or `json`, an object a line.
    """
    description = result.description
    if format == "csv":
        write_csv(sys.stdout.buffer, [column[0] for column in description], fetched(result))
    elif format == "json":
        for row in fetched(result):
            (record,) = dicts(description, [row])
            sys.stdout.buffer.write(orjson.dumps(record, default=str, option=_JSON))
    else:
        _print_table([column[0] for column in description], fetched(result))


def _print_table(names: Sequence[str], rows: Iterator[Sequence[Any]]) -> None:
    console = render.make_console()
    shown = list(islice(rows, _ROWS_SHOWN))
    cells = [[_cell(value) for value in row] for row in shown]
    titles = [render.printable(name, 60) for name in names]
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    if sum(width if width <= _SHORT else _SHORT // 2 for width in widths) + 2 * len(widths) > console.width:
        _print_records(titles, cells, console)
    else:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for number, (title, width) in enumerate(zip(titles, widths, strict=True)):
            numeric = shown and not any(isinstance(row[number], str | list | dict | datetime) for row in shown)
            table.add_column(
                Text(title), justify="right" if numeric else "left", no_wrap=width <= _SHORT, overflow="fold"
            )
        for row in cells:
            table.add_row(*map(Text, row))
        console.print(table)
    if next(rows, None) is not None:
        note = f"Only {_ROWS_SHOWN} rows are shown: `LIMIT` chooses them, `--format csv` or `json` gives all."
        console.print(Text(note, style="yellow"))
    elif not shown:
        console.print(Text("No rows.", style="dim"))


def _print_records(names: Sequence[str], rows: list[list[str]], console: Console) -> None:
    """Print rows that are too wide for a table one below the other, without what is absent."""
    width = max(map(len, names))
    for row in rows:
        for name, value in zip(names, row, strict=True):
            if value:
                line = Text(f"{name:<{width}}  ", style="dim")
                console.print(line.append(value, style="not dim"), soft_wrap=True)
        console.print()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(" ", "milliseconds")
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | dict):
        value = orjson.dumps(value, default=str).decode()
    return render.printable(str(value), _CELL)


def print_record(record: dict[str, Any], format: Literal["text", "json"]) -> None:
    """Print one record as it comes.

    Args:
        record: As `tail` yields it.
        format: `text`, one line; or `json`.
    """
    if format == "json":
        sys.stdout.buffer.write(orjson.dumps(record, default=str, option=_JSON))
        sys.stdout.buffer.flush()
        return
    nanoseconds = record.get("time_unix_nano") or record.get("last_time_unix_nano") or 0
    line = Text(render.clock(nanoseconds), style="dim").append(" ")
    line.append(_said(record), style="red" if _is_bad(record) else "default")
    render.make_console().print(line, soft_wrap=True)


def _is_bad(record: dict[str, Any]) -> bool:
    return record["event_name"] == GAP or record.get("status") == "error"


def _said(record: dict[str, Any]) -> str:
    if record["event_name"] == GAP:
        return f"gap {_cell(record.get('lost'))}"
    if record["event_name"] == OUTCOME:
        return f"outcome {_cell(record.get('label'))} of {_cell(record.get('record_id'))}"
    model = f"{record.get('model_name', '')} {record.get('model_version', '')}".strip()
    took = render.duration(record["duration_ms"] / 1000) if "duration_ms" in record else ""
    what = record.get("prediction")
    if record.get("status") == "error":
        what = f"{record.get('error_type', '')}: {record.get('exception_message', '')}"
    said = (record.get("status", ""), model, took, _cell(record.get("features")), "->", _cell(what))
    return render.printable(" ".join(filter(None, said)), 2 * _CELL)


def print_stats(found: Stats) -> None:
    """Print what an audit directory holds.

    Args:
        found: As `stats` returns it.
    """
    console = render.make_console()
    segments = f"{found.open_segments:,} open, {found.sealed_segments:,} sealed, {found.compacted_segments:,} compacted"
    rows = {
        "directory": str(found.directory),
        "segments": segments,
        "size": f"{size(found.bytes)}, and {size(found.parquet_bytes)} of Parquet",
        "records": f"{found.records:,}, for {render.number(found.rows, 'row')}",
        "failures": f"{found.failures:,}",
        "outcomes": f"{found.outcomes:,}",
        "models": f"{found.models:,}",
        "subjects": f"{found.subjects:,}",
        "from": f"{found.first} UTC" if found.first else "",
        "to": f"{found.last} UTC" if found.last else "",
        "held": ", ".join(f"{reason} ({identity})" for identity, reason in found.holds.items()) or "-",
        "lost": ", ".join(f"{number:,} by {reason}" for reason, number in found.lost.items()) or "0",
    }
    for name, value in rows.items():
        style = "red" if name == "lost" and found.lost else "not dim"
        line = Text(f"{name:<10} ", style="dim").append(render.printable(value), style=style)
        console.print(line, soft_wrap=True)


def size(number: float) -> str:
    """Return a number of bytes with its unit, for example `12.3 MB`.

    Args:
        number: Bytes.
    """
    for unit in ("B", "kB", "MB", "GB"):
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"
