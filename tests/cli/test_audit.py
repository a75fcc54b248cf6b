"""What `otel-ml audit` prints and writes."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from otel_ml.audit.pseudonyms import Pseudonyms
from otel_ml.audit.reading.erasure import HeldError
from otel_ml.audit.reading.statements import QueryError
from otel_ml.audit.subjects import SubjectKeys
from otel_ml.cli.audit import app
from segments import Process

Command = Callable[..., Any]


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    return tmp_path / "audit"


@pytest.fixture
def audit(monkeypatch: pytest.MonkeyPatch, trail: Path) -> Command:
    """Return a function that runs a command on the trail, 100 columns wide, without colours."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def run(*arguments: object) -> Any:
        return CliRunner().invoke(app, [*map(str, arguments), "--dir", str(trail)], catch_exceptions=True)

    return run


def test_an_answer_is_a_table(trail: Path, audit: Command) -> None:
    """Names, then rows; numbers to the right, times to the millisecond."""
    with Process(trail) as process:
        process.prediction(duration_ms=1.25)
        process.prediction(duration_ms=123.5, otel_ml__model__version="10")
    out = audit("query", "SELECT model_version, duration_ms, time FROM predictions ORDER BY seq").stdout
    assert [line.rstrip() for line in out.splitlines()] == [
        "model_version  duration_ms  time",
        "1.2                   1.25  2026-11-22 16:39:48.000",
        "10                   123.5  2026-11-22 16:39:48.000",
    ]


def test_rows_that_are_too_wide_stand_below_each_other(trail: Path, audit: Command) -> None:
    """All columns of a record: a line each, without those that are absent."""
    with Process(trail) as process:
        process.prediction(record_id="a")
        process.prediction(record_id="b")
    lines = audit("query", "SELECT * FROM predictions ORDER BY seq").stdout.splitlines()
    assert "record_id" in lines[0] and lines[0].endswith("a")
    assert any(line.startswith("features") and line.endswith('{"amount":12.5,"country":"DE"}') for line in lines)
    assert not any(line.startswith("error_type") for line in lines)
    assert lines[lines.index("") + 1].endswith("b")


def test_an_answer_is_csv_or_json_for_programs(trail: Path, audit: Command) -> None:
    """CSV with a header; JSON has an object a line, with times in UTC and features as objects."""
    with Process(trail) as process:
        process.prediction(record_id='a"b')
    sql = "SELECT record_id, time, features, error_type FROM predictions"
    (row,) = csv.DictReader(io.StringIO(audit("query", sql, "--format", "csv").stdout))
    assert (row["record_id"], json.loads(row["features"])) == ('a"b', {"amount": 12.5, "country": "DE"})
    assert json.loads(audit("query", sql, "--format", "json").stdout) == {
        "record_id": 'a"b',
        "time": "2026-11-22T16:39:48Z",
        "features": {"amount": 12.5, "country": "DE"},
        "error_type": None,
    }


def test_a_named_query_needs_no_sql(trail: Path, audit: Command) -> None:
    """The failures with their features: what was asked for first when something went wrong."""
    with Process(trail) as process:
        process.prediction(otel_ml__status="error", error__type="ValueError", exception__message="no", prediction=None)
    out = audit("query", "failures").stdout
    assert '{"amount":12.5,"country":"DE"}' in out
    assert "ValueError" in out


def test_a_table_has_an_end(trail: Path, audit: Command) -> None:
    """Two hundred rows are shown and the rest is mentioned; the other formats have all; no rows are said too."""
    trail.mkdir()
    sql = "SELECT unnest(range(201)) AS n"
    out = audit("query", sql).stdout
    assert len(out.splitlines()) == 202
    assert "Only 200 rows are shown" in out
    assert len(audit("query", sql, "--format", "json").stdout.splitlines()) == 201
    assert "No rows." in audit("query", "SELECT * FROM predictions").stdout


def test_escape_sequences_do_not_reach_the_terminal(trail: Path, audit: Command) -> None:
    """Features are what strangers sent."""
    with Process(trail) as process:
        process.prediction(
            features={"text": "\x1b[31mred"}, exception__message="\x1b]0;title\x07", error__type="\x1b[2J"
        )
    for arguments in (
        ("query", "SELECT * FROM predictions"),
        ("query", "SELECT features, error_type FROM predictions"),
    ):
        assert "\x1b" not in audit(*arguments).stdout
    assert "\x1b" not in audit("tail", "--no-follow").stdout


