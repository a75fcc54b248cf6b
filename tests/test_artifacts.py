"""What is said of the files of a step: size, hash, rows, columns and schema, and never a value of theirs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import pickle
import re
import time
from pathlib import Path
from typing import Any

import numpy
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

import otel_ml
from otel_ml import artifacts, conventions, tables
from otel_ml.decorators import step_spec
from otel_ml.operations import Spec
from otel_ml.step_files import FileSpec
from otel_ml.testing import CapturedTelemetry
from support import run_python
from worker_runs import recorded


def described(folder: Path, name: str, content: str | bytes) -> dict[str, Any]:
    """Write a file, and return what is said of it, less what is said of every file."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    found = artifacts.describe(path)
    assert found.pop("path") == str(path)
    assert found.pop("size") == path.stat().st_size
    assert found.pop("sha256") == hashlib.sha256(path.read_bytes()).hexdigest()
    return found


CSV = "id,name,price,flag,empty\n1,Ada,1.5,true,\n2,Grace,2,false,\n\n3,,1e3,TRUE,\n"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("notes.txt", "a,b\n", {}),
        ("data", b"\x00\x01", {}),
        ("a.csv", CSV, {
            "format": "csv", "rows": 3, "columns": 5,
            "schema": {"id": "int", "name": "str", "price": "float", "flag": "bool", "empty": "empty"},
        }),
        ("semicolon.csv", "x;y\n1;2\n", {"format": "csv", "rows": 1, "columns": 2, "schema": {"x": "int", "y": "int"}}),
        ("a.TSV", "x\ty z\n1\ta,b\n", {"format": "csv", "rows": 1, "columns": 2, "schema": {"x": "int", "y z": "str"}}),
        ("quoted.csv", 'x\n"a\nb"\n"c"\n', {"format": "csv", "rows": 2, "columns": 1, "schema": {"x": "str"}}),
        ("bom.csv", b"\xef\xbb\xbfx\n1\n", {"format": "csv", "rows": 1, "columns": 1, "schema": {"x": "int"}}),
        ("no-bytes.csv", "", {"format": "csv", "rows": 0, "columns": 0, "schema": {}}),
        ("header.csv", "x,y\n", {"format": "csv", "rows": 0, "columns": 2, "schema": {"x": "empty", "y": "empty"}}),
        ("values.csv", "1,Ada\n2,Ada\n", {
            "format": "csv", "rows": 2, "columns": 2, "schema": {"column_1": "int", "column_2": "str"},
        }),
        ("repeated.csv", "red,S\nblue,S\nred,M\n", {
            "format": "csv", "rows": 3, "columns": 2, "schema": {"column_1": "str", "column_2": "str"},
        }),
        ("a.jsonl", '{"x": 1, "y": [1], "z": null}\n\n{"x": 1.5, "y": "a"}\n', {
            "format": "jsonl", "rows": 2, "columns": 2, "schema": {"x": "float", "y": "mixed"},
        }),
        ("broken.jsonl", '{"x": "secret"\n', {"format": "jsonl", "error": "JSONDecodeError"}),
        ("broken.parquet", "PAR1", {"format": "parquet", "error": "ArrowInvalid"}),
        ("broken.npy", "no array", {"format": "npy", "error": "ValueError"}),
        ("broken.npz", "no archive", {"format": "npz", "error": "BadZipFile"}),
    ],
)  # fmt: skip
def test_a_file_is_described(tmp_path: Path, name: str, content: str | bytes, expected: dict[str, Any]) -> None:
    """Its format is told by its name; a header is told from values, and what is broken only by the kind of error."""
    assert described(tmp_path, name, content) == expected


@given(
    st.lists(st.text(st.sampled_from("0159.eE+-natrufls \0")) | st.sampled_from(["inf", "-Inf", " 7 ", "nan", "True"]))
)
def test_a_column_of_text_has_the_type_of_its_cells(cells: list[str]) -> None:
    """Each cell alone has one; numbers together are numbers, and everything else that is mixed is text."""
    kinds = set()
    for cell in filter(None, cells):
        text = cell.strip().lower()
        number = re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|[+-]?inf", text)
        integer = re.fullmatch(r"[+-]?\d+", text)
        kinds.add("int" if integer else "float" if number else "bool" if text in ("true", "false") else "str")
    expected = kinds.pop() if len(kinds) == 1 else "float" if kinds == {"int", "float"} else "str" if kinds else None
    assert tables._text_type([cell for cell in cells if cell]) == expected


