"""`otel-ml audit`: ask, follow, check and look after the audit trail."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

DAMAGED = 1
"""Exit code when a chain does not hold, or a segment cannot be read."""

NOTHING_ERASED = 1
"""Exit code when there was nothing to erase."""

app = typer.Typer(
    name="audit",
    help="The audit trail: every prediction on record, asked with SQL and checked against changes.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Directory = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        help="Audit directory, or the state directory that holds it. Default: $OTEL_ML_AUDIT_DIR, else `audit` in the "
        "state directory.",
        metavar="DIR",
    ),
]
Sql = Annotated[
    str,
    typer.Argument(
        help="A SELECT over the views predictions, outcomes and gaps; or the name of a query: models, failures, "
        "errors, slowest, hours.",
        metavar="SQL",
    ),
]


@app.command()
def query(
    sql: Sql,
    format: Annotated[
        Literal["table", "csv", "json"], typer.Option("--format", help="json: an object a line.")
    ] = "table",
    directory: Directory = None,
) -> None:
    """Answer a question in SQL, from everything that is on record, also in segments that are being written."""
    from otel_ml.audit.reading.named_queries import NAMED  # noqa: PLC0415
    from otel_ml.audit.reading.query import run  # noqa: PLC0415
    from otel_ml.cli import audit_output  # noqa: PLC0415

    with run(NAMED.get(sql, sql), directory=directory) as result:
        audit_output.print_result(result, format)


@app.command()
def tail(
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="Records shown of those that are there.")] = 10,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for more, until Ctrl-C.")] = True,
    format: Annotated[Literal["text", "json"], typer.Option("--format", help="json: an object a line.")] = "text",
    directory: Directory = None,
) -> None:
    """Show the newest records, and each new one when it is written."""
    from otel_ml.audit.reading.tail import tail as records  # noqa: PLC0415
    from otel_ml.cli import audit_output  # noqa: PLC0415

    try:
        for record in records(last, follow=follow, directory=directory):
            audit_output.print_record(record, format)
    except KeyboardInterrupt:
        raise typer.Exit from None


@app.command()
def export(
    destination: Annotated[Path, typer.Argument(help="File to write: .parquet or .csv.", metavar="FILE")],
    sql: Annotated[
        str | None, typer.Argument(help="A SELECT that says what. Default: all predictions.", metavar="[SQL]")
    ] = None,
    directory: Directory = None,
) -> None:
    """Write what is on record to a Parquet or CSV file."""
    from otel_ml.audit.reading.export import EVERYTHING  # noqa: PLC0415
    from otel_ml.audit.reading.export import export as write  # noqa: PLC0415
    from otel_ml.audit.reading.named_queries import NAMED  # noqa: PLC0415

    rows = write(destination, NAMED.get(sql or "", sql or EVERYTHING), directory=directory)
    _say(f"Wrote {rows:,} {'row' if rows == 1 else 'rows'} to {destination}.")


@app.command()
def verify(directory: Directory = None) -> None:
    """Check that no record was changed, deleted or put elsewhere; name the first bad one of each chain."""
    from otel_ml import audit  # noqa: PLC0415

    report = audit.verify(directory=directory)
    for note in report.notes:
        _say(f"note: {note}")
    if report:
        _say(str(report))
    for problem in report.problems:
        _complain(str(problem))
    raise typer.Exit(0 if report else DAMAGED)


@app.command()
def erase(
    subject: Annotated[
        str, typer.Option("--subject", help="What `subject=` was given, or the records' pseudonym.", metavar="SUBJECT")
    ],
    directory: Directory = None,
) -> None:
    """Destroy the key of a subject: its encrypted records become unreadable everywhere, and the chain still holds.

    It is refused while a legal hold covers records of the subject.
    """
    from otel_ml import audit  # noqa: PLC0415

    if not audit.erase(subject, directory=directory):
        _complain("there is no key of this subject, so nothing was erased")
        raise typer.Exit(NOTHING_ERASED)
    _say("Erased. Copies that were exported or backed up with their keys before are not covered.")


@app.command()
def hold(
    reason: Annotated[str, typer.Argument(help="Why; it is put on record.", metavar="REASON")],
    since: Annotated[datetime | None, typer.Option("--since", help="From this time on, UTC.")] = None,
    until: Annotated[datetime | None, typer.Option("--until", help="Until this time, UTC.")] = None,
    directory: Directory = None,
) -> None:
    """Keep records from being deleted by retention and from erasure, all of them or those of a time span."""
    from otel_ml import audit  # noqa: PLC0415

    _say(f"Held: {audit.hold(reason, since=since, until=until, directory=directory)}")


@app.command()
def release(
    identity: Annotated[str, typer.Argument(help="What `hold` printed, and `stats` prints.", metavar="HOLD")],
    directory: Directory = None,
) -> None:
    """End a legal hold."""
    from otel_ml import audit  # noqa: PLC0415

    audit.release(identity, directory=directory)
    _say(f"Released: {identity}")


@app.command()
def stats(directory: Directory = None) -> None:
    """Count segments, records, failures and losses."""
    from otel_ml.audit.reading.stats import stats as count  # noqa: PLC0415
    from otel_ml.cli import audit_output  # noqa: PLC0415

    audit_output.print_stats(count(directory=directory))


@app.command()
def compact(directory: Directory = None) -> None:
    """Write sealed segments as Parquet too, which makes queries quick. The segments stay."""
    from otel_ml import audit  # noqa: PLC0415
    from otel_ml.cli.audit_output import size  # noqa: PLC0415

    done = audit.compact(directory=directory)
    sizes = f": {size(done.bytes_before)} of lines are {size(done.bytes_after)} of Parquet" if done.segments else ""
    _say(f"Compacted {done.segments:,} {'segment' if done.segments == 1 else 'segments'}{sizes}.")
    for segment, problem in done.problems.items():
        _complain(f"{segment}: {problem}")
    raise typer.Exit(DAMAGED if done.problems else 0)


def _say(text: str) -> None:
    from otel_ml.cli.render import printable  # noqa: PLC0415

    print(printable(text))


def _complain(text: str) -> None:
    from otel_ml.cli.render import printable  # noqa: PLC0415

    print(f"otel-ml: {printable(text)}", file=sys.stderr)
