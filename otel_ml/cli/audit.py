"""`otel-ml audit`: ask, follow, check and look after the audit trail."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Literal

import click

DAMAGED = 1
"""Exit code when a chain does not hold, or a segment cannot be read."""

NOTHING_ERASED = 1
"""Exit code when there was nothing to erase."""

in_directory = click.option(
    "--dir", "directory", type=click.Path(path_type=Path), metavar="DIR",
    help="Audit directory, or the state directory that holds it. Default: $OTEL_ML_AUDIT_DIR, else `audit` in the "
    "state directory.",
)  # fmt: skip


def moment(text: str) -> datetime:
    """Return a time in ISO 8601, with or without a zone.

    Raises:
        click.BadParameter: It is none.
    """
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is not a time such as 2026-11-28, 2026-11-28T16:30 or 2026-11-28T16:30Z"
        raise click.BadParameter(message) from None


@click.group(name="audit")
def app() -> None:
    """Ask, check and look after the record of every prediction."""


@app.command()
@click.argument("sql")
@click.option(
    "--format", "shape", type=click.Choice(["table", "csv", "json"]), default="table", help="json: an object a line."
)
@in_directory
def query(sql: str, shape: Literal["table", "csv", "json"], directory: Path | None) -> None:
    """Answer a question in SQL.

    It is asked of everything that is on record, also in segments that are being written.
    SQL is a SELECT over the views predictions, outcomes and gaps; or the name of a query: models, failures, errors,
    slowest, hours.
    """
    from otel_ml.audit.reading.named_queries import NAMED  # noqa: PLC0415
    from otel_ml.audit.reading.query import run  # noqa: PLC0415
    from otel_ml.cli import audit_output  # noqa: PLC0415

    with run(NAMED.get(sql, sql), directory=directory) as result:
        audit_output.print_result(result, shape)


@app.command()
@click.option("--last", "-n", type=click.IntRange(min=0), default=10, help="Records shown of those that are there.")
@click.option("--follow/--no-follow", default=True, help="Wait for more, until Ctrl-C.")
@click.option("--format", "shape", type=click.Choice(["text", "json"]), default="text", help="json: an object a line.")
@in_directory
def tail(last: int, shape: Literal["text", "json"], directory: Path | None, *, follow: bool) -> None:
    """Show the newest records, and each new one when it is written."""
    from otel_ml.audit.reading.tail import tail as records  # noqa: PLC0415
    from otel_ml.cli import audit_output  # noqa: PLC0415

    try:
        for record in records(last, follow=follow, directory=directory):
            audit_output.print_record(record, shape)
    except KeyboardInterrupt:
        sys.exit(0)


@app.command()
@click.argument("destination", type=click.Path(path_type=Path), metavar="FILE")
@click.argument("sql", required=False)
@in_directory
def export(destination: Path, sql: str | None, directory: Path | None) -> None:
    """Write what is on record to a Parquet or CSV file.

    FILE ends with .parquet or .csv. SQL is a SELECT that says what; default: all predictions.
    """
    from otel_ml.audit.reading.export import EVERYTHING  # noqa: PLC0415
    from otel_ml.audit.reading.export import export as write  # noqa: PLC0415
    from otel_ml.audit.reading.named_queries import NAMED  # noqa: PLC0415

    rows = write(destination, NAMED.get(sql or "", sql or EVERYTHING), directory=directory)
    _say(f"Wrote {rows:,} {'row' if rows == 1 else 'rows'} to {destination}.")


@app.command()
@in_directory
def verify(directory: Path | None) -> None:
    """Check that no record was changed, deleted or put elsewhere.

    The first bad one of each chain is named.
    """
    from otel_ml import audit  # noqa: PLC0415

    report = audit.verify(directory=directory)
    for note in report.notes:
        _say(f"note: {note}")
    if report:
        _say(str(report))
    for problem in report.problems:
        _complain(str(problem))
    sys.exit(0 if report else DAMAGED)


@app.command()
@click.option(
    "--subject", required=True, metavar="SUBJECT", help="What `subject=` was given, or the records' pseudonym."
)
@in_directory
def erase(subject: str, directory: Path | None) -> None:
    """Make the records of a subject unreadable.

    Its key is destroyed: encrypted records become unreadable everywhere, and the chain still holds. It is refused
    while a legal hold covers records of the subject.
    """
    from otel_ml import audit  # noqa: PLC0415

    if not audit.erase(subject, directory=directory):
        _complain("there is no key of this subject, so nothing was erased")
        sys.exit(NOTHING_ERASED)
    _say("Erased. Copies that were exported or backed up with their keys before are not covered.")


@app.command()
@click.argument("reason")
@click.option("--since", type=moment, metavar="TIME", help="From this time on, in ISO 8601; without a zone in UTC.")
@click.option("--until", type=moment, metavar="TIME", help="Until this time.")
@in_directory
def hold(reason: str, since: datetime | None, until: datetime | None, directory: Path | None) -> None:
    """Keep records from retention and erasure.

    All of them are kept, or those of a time span. REASON says why; it is put on record.
    """
    from otel_ml import audit  # noqa: PLC0415

    _say(f"Held: {audit.hold(reason, since=since, until=until, directory=directory)}")


@app.command()
@click.argument("identity", metavar="HOLD")
@in_directory
def release(identity: str, directory: Path | None) -> None:
    """End a legal hold.

    HOLD is what `hold` printed, and `stats` prints.
    """
    from otel_ml import audit  # noqa: PLC0415

    audit.release(identity, directory=directory)
    _say(f"Released: {identity}")


@app.command()
@in_directory
def stats(directory: Path | None) -> None:
    """Count segments, records, failures and losses."""
    from otel_ml.audit.reading.stats import stats as count  # noqa: PLC0415
    from otel_ml.cli import audit_output  # noqa: PLC0415

    audit_output.print_stats(count(directory=directory))


@app.command()
@in_directory
def compact(directory: Path | None) -> None:
    """Write sealed segments as Parquet too, which makes queries quick.

    The segments stay.
    """
    from otel_ml import audit  # noqa: PLC0415
    from otel_ml.cli.audit_output import size  # noqa: PLC0415

    done = audit.compact(directory=directory)
    sizes = f": {size(done.bytes_before)} of lines are {size(done.bytes_after)} of Parquet" if done.segments else ""
    _say(f"Compacted {done.segments:,} {'segment' if done.segments == 1 else 'segments'}{sizes}.")
    for segment, problem in done.problems.items():
        _complain(f"{segment}: {problem}")
    sys.exit(DAMAGED if done.problems else 0)


def _say(text: str) -> None:
    from otel_ml.cli.render import printable  # noqa: PLC0415

    print(printable(text))


def _complain(text: str) -> None:
    from otel_ml.cli.render import printable  # noqa: PLC0415

    print(f"otel-ml: {printable(text)}", file=sys.stderr)
