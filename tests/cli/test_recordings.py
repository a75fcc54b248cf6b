"""Finding runs, and reading their files in whatever state they were left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ml import conventions, identity
from otel_ml.cli import otlp_files, recordings
from otel_ml.cli.recordings import RunNotFoundError, find

OLD, NEW = "01930000-0000-7000-8000-0000000000aa", "019a0000-0000-7000-8000-0000000000bb"


def read(path: Path, parse=otlp_files.spans) -> tuple[list, list[str]]:
    """Return all records in a file, and what was said about it."""
    problems: list[str] = []
    records = [record for request in otlp_files.read_lines(path, problems) for record in parse(request)]
    return records, problems


def test_a_run_is_found_by_folder_id_name_and_unique_parts(record, state: Path) -> None:
    """Every way to name a run leads to its folder."""
    run = record(OLD, name="train", status="ok")
    record(NEW, name="serve", status="ok")
    for reference in (run.folder.name, str(run.folder), OLD, "train", run.folder.name[:10], OLD[:6], OLD[-5:]):
        assert find(reference, state).recording.folder == run.folder


def test_without_a_reference_the_newest_run_is_taken(record, state: Path) -> None:
    """The newest run is the one that started last."""
    newest = record(NEW)
    record(OLD)
    assert find(None, state).recording.folder == newest.folder


def test_a_whole_name_goes_before_the_beginning_of_an_id(record, state: Path) -> None:
    """A run that is called like the beginning of another one's id is found by its name."""
    named = record(NEW, name="0193", status="ok")
    record(OLD, name="other", status="ok")
    assert find("0193", state).recording.folder == named.folder


def test_of_several_runs_with_one_name_the_newest_is_meant(record, state: Path) -> None:
    """A nightly job has the same name every night."""
    record(OLD, name="train", status="ok")
    newest = record(NEW, name="train", status="error")
    assert find("train", state).recording.folder == newest.folder


def test_an_ambiguous_reference_lists_the_candidates(record, state: Path) -> None:
    """A part that two ids have in common is told apart by the user, who sees their folders."""
    first, second = record(OLD, name="a", status="ok"), record(f"{OLD[:-1]}f", name="b", status="error")
    with pytest.raises(RunNotFoundError, match=r"may mean any of 2 runs") as caught:
        find(OLD[:13], state)
    assert first.folder.name in str(caught.value)
    assert second.folder.name in str(caught.value)


def test_an_unknown_reference_lists_the_newest_runs(record, state: Path) -> None:
    """A wrong name is answered with the names that there are, not more than ten."""
    runs = [record(f"{OLD[:-2]}{number:02d}", name=f"run-{number}", status="ok") for number in range(12)]
    with pytest.raises(RunNotFoundError, match="No recorded run is called 'nothing'") as caught:
        find("nothing", state)
    assert sum(run.folder.name in str(caught.value) for run in runs) == 10
    assert "and 2 more" in str(caught.value)


def test_a_state_directory_without_runs_says_where_was_looked(state: Path) -> None:
    """Before the first run the message names the directory and the demo."""
    (state / "notes").mkdir()
    (state / "file.txt").write_text("x")
    with pytest.raises(RunNotFoundError, match=r"no recorded run in .*otel-ml demo") as caught:
        find(None, state)
    assert str(state) in str(caught.value)


def test_a_missing_state_directory_is_no_crash(tmp_path: Path) -> None:
    """A directory that does not exist holds no run."""
    with pytest.raises(RunNotFoundError):
        find(None, tmp_path / "nowhere")