def test_files_of_libraries_are_described(tmp_path: Path) -> None:
    """Parquet by pyarrow, numpy's files without numpy."""
    table = pyarrow.table({"x": [1, 2, 3], "name": ["a", "b", None]})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    content = (tmp_path / "t.parquet").read_bytes()
    assert described(tmp_path, "t.parquet", content) == {
        "format": "parquet", "rows": 3, "columns": 2, "schema": {"x": "int64", "name": "string"},
    }  # fmt: skip
    numpy.save(tmp_path / "a.npy", numpy.zeros((4, 2)))
    assert described(tmp_path, "a.npy", (tmp_path / "a.npy").read_bytes()) == {
        "format": "npy", "rows": 4, "columns": 2, "shape": [4, 2], "schema": {"array": "<f8"},
    }  # fmt: skip
    numpy.save(tmp_path / "r.npy", numpy.zeros(3, dtype=[("a", "i4"), ("b", "U5")]))
    assert described(tmp_path, "r.npy", (tmp_path / "r.npy").read_bytes()) == {
        "format": "npy", "rows": 3, "columns": 2, "schema": {"a": "<i4", "b": "<U5"},
    }  # fmt: skip
    numpy.savez(tmp_path / "z.npz", x=numpy.zeros((2, 3)), y=numpy.zeros(2, dtype="i8"))
    assert described(tmp_path, "z.npz", (tmp_path / "z.npz").read_bytes()) == {
        "format": "npz", "arrays": 2, "schema": {"x": "<f8 [2, 3]", "y": "<i8 [2]"},
    }  # fmt: skip


@given(st.binary(max_size=300), st.sampled_from(["f.csv", "f.tsv", "f.jsonl", "f.parquet", "f.npy", "f.npz"]))
def test_no_bytes_make_it_fail(tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str) -> None:
    """Whatever a file holds, it has a size and a hash."""
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes(content)
    assert artifacts.describe(path)["size"] == len(content)


def test_rows_of_what_is_too_big_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns and schema are those of its beginning."""
    monkeypatch.setattr(tables, "MOST_BYTES", 10)
    assert described(tmp_path, "a.csv", "x,y\n1,2\n3,4\n") == {
        "format": "csv", "columns": 2, "schema": {"x": "int", "y": "int"},
    }  # fmt: skip
    assert described(tmp_path, "a.jsonl", '{"x": 1}\n{"x": 2}\n') == {
        "format": "jsonl", "columns": 1, "schema": {"x": "int"},
    }  # fmt: skip


def test_a_folder_is_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hash is of names and contents; metadata beside a file is no part of it."""
    folder = tmp_path / "data"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.csv").write_text("x\n1\n")
    (folder / "inner" / "b.txt").write_text("b")
    (folder / "nowhere").symlink_to(tmp_path / "missing")
    first = artifacts.describe(folder)
    assert (first["files"], first["size"]) == (2, 5)
    artifacts.save_metadata(folder / "a.csv", artifacts.describe(folder / "a.csv"))
    assert artifacts.describe(folder) == first
    (folder / "lone.meta.json").write_text("{}")
    changed = artifacts.describe(folder)
    assert changed["files"] == 3 and changed["sha256"] != first["sha256"]
    monkeypatch.setattr(artifacts, "MOST_FILES", 2)
    assert artifacts.describe(folder) == {"path": str(folder), "files": 3, "size": 7}


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    """Also what is no file, what may not be read, and what is elsewhere."""
    assert artifacts.describe(tmp_path / "none.csv") == {"path": str(tmp_path / "none.csv"), "missing": True}
    assert artifacts.describe("s3://bucket/a.csv") == {"path": "s3://bucket/a.csv", "missing": True}
    os.mkfifo(tmp_path / "pipe")
    assert artifacts.describe(tmp_path / "pipe")["error"] == "neither a file nor a folder"
    assert artifacts.describe("a\0b")["error"] == "ValueError"