def test_a_wrong_query_is_an_error_of_ours(trail: Path, audit: Command) -> None:
    """The command line prints it and ends with exit code 2."""
    trail.mkdir()
    done = audit("query", "DROP VIEW predictions")
    assert isinstance(done.exception, QueryError)
    assert done.stdout == ""


def test_tail_shows_a_record_a_line(trail: Path, audit: Command) -> None:
    """What it was, which model, how long, from what to what; failures, outcomes and gaps too."""
    process = Process(trail)
    process.prediction(record_id="a")
    process.prediction(otel_ml__status="error", error__type="ValueError", exception__message="no", prediction=None)
    process.outcome("a", "fraud")
    process.gap(queue_full=3)
    lines = audit("tail", "--no-follow").stdout.splitlines()
    assert lines == [
        '16:39:48.000 ok fraud 1.2 1.50 ms {"amount":12.5,"country":"DE"} -> 0.25',
        '16:39:48.000 error fraud 1.2 1.50 ms {"amount":12.5,"country":"DE"} -> ValueError: no',
        "16:39:48.000 outcome fraud of a",
        '16:39:48.000 gap {"queue_full":3}',
    ]
    (last,) = audit("tail", "-n", 1, "--no-follow", "--format", "json").stdout.splitlines()
    assert json.loads(last)["lost"] == {"queue_full": 3}


def test_tail_follows_until_it_is_interrupted(trail: Path) -> None:
    """New records come without delay; Ctrl-C is a good end."""
    process = Process(trail)
    code = "from otel_ml.cli.audit import app; app()"
    command = [sys.executable, "-P", "-c", code, "tail", "-n", "1", "--format", "json", "--dir", str(trail)]
    process.prediction(record_id="first")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "NO_COLOR": "1"}) as running:
        assert running.stdout is not None
        assert json.loads(running.stdout.readline())["record_id"] == "first"
        process.prediction(record_id="second")
        assert json.loads(running.stdout.readline())["record_id"] == "second"
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 0


def test_export_writes_a_file(trail: Path, audit: Command, tmp_path: Path) -> None:
    """Everything, or what a query says."""
    with Process(trail) as process:
        process.prediction()
        process.prediction()
    assert audit("export", tmp_path / "out.csv").stdout == f"Wrote 2 rows to {tmp_path / 'out.csv'}.\n"
    assert audit("export", tmp_path / "models.csv", "models").exit_code == 0
    assert (tmp_path / "models.csv").read_text().startswith("model_name,model_version,records,failures")


def test_compact_says_what_it_did(trail: Path, audit: Command) -> None:
    """How many segments, how large; a segment that cannot be read is named, with exit code 1."""
    process = Process(trail)
    process.prediction()
    process.seal()
    assert audit("compact").stdout.startswith("Compacted 1 segment: ")
    assert audit("compact").stdout == "Compacted 0 segments.\n"
    process.prediction()
    bad = process.seal()
    bad.write_bytes(bad.read_bytes()[:-9])
    done = audit("compact")
    assert done.exit_code == 1
    assert bad.name in done.stderr


def test_stats_count_what_is_there_and_what_is_missing(trail: Path, audit: Command) -> None:
    """A line for each."""
    process = Process(trail)
    process.prediction()
    process.gap(queue_full=3)
    lines = {line.split(maxsplit=1)[0]: line.split(maxsplit=1)[1] for line in audit("stats").stdout.splitlines()}
    assert lines["segments"] == "1 open, 0 sealed, 0 compacted"
    assert lines["records"] == "1, for 1 row"
    assert lines["lost"] == "3 by queue_full"


