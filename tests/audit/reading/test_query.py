"""SQL over the audit trail: every record once, whatever kind of file it is in, and nothing but the trail."""

from __future__ import annotations

import json
import os
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_ml.audit import place
from otel_ml.audit.reading import compaction, sources
from otel_ml.audit.reading.query import query
from otel_ml.audit.reading.statements import QueryError
from segments import START, Process
from support import run_python

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
ATTACKS = [
    "COPY (SELECT 1) TO '{file}'",
    "WITH x AS (COPY (SELECT 1) TO '{file}' (USE_TMP_FILE false)) SELECT 1",
    "WITH y AS (WITH x AS (COPY (SELECT 1) TO '{file}' (USE_TMP_FILE false)) SELECT 1) SELECT * FROM y",
    "SELECT * FROM json_execute_serialized_sql('{serialized}')",
    "SELECT * FROM predictions, LATERAL (SELECT * FROM json_execute_serialized_sql('{serialized}'))",
    "SELECT * FROM query('SELECT 1')",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{file}'",
    "EXPORT DATABASE '{folder}'",
    "ATTACH '{folder}/new.db'",
    "SELECT 1; COPY (SELECT 1) TO '{file}'",
    "PREPARE p AS SELECT 1",
    "CREATE TABLE t AS SELECT 1",
    "INSERT INTO predictions VALUES (1)",
    "SET enable_external_access = true",
    "PRAGMA enable_profiling = 'json'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "CALL enable_logging(storage = 'file', storage_path = '{folder}')",
    "SELECT * FROM read_text('{secret}')",
    "SELECT * FROM read_blob('{secret}')",
    "SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM '{secret}'",
    "SELECT * FROM glob('/**')",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM read_parquet('{file}')",
]


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    return tmp_path / "audit"


def values(trail: Path, sql: str) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in query(sql, directory=trail)]


def test_open_sealed_and_compacted_segments_are_one_table(trail: Path) -> None:
    """Every record is found once, also when its segment is there as lines and as Parquet."""
    process = Process(trail)
    process.prediction(record_id="a")
    process.seal()
    compaction.compact(trail)
    process.prediction(record_id="b")
    process.seal()
    process.prediction(record_id="c")
    Process(trail, pid=4712).prediction(record_id="d")
    rows = query("SELECT record_id, segment FROM predictions ORDER BY 1", directory=trail)
    assert [row["record_id"] for row in rows] == ["a", "b", "c", "d"]
    assert len({row["segment"] for row in rows}) == 4
    assert len(list(trail.glob("**/*.parquet"))) == 1


def test_an_answer_has_a_column_for_each_field(trail: Path) -> None:
    """Fields have short names with underscores, absent ones are None, JSON is Python's, `time` is UTC."""
    with Process(trail) as process:
        process.prediction(
            record_id="a", time_unix_nano=START + 1_500_000, trace_id="t", span_id="s", otel_ml__feature__version="7",
            otel_ml__run__id="r", call_id="c", row=3, subject="p", redacted=["email"], truncated=[],
            deployment__environment__name="production",
        )  # fmt: skip
        process.prediction(
            record_id="b", otel_ml__status="error", severity_number=17, error__type="ValueError",
            exception__message="could not", exception__stacktrace="Traceback", prediction=None, rows=50_000,
        )  # fmt: skip
    good, failed = query("SELECT * FROM predictions ORDER BY record_id", directory=trail)
    assert good["time"] == datetime(2026, 11, 22, 16, 39, 48, 1500)
    assert good["features"] == {"amount": 12.5, "country": "DE"}
    assert good["prediction"] == 0.25
    expected = {
        "service_name": "shop", "model_name": "fraud", "model_version": "1.2", "feature_version": "7", "run_id": "r",
        "status": "ok", "duration_ms": 1.5, "trace_id": "t", "span_id": "s", "call_id": "c", "row": 3, "rows": 1,
        "subject": "p", "redacted": ["email"], "truncated": [], "error_type": None, "environment": "production",
    }  # fmt: skip
    assert {name: good[name] for name in expected} == expected
    assert (failed["error_type"], failed["exception_message"], failed["exception_stacktrace"]) == (
        "ValueError", "could not", "Traceback",
    )  # fmt: skip
    assert (failed["prediction"], failed["rows"], failed["redacted"]) == (None, 50_000, None)
    assert not {"encrypted", "event_name", "lost", "label"} & good.keys()