def test_the_default_places_are_those_where_runs_are_written(
    record, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a directory, `OTEL_ML_DIR` says where to look."""
    run = record(OLD)
    monkeypatch.setenv("OTEL_ML_DIR", str(state))
    assert find(None, None).recording.folder == run.folder


def test_a_later_run_of_a_process_is_found_inside_its_folder(record, state: Path) -> None:
    """One process may do several runs; each is found by id and by name, and says which one it is."""
    inner = identity.uuid7()
    run = record(OLD, name="first", status="ok", runs={OLD: "first", inner: "second"})
    for reference in (inner, "second"):
        selection = find(reference, state)
        assert (selection.recording.folder, selection.run_id) == (run.folder, inner)
    assert find("first", state).run_id is None


def test_of_inner_runs_of_one_name_the_last_is_meant(record, state: Path) -> None:
    """As of folders; the others are found by their ids."""
    ids = [identity.uuid7(), identity.uuid7()]
    record(OLD, name="first", status="ok", runs={OLD: "first", ids[0]: "again", ids[1]: "again"})
    assert find("again", state).run_id == ids[1]
    assert find(ids[0], state).run_id == ids[0]


@pytest.mark.parametrize(
    "manifest", [None, "", '{"id": "x", "na', "[1, 2]", '{"id": 3, "pid": "x", "runs": [], "command": 1}']
)
def test_a_run_without_a_readable_manifest_is_known_by_its_folder(record, manifest: str | None) -> None:
    """`run.json` may be missing, torn, or something else."""
    run = record(OLD)
    if manifest is not None:
        (run.folder / "run.json").write_text(manifest)
    found = recordings.describe(run.folder)
    assert (found.id, found.name, found.status) == (OLD, "", "unknown")
    assert found.started.isoformat() == "2024-11-06T05:43:40+00:00"


def test_a_folder_that_is_not_named_by_time_is_a_run_by_its_files(state: Path) -> None:
    """An inherited run id need not be a UUID; then the folder is called like the id."""
    folder = state / "job-42"
    folder.mkdir()
    (folder / "traces-1.jsonl").write_text("")
    assert find("job-42", state).recording.id == "job-42"


def test_an_impossible_time_in_a_folder_name_is_no_crash(state: Path) -> None:
    """A folder may be called anything."""
    folder = state / "20269999T999999Z-x"
    folder.mkdir()
    assert recordings.describe(folder).id == "x"


def test_a_running_process_is_told_from_one_that_vanished(record) -> None:
    """A run whose process is gone without a word was interrupted."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    assert recordings.describe(record(OLD, status="running", pid=os.getpid()).folder).status == "running"
    assert recordings.describe(record(NEW, status="running", pid=gone.pid).folder).status == "interrupted"
    assert recordings.describe(record(NEW, status="running", pid=2**40).folder).status == "interrupted"


def test_spans_are_read_as_they_were_recorded(record) -> None:
    """What the exporter wrote comes back: names, ids, times, kinds of attributes, failure and exception."""
    run = record()
    parent = run.span("load", 0, 2, source="s3", rows=3, share=0.5, ok=True, tags=["a", "b"])
    child = run.span("parse", 1, 1.5, parent=parent, error=ValueError("no number"))
    spans, problems = read(run.file("traces"))
    assert problems == []
    load, parse = sorted(spans, key=lambda span: span.name)
    assert (load.name, load.seconds, load.failed, load.parent_id) == ("load", 2.0, False, "")
    assert load.attributes == {"source": "s3", "rows": 3, "share": 0.5, "ok": True, "tags": ["a", "b"]}
    assert parse.parent_id == load.span_id == format(parent.get_span_context().span_id, "016x")
    assert parse.trace_id == format(child.get_span_context().trace_id, "032x")
    assert (parse.failed, parse.status) == (True, "no number")
    assert parse.events[0].attributes[conventions.EXCEPTION_TYPE] == "ValueError"


def test_log_lines_are_read_as_they_were_recorded(record) -> None:
    """Time, level, message, span and nested attributes come back."""
    run = record()
    span = run.span("load", 0, 1)
    run.log(0.5, "bad row", level="ERROR", span=span, attributes={"features": {"age": 3, "tags": ["x"]}})
    [line], problems = read(run.file("logs"), otlp_files.log_lines)
    assert problems == []
    assert (line.level, line.severity, line.message) == ("ERROR", 17, "bad row")
    assert line.span_id == format(span.get_span_context().span_id, "016x")
    assert line.attributes == {"features": {"age": 3, "tags": ["x"]}}


def test_a_torn_last_line_costs_that_line_only(record) -> None:
    """A file whose process was killed in the middle of a line is read up to there, and the user is told."""
    run = record()
    run.span("first", 0, 1)
    run.span("second", 1, 2)
    path = run.file("traces")
    path.write_bytes(path.read_bytes()[:-20])
    spans, problems = read(path)
    assert [span.name for span in spans] == ["first"]
    assert problems == [f"{path.name}: the last line is incomplete (still being written, or cut off)"]


def test_lines_that_are_not_otlp_are_left_out_and_counted(record) -> None:
    """Garbage in the middle of a file costs nothing but itself; empty lines are nothing."""
    run = record()
    run.span("first", 0, 1)
    path = run.file("traces")
    path.write_bytes(b'\xff\xfe garbage\n\n"text"\n' + path.read_bytes() + b'[1]\n{"unknown": 1}\n')
    spans, problems = read(path)
    assert [span.name for span in spans] == ["first"]
    assert problems == [f"{path.name}: 3 lines are not OTLP-JSON and left out"]


def test_unknown_fields_are_passed_over(record) -> None:
    """A later version of OTLP may add fields anywhere."""
    run = record()
    run.span("first", 0, 1)
    request = json.loads(run.file("traces").read_text())
    span = request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    span["later"] = {"deep": [1]}
    span["attributes"] = [{"key": "a", "value": {"laterValue": 1}}, {"key": "b", "value": {}}, "what"]
    request["moreOfIt"] = None
    [read_back] = otlp_files.spans(request)
    assert read_back.attributes == {"a": None, "b": None}


def test_a_file_that_cannot_be_opened_is_a_remark(tmp_path: Path) -> None:
    """A file that vanished is said, and the others are read."""
    assert read(tmp_path / "traces-1.jsonl") == ([], ["traces-1.jsonl cannot be read: No such file or directory"])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["resourceSpans", "scopeSpans", "spans", "resourceLogs", "scopeLogs", "logRecords", "attributes", "key",
             "value", "stringValue", "intValue", "doubleValue", "arrayValue", "kvlistValue", "values", "status", "code",
             "startTimeUnixNano", "events", "body", "resourceMetrics", "scopeMetrics", "metrics", "histogram",
             "dataPoints", "bucketCounts", "explicitBounds", "exemplars", "sum", "name", "traceId"]
        ),
        inner, max_size=4,
    ),
    max_leaves=30,
)  # fmt: skip
nested = st.builds(
    lambda outer, inner, leaf, item: {outer: [{inner: [{leaf: [item]}]}]},
    st.sampled_from(["resourceSpans", "resourceLogs", "resourceMetrics"]),
    st.sampled_from(["scopeSpans", "scopeLogs", "scopeMetrics"]),
    st.sampled_from(["spans", "logRecords", "metrics"]),
    json_values,
)


@given(st.dictionaries(st.text(max_size=3), json_values, max_size=2) | nested)
def test_json_of_any_shape_is_read_without_a_crash(request: dict) -> None:
    """Whatever JSON a file holds, reading yields records of the right types or nothing."""
    content = otlp_files.parse(orjson.dumps(request, option=orjson.OPT_NON_STR_KEYS))
    assert content is not None
    for span in otlp_files.spans(content):
        assert isinstance(span.name, str)
        assert span.seconds >= 0
    for line in otlp_files.log_lines(content):
        assert isinstance(line.message, str)
    for point in otlp_files.histogram_points(content):
        assert len(point.counts) == len(point.bounds) + 1