def test_help_needs_no_database() -> None:
    """The commands are listed without DuckDB, pyarrow or pandas being loaded."""
    code = """
import sys
from otel_ml.cli.audit import app
try:
    app(["--help"])
finally:
    assert not {"duckdb", "pyarrow", "numpy", "pandas"} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("query", "tail", "verify", "export", "erase", "hold", "release", "stats", "compact"):
        assert name in done.stdout


def test_verify_names_the_first_bad_record(trail: Path, audit: Command) -> None:
    """Exit code 0 and a count when every chain holds; 1, file and sequence number when one does not."""
    process = Process(trail)
    process.prediction()
    process.prediction()
    sealed = process.seal()
    good = audit("verify")
    assert (good.exit_code, good.stderr) == (0, "")
    assert "1 chains of 2 segments hold, 5 lines" in good.stdout
    sealed.write_bytes(sealed.read_bytes().replace(b"12.5", b"12.6", 1))
    bad = audit("verify")
    assert bad.exit_code == 1
    assert bad.stderr.startswith(f"otel-ml: {sealed.name}, seq 1: ")


def test_holds_are_placed_listed_and_released(trail: Path, audit: Command) -> None:
    """A hold has a reason and an identity; what is no hold cannot be released."""
    trail.mkdir()
    held = audit("hold", "case 4711", "--since", "2026-11-01", "--until", "2026-12-01T12:00:00").stdout
    identity = held.removeprefix("Held: ").strip()
    assert f"case 4711 ({identity})" in audit("stats").stdout
    assert audit("release", identity).stdout == f"Released: {identity}\n"
    assert "case 4711" not in audit("stats").stdout
    assert "expected the identity of a hold" in str(audit("release", identity).exception)
    assert "hold(until=)" in str(audit("hold", "x", "--since", "2026-11-02", "--until", "2026-11-01").exception)
    assert "hold(reason)" in str(audit("hold", " ").exception)


def test_erase_destroys_a_key_once(trail: Path, audit: Command) -> None:
    """By the subject's own name; the second time there is nothing left, which is said with exit code 1."""
    subject = Pseudonyms(trail).of("ada")
    assert subject is not None
    SubjectKeys(trail).encrypt(subject, b"{}", "a")
    assert audit("erase", "--subject", "ada").stdout.startswith("Erased.")
    again = audit("erase", "--subject", "ada")
    assert (again.exit_code, again.stderr) == (
        1,
        "otel-ml: there is no key of this subject, so nothing was erased\n",
    )


@pytest.mark.parametrize("since", ["2026-11-01", "2026-11-01T02:00+02:00", "2026-11-01T00:00:00.000Z"])
def test_a_hold_begins_at_a_time_in_any_zone(trail: Path, audit: Command, since: str) -> None:
    """ISO 8601; without a zone it is UTC, and what is no time is refused with an example."""
    with Process(trail) as process:
        process.prediction()
    held = audit("hold", "case 4711", "--since", since).stdout
    assert held.startswith("Held: ")
    begin = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 10**9
    assert f'"since":{begin}' in "".join(path.read_text() for path in trail.glob("*manifest*"))
    refused = audit("hold", "case 4711", "--since", "tomorrow")
    assert refused.exit_code == 2
    assert "'tomorrow' is not a time such as 2026-11-28" in refused.stderr


def test_erase_is_refused_under_a_hold(trail: Path, audit: Command) -> None:
    """With the reason of the hold, and how it ends."""
    subject = Pseudonyms(trail).of("ada")
    assert subject is not None
    SubjectKeys(trail).encrypt(subject, b"{}", "a")
    with Process(trail) as process:
        process.prediction(subject=subject)
    audit("hold", "case 4711")
    refused = audit("erase", "--subject", "ada")
    assert refused.exit_code == 1 and isinstance(refused.exception, HeldError)
    assert "'case 4711'" in str(refused.exception) and "otel-ml audit release" in str(refused.exception)


def test_the_command_is_a_part_of_otel_ml(trail: Path, command) -> None:
    """`otel-ml audit query`, as it is installed; what is wrong is one line, and exit code 2."""
    with Process(trail) as process:
        process.prediction()
    done = command("audit", "query", "SELECT count(*) AS n FROM predictions", "--format", "json", "--dir", trail)
    assert (done.returncode, done.stdout) == (0, '{"n":1}\n')
    wrong = command("audit", "query", "DELETE FROM predictions", "--dir", trail)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("otel-ml: query: expected one SELECT statement")
    assert command("audit", "stats", "--dir", trail.parent / "none").returncode == 2