def test_the_example_of_the_design_works(trail: Path) -> None:
    """Grouping by version, and a feature in the condition."""
    with Process(trail) as process:
        for number in range(4):
            process.prediction(otel_ml__model__version=str(number % 2), duration_ms=number, features={"amount": number})
    sql = "select model_version, count(*), avg(duration_ms) from predictions group by 1 order by 1"
    assert values(trail, sql) == [("0", 2, 1.0), ("1", 2, 2.0)]
    assert values(trail, "select count(*) from predictions where (features->>'amount')::int >= 2") == [(2,)]
    assert values(trail, "select row, rows from predictions limit 1") == [(None, 1)]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(features=st.lists(st.dictionaries(TEXTS, JSON, max_size=4), min_size=1, max_size=4), prediction=JSON, text=TEXTS)
def test_parquet_and_lines_give_the_same_answer(
    features: list[dict[str, object]], prediction: object, text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever the values are: compaction changes no answer."""
    trail = tmp_path_factory.mktemp("trail")
    with Process(trail) as process:
        for one in features:
            process.prediction(features=one, prediction=prediction, exception__message=text)
    sql = "SELECT * FROM predictions ORDER BY seq"
    from_lines = query(sql, directory=trail)
    assert compaction.compact(trail).segments == 1
    assert query(sql, directory=trail) == from_lines
    assert [row["features"] for row in from_lines] == features
    assert from_lines[0]["prediction"] == prediction
    assert from_lines[0]["exception_message"] == text


def test_numbers_that_json_does_not_have_are_texts(trail: Path) -> None:
    """NaN and infinities can be told apart, and SQL can calculate with them."""
    with Process(trail) as process:
        process.prediction(features={"a": "NaN", "b": "-Infinity"}, prediction="Infinity")
    sql = "SELECT isnan((features->>'a')::double), (features->>'b')::double < 0, prediction FROM predictions"
    assert values(trail, sql) == [(True, True, "Infinity")]


@pytest.mark.parametrize("size", [1, 40, 200])
def test_a_torn_last_line_of_an_open_segment_is_no_error(trail: Path, size: int) -> None:
    """A process was killed while it wrote, or is writing right now: the whole lines count."""
    process = Process(trail)
    process.prediction()
    process.torn(size)
    assert values(trail, "SELECT count(*) FROM predictions") == [(1,)]


def test_a_damaged_sealed_segment_is_an_error_that_says_what_to_do(trail: Path) -> None:
    """No row is skipped in silence, and none is made up."""
    process = Process(trail)
    process.prediction()
    sealed = process.seal()
    whole = sealed.read_bytes()
    sealed.write_bytes(whole[:-5])
    with pytest.raises(QueryError, match=r"half a line.*audit verify"):
        query("SELECT * FROM predictions", directory=trail)
    sealed.write_bytes(whole.replace(b'"duration_ms":', b'"duration_ms",'))
    with pytest.raises(QueryError, match=r"Malformed JSON(.|\n)*audit verify"):
        query("SELECT * FROM predictions", directory=trail)
    sealed.write_bytes(whole.replace(b'"duration_ms":1.5', b'"duration_ms":"soon"'))
    with pytest.raises(QueryError, match=r"Conversion Error(.|\n)*audit verify"):
        query("SELECT * FROM predictions", directory=trail)


def test_outcomes_and_gaps_are_views_of_their_own(trail: Path) -> None:
    """They are no predictions; a gap says what was lost."""
    with Process(trail) as process:
        process.prediction(record_id="a")
        process.outcome("a", {"class": "fraud"})
        process.gap(queue_full=3)
    for _ in range(2):
        assert values(trail, "SELECT count(*) FROM predictions") == [(1,)]
        assert values(trail, "SELECT record_id, label FROM outcomes") == [("a", {"class": "fraud"})]
        assert values(trail, "SELECT lost FROM gaps") == [({"queue_full": 3},)]
        compaction.compact(trail)


def test_an_empty_trail_has_no_rows_but_all_columns(trail: Path) -> None:
    """Before the first record the same SQL works."""
    trail.mkdir()
    assert query("SELECT model_version, features->>'x' FROM predictions", directory=trail) == []
    assert values(trail, "SELECT count(*) FROM outcomes") == [(0,)]


def test_parameters_take_the_place_of_values(trail: Path) -> None:
    """By position and by name."""
    with Process(trail) as process:
        process.prediction(record_id="it's")
    assert len(query("SELECT * FROM predictions WHERE record_id = ?", ["it's"], directory=trail)) == 1
    assert len(query("SELECT * FROM predictions WHERE record_id = $id", {"id": "it's"}, directory=trail)) == 1


@pytest.mark.parametrize("attack", ATTACKS)
def test_sql_neither_writes_nor_reads_outside(trail: Path, tmp_path: Path, attack: str) -> None:
    """No statement has an effect, also not as a part of a SELECT; no file is there to be read."""
    process = Process(trail)
    process.prediction()
    process.seal()
    compaction.compact(trail)
    process.prediction()
    (parquet,) = trail.glob("parquet/*.parquet")
    parquet.chmod(0o600)  # a copy that could be written to
    (tmp_path / "secret").write_text("canary")
    copy = f"WITH x AS (COPY (SELECT 1) TO '{parquet}' (USE_TMP_FILE false)) SELECT 1"
    duckdb = pytest.importorskip("duckdb")
    ((serialized,),) = duckdb.connect().execute("SELECT json_serialize_sql(?::VARCHAR)", [copy]).fetchall()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    places = {"file": parquet, "folder": tmp_path, "secret": tmp_path / "secret"}
    with pytest.raises(QueryError):
        query(attack.format(serialized=serialized.replace("'", "''"), **places), directory=trail)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "sql",
    [
        "FROM predictions",
        "DESCRIBE predictions",
        "SUMMARIZE predictions",
        "VALUES (1)",
        "SELECT 1 UNION SELECT 2",
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 3) SELECT * FROM t",
        "SELECT key, value FROM predictions, json_each(features)",
        "SELECT unnest(range(3))",
        "SELECT * FROM predictions PIVOT (count(*) FOR status IN ('ok', 'error'))",
        "SELECT record_id, row_number() OVER (ORDER BY time) FROM predictions;",
    ],
)
def test_reading_sql_of_any_form_is_answered(trail: Path, sql: str) -> None:
    """What reads only is not in the way of the rule."""
    with Process(trail) as process:
        process.prediction()
    assert query(sql, directory=trail)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELEC 1", "syntax error"),
        ("", "received nothing"),
        ("SELECT 1; SELECT 2", "received SELECT, SELECT"),
        ("SELECT nope FROM predictions", "nope"),
        ("DELETE FROM predictions", "expected one SELECT statement over predictions and outcomes, received DELETE"),
    ],
)
def test_a_wrong_statement_is_said(trail: Path, sql: str, message: str) -> None:
    """What was expected and what was received."""
    trail.mkdir()
    with pytest.raises(QueryError, match=message):
        query(sql, directory=trail)


def test_variables_of_the_program_are_no_tables(trail: Path) -> None:
    """SQL cannot name what lies around in the caller."""
    trail.mkdir()
    secret = pytest.importorskip("pyarrow").table({"a": [1]})
    assert secret
    with pytest.raises(QueryError, match="secret does not exist"):
        query("SELECT * FROM secret", directory=trail)


def test_a_query_while_segments_are_sealed_and_compacted_sees_each_record_once(trail: Path) -> None:
    """Renames and new Parquet files in the middle of a query lose nothing and double nothing."""
    process = Process(trail)
    known = threading.Semaphore(0)
    ended = threading.Event()

    def write() -> None:
        try:
            for _ in range(25):
                process.prediction()
                known.release()
                process.seal()
                compaction.compact(trail)
        finally:
            ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    least = 0
    while not ended.is_set():
        while known.acquire(blocking=False):
            least += 1
        ((number, distinct),) = values(trail, "SELECT count(*), count(DISTINCT record_id) FROM predictions")
        assert number == distinct
        assert number >= least
    writer.join()
    assert values(trail, "SELECT count(*) FROM predictions") == [(25,)]


def test_a_segment_that_retention_deletes_meanwhile_is_no_error(trail: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between our look at the folder and DuckDB's at the file: the query starts over."""
    process = Process(trail)
    for _ in range(2):
        process.prediction()
        process.seal()
    compaction.compact(trail)
    find, found = sources.find, []

    def find_and_delete(directory: Path) -> list[sources.Source]:
        found.append(find(directory))
        if len(found) == 1:
            for path in (found[0][0].lines, found[0][0].parquet):
                assert path is not None
                path.unlink()
        return found[-1]

    monkeypatch.setattr(sources, "find", find_and_delete)
    assert values(trail, "SELECT count(*) FROM predictions") == [(1,)]
    assert len(found) == 2


def test_relative_times_are_utc(trail: Path) -> None:
    """Whatever the time zone of the machine is, `now()` and `time` mean the same clock."""
    Process(trail).prediction(time_unix_nano=time.time_ns())
    done = run_python(
        f"""
        import time
        from otel_ml.audit import query
        time.tzset()
        condition = "abs(epoch(time) - epoch(now())) < 60 AND time > now() - INTERVAL 1 MINUTE AND time <= now()"
        print(query(f"SELECT count(*) AS n FROM predictions WHERE {{condition}}", directory={str(trail)!r}))
        """,
        env={"TZ": "Pacific/Auckland"},
    )
    assert done.stdout.strip() == "[{'n': 1}]", done.stderr


def test_without_the_extra_an_error_says_what_to_install(trail: Path) -> None:
    """DuckDB and pyarrow are needed for queries only, and are asked for by name."""
    trail.mkdir()
    for missing in ("duckdb", "pyarrow"):
        done = run_python(
            f"""
            import sys
            class Hide:
                def find_spec(self, name, path=None, target=None):
                    if name == {missing!r}:
                        raise ModuleNotFoundError(name, name=name)
            sys.meta_path.insert(0, Hide())
            from otel_ml.audit import query
            query("SELECT 1", directory={str(trail)!r})
            """
        )
        assert f"{missing}: expected to be installed to query the audit trail" in done.stderr
        assert "pip install 'otel-ml[audit]'" in done.stderr


def test_a_trail_is_found_where_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder itself, the state directory above it, the default one, and the one that this process writes."""
    monkeypatch.setattr(place, "_in_use", None)
    with pytest.raises(place.TrailNotFoundError, match="expected a directory of segments, received none in"):
        place.find(tmp_path / "nothing")
    trail = tmp_path / ".otel_ml" / "audit"
    trail.mkdir(parents=True)
    assert place.find(trail) == place.find(str(trail.parent)) == place.find() == trail
    (tmp_path / "other").mkdir()
    place.use(Path("other"))
    assert place.find() == tmp_path / "other"


def test_a_name_with_a_quote_is_only_a_name(tmp_path: Path) -> None:
    """A service or folder may be called anything."""
    trail = tmp_path / "it's"
    with Process(trail, service="o'shop") as process:
        process.prediction()
    for _ in range(2):
        assert values(trail, "SELECT count(*) FROM predictions") == [(1,)]
        assert compaction.compact(trail).problems == {}


def test_the_lines_of_a_segment_are_what_its_helper_promises(trail: Path) -> None:
    """The segments of these tests follow the format: header, records, seal, one chain."""
    import hashlib

    process = Process(trail)
    process.prediction()
    sealed = [process.seal(), process.seal()]
    previous = hashlib.sha256(b"otel_ml.audit" + sealed[0].name.encode()).digest()
    for number, line in enumerate(b"".join(path.read_bytes() for path in sealed).splitlines()):
        body, hash_ = line[:-75], line[-66:-2]
        previous = hashlib.sha256(body + previous).digest()
        assert hash_.decode() == previous.hex()
        assert json.loads(line)["seq"] == number
    assert os.stat(sealed[0]).st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "value"),
    [("enable_external_access", False), ("lock_configuration", True), ("enable_progress_bar", False)],
)
def test_the_database_is_shut_off_and_silent(trail: Path, name: str, value: bool) -> None:
    """It reaches no file, cannot be told to, and prints nothing into the program's output, however long it takes."""
    trail.mkdir()
    sql = f"SELECT current_setting('{name}') AS value"
    assert query(sql, directory=trail) == [{"value": value}]