def test_names_that_hold_personal_data_are_masked(tmp_path: Path) -> None:
    """A first row may be data that looks like a header; what is recognised as sensitive never leaves."""
    (tmp_path / "a.csv").write_text("name,ada@example.org\n")
    assert "ada@example.org" not in json.dumps(artifacts.describe(tmp_path / "a.csv"))


def test_a_file_is_read_again_when_it_has_changed_and_only_then(tmp_path: Path, monkeypatch: Any) -> None:
    """One that has just changed is never taken as known."""
    reads: list[Path] = []
    hashed = artifacts._hashed
    monkeypatch.setattr(artifacts, "_hashed", lambda path: (reads.append(path), hashed(path))[1])
    path = tmp_path / "a.txt"
    path.write_text("1")
    assert artifacts.describe(path) == artifacts.describe(path) and len(reads) == 2
    os.utime(path, (1, 1))
    assert artifacts.describe(path) == artifacts.describe(path) and len(reads) == 3
    path.write_text("2")
    assert artifacts.describe(path)["sha256"] == hashlib.sha256(b"2").hexdigest()


def test_a_step_describes_its_files(
    tmp_path: Path, captured_telemetry: CapturedTelemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On its span, in a record each, and beside what it wrote; the paths stay where they were."""
    monkeypatch.chdir(tmp_path)
    Path("raw.csv").write_text("x\n1\n2\n")

    @otel_ml.step("clean", inputs=["raw.csv", "gone.csv"], outputs=["out.csv", "never.csv"])
    def clean() -> None:
        Path("out.csv").write_text("x\n1\n")

    with otel_ml.run("nightly") as run:
        clean()
    attributes = captured_telemetry.span("clean").attributes
    assert list(attributes[conventions.STEP_INPUTS]) == ["raw.csv", "gone.csv"]
    read = json.loads(attributes[conventions.STEP_INPUTS_DESCRIBED])
    assert read[0]["rows"] == 2 and read[1] == {"path": "gone.csv", "missing": True}
    wrote = json.loads(attributes[conventions.STEP_OUTPUTS_DESCRIBED])
    assert json.loads(Path("out.csv.meta.json").read_text()) == {**wrote[0], "step": "clean", "run_id": run.id}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.csv.meta.json", "raw.csv"]
    records = [record for record in captured_telemetry.logs if record.logger == "otel_ml.artifact"]
    assert [(record.level, record.message) for record in records] == [
        ("INFO", "step clean reads raw.csv: 6 bytes, 2 rows, 1 columns"),
        ("WARNING", "step clean reads gone.csv: missing"),
        ("INFO", "step clean wrote out.csv: 4 bytes, 1 rows, 1 columns"),
        ("WARNING", "step clean wrote never.csv: missing"),
    ]
    events = [record.attributes[conventions.EVENT_NAME] for record in records]
    assert events == [conventions.ARTIFACT_READ] * 2 + [conventions.ARTIFACT_WRITTEN] * 2
    assert records[0].attributes[conventions.ARTIFACT] == read[0]
    assert {record.span_id for record in records} == {captured_telemetry.span("clean").span_id}


def test_a_step_that_fails_saves_nothing(tmp_path: Path, captured_telemetry: CapturedTelemetry) -> None:
    """What is there may be half a file; its inputs are described all the same."""
    path = tmp_path / "half.csv"

    @otel_ml.step(inputs=[tmp_path], outputs=[path])
    def fails() -> None:
        path.write_text("x\n")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    attributes = captured_telemetry.span("fails").attributes
    assert conventions.STEP_OUTPUTS_DESCRIBED not in attributes and conventions.STEP_INPUTS_DESCRIBED in attributes
    assert list(tmp_path.iterdir()) == [path]


def test_every_kind_of_step_describes_its_files(tmp_path: Path, captured_telemetry: CapturedTelemetry) -> None:
    """Coroutines and generators when they have ended, blocks too; one that is not read to its end has written half."""
    paths = [tmp_path / f"{name}.txt" for name in ("coroutine", "generator", "stopped", "block")]

    @otel_ml.step(outputs=paths[:1])
    async def coroutine() -> None:
        paths[0].write_text("1")

    def rows(path: Path) -> Any:
        path.write_text("1")
        yield from range(3)

    asyncio.run(coroutine())
    assert list(otel_ml.step("generator", outputs=paths[1:2])(rows)(paths[1])) == [0, 1, 2]
    stopped = otel_ml.step("stopped", outputs=paths[2:3])(rows)(paths[2])
    next(stopped)
    stopped.close()
    with otel_ml.step("block", outputs=paths[3:]):
        paths[3].write_text("1")
    saved = sorted(path.name for path in tmp_path.glob("*.meta.json"))
    assert saved == ["block.txt.meta.json", "coroutine.txt.meta.json", "generator.txt.meta.json"]


def test_time_for_describing_files_is_not_the_steps(
    tmp_path: Path, captured_telemetry: CapturedTelemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in its duration nor in its span."""
    monkeypatch.setattr(artifacts, "describe", lambda path: time.sleep(0.3) or {"path": path, "size": 0})
    with otel_ml.step("quick", inputs=["a"], outputs=[str(tmp_path / "b")]):
        pass
    span = captured_telemetry.span("quick").readable
    (point,) = captured_telemetry.points(conventions.STEP_DURATION)
    assert (span.end_time - span.start_time) / 1e9 < 0.2 and point.sum < 0.2


def test_errors_of_ours_do_not_reach_the_step(
    tmp_path: Path, captured_telemetry: CapturedTelemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a folder that cannot be written to."""
    step = otel_ml.step("safe", inputs=["a"], outputs=["b"])
    with monkeypatch.context() as patched:
        patched.setattr(artifacts, "describe", lambda path: 1 / 0)
        assert step(len)("ab") == 2
    (tmp_path / "file").write_text("")
    artifacts.save_metadata(tmp_path / "file" / "inside", {})
    assert captured_telemetry.span("safe").status == "UNSET"


def test_long_descriptions_are_bounded_and_stay_json(captured_telemetry: CapturedTelemetry, tmp_path: Path) -> None:
    """Schemas go first, then files."""
    wide = tmp_path / "wide.csv"
    wide.write_text(",".join(f"column_with_a_long_name_{number:_>80}" for number in range(256)) + "\n")
    with otel_ml.step("wide", inputs=[wide]):
        pass
    (found,) = json.loads(captured_telemetry.span("wide").attributes[conventions.STEP_INPUTS_DESCRIBED])
    assert found["columns"] == 256 and "schema" not in found
    with otel_ml.step("many", inputs=[wide] * 200):
        pass
    text = captured_telemetry.span("many").attributes[conventions.STEP_INPUTS_DESCRIBED]
    assert len(text) <= 8192 and len(json.loads(text)) > 10


def test_a_step_without_files_is_what_it_was() -> None:
    """Only one with files has the longer way; it can be pickled, too."""
    plain, files = step_spec("a", None, {}, {}), step_spec("a", None, {}, {conventions.STEP_INPUTS: ["x"]})
    assert type(plain) is Spec
    copy = pickle.loads(pickle.dumps(files))
    assert type(copy) is FileSpec and (copy.inputs, copy.outputs) == (["x"], [])
    assert copy.attributes == files.attributes


def test_nothing_is_read_or_written_when_nobody_listens(tmp_path: Path) -> None:
    """Without any telemetry the files are not even opened."""
    done = run_python(
        """
        import otel_ml
        from otel_ml import artifacts
        artifacts.describe = None
        with otel_ml.step("quiet", inputs=["a"], outputs=["b"]):
            open("b", "w").close()
        """,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_the_descriptions_are_in_the_local_files(tmp_path: Path) -> None:
    """As they are made, in a process that is configured."""
    done = run_python(
        """
        import otel_ml
        with otel_ml.configure(directory="state", audit=False, logs=otel_ml.Logs(format="none")), otel_ml.run("r"):
            with otel_ml.step("write", outputs=["out.csv"]):
                open("out.csv", "w").write("x,password\\n1,abc\\n")
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    spans, lines = recorded(tmp_path)
    (line,) = (line for line in lines if line.get(conventions.EVENT_NAME) == conventions.ARTIFACT_WRITTEN)
    meta = json.loads((tmp_path / "out.csv.meta.json").read_text())
    assert line[conventions.ARTIFACT]["sha256"] == meta["sha256"] and line["run_id"] == meta["run_id"]
    assert meta["schema"] == {"x": "int", "password": "str"}
    (span,) = (span for span in spans if span["name"] == "write")
    assert meta["sha256"] in json.dumps(span["attributes"])
