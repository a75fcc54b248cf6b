"""`verify` names the first bad record, whatever was done to the files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from audit.calls import call, entries, failure, segments, writing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_ml.audit import manifest
from otel_ml.audit.reading.verify import Report, verify

quick = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trail of two processes, of several segments each."""
    directory = tmp_path_factory.mktemp("whole")
    for process in range(2):
        with writing(directory, segment_bytes=4000) as writer:
            for number in range(25):
                writer.put(failure(number) if number % 7 == 0 else call(process * 100 + number))
                if number % 5 == 4:
                    writer.flush(5.0)
    assert verify(directory)
    assert len(segments(directory)) >= 6
    return directory


@pytest.fixture
def copy(trail: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Gives a fresh copy of the trail with each call."""

    def fresh() -> Path:
        target = tmp_path_factory.mktemp("copy") / "audit"
        shutil.copytree(trail, target)
        return target

    return fresh


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def first(report: Report) -> tuple[str, int]:
    assert not report
    problem = report.problems[0]
    assert str(problem) == str(report) == f"{problem.file}, seq {problem.seq}: {problem.what}"
    return problem.file, problem.seq


def test_an_untouched_trail_holds(trail: Path) -> None:
    """The report is true, says how much it read, and gives the ends of the chains, which can be kept elsewhere."""
    report = verify(trail)
    assert report and not report.notes
    assert report.segments == len(segments(trail))
    assert report.lines == sum(len(lines_of(path)) for path in segments(trail))
    last = [json.loads(lines_of(path)[-1])["hash"] for path in segments(trail)]
    assert len(report.ends) == 2 and set(report.ends.values()) <= set(last)
    assert str(report) == f"2 chains of {report.segments} segments hold, {report.lines} lines"


@quick
@given(data=st.data())
def test_a_changed_byte_is_named(copy: Callable[[], Path], data: st.DataObject) -> None:
    """Any byte of any segment: the report names its file and the sequence number of its line."""
    directory = copy()
    path = data.draw(st.sampled_from(segments(directory)))
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] = data.draw(st.integers(0, 255).filter(lambda value: value != content[position]))
    line = path.read_bytes()[:position].count(b"\n")
    seq = json.loads(lines_of(path)[line])["seq"]
    path.write_bytes(content)
    assert first(verify(directory)) == (path.name, seq)


@quick
@given(data=st.data())
def test_a_deleted_line_is_named(copy: Callable[[], Path], data: st.DataObject) -> None:
    """Header, record or footer: the report names the place where it was."""
    directory = copy()
    path = data.draw(st.sampled_from(segments(directory)))
    lines = lines_of(path)
    number = data.draw(st.integers(0, len(lines) - 1))
    seq = json.loads(lines[number])["seq"]
    path.write_bytes(b"".join(lines[:number] + lines[number + 1 :]))
    assert first(verify(directory)) == (path.name, seq)


@quick
@given(data=st.data())
def test_lines_in_another_order_are_named(copy: Callable[[], Path], data: st.DataObject) -> None:
    """The first one that is not where it was."""
    directory = copy()
    path = data.draw(st.sampled_from(segments(directory)))
    lines = lines_of(path)
    order = data.draw(st.permutations(range(len(lines))).filter(lambda order: order != list(range(len(lines)))))
    wrong = next(number for number, other in enumerate(order) if number != other)
    path.write_bytes(b"".join(lines[number] for number in order))
    assert first(verify(directory)) == (path.name, json.loads(lines[wrong])["seq"])


@quick
@given(data=st.data())
def test_a_truncated_segment_is_named(copy: Callable[[], Path], data: st.DataObject) -> None:
    """At any byte: the report names the first line that is not whole any more."""
    directory = copy()
    path = data.draw(st.sampled_from(segments(directory)))
    content = path.read_bytes()
    size = data.draw(st.integers(0, len(content) - 1))
    seq = json.loads(lines_of(path)[content[:size].count(b"\n")])["seq"]
    path.write_bytes(content[:size])
    assert first(verify(directory)) == (path.name, seq)


@quick
@given(data=st.data())
def test_a_doubled_or_foreign_line_is_named(copy: Callable[[], Path], data: st.DataObject) -> None:
    """A line that is there twice, or comes from another process."""
    directory = copy()
    path, other = data.draw(st.sampled_from(segments(directory))), data.draw(st.sampled_from(segments(directory)))
    lines, inserted = lines_of(path), data.draw(st.sampled_from(lines_of(other)))
    number = data.draw(st.integers(0, len(lines)))
    continues = number == len(lines) and json.loads(inserted)["seq"] == json.loads(lines[-1])["seq"] + 1
    if continues or (number < len(lines) and inserted == lines[number]):
        number += 1  # it is the second one that is too much, or the chain goes on with it and misses what comes next
    path.write_bytes(b"".join([*lines[:number], inserted, *lines[number:]]))
    assert first(verify(directory)) == (path.name, json.loads(lines[0])["seq"] + number)


@quick
@given(data=st.data())
def test_a_deleted_segment_is_named(copy: Callable[[], Path], data: st.DataObject) -> None:
    """First, middle or last one: the report names the first sequence number that is missing."""
    directory = copy()
    path = data.draw(st.sampled_from(segments(directory)))
    seq = json.loads(lines_of(path)[0])["seq"]
    path.unlink()
    assert first(verify(directory)) == (path.name, seq)


@quick
@given(data=st.data())
def test_swapped_or_renamed_segments_are_named(copy: Callable[[], Path], data: st.DataObject) -> None:
    """A file that has the name of another one."""
    directory = copy()
    one, two = sorted(data.draw(st.lists(st.sampled_from(segments(directory)), min_size=2, max_size=2, unique=True)))
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)
    file, _ = first(verify(directory))
    assert file == one.name


@quick
@given(data=st.data())
def test_a_changed_line_of_the_manifest_is_named(copy: Callable[[], Path], data: st.DataObject) -> None:
    """The manifest is a chain like the others."""
    directory = copy()
    path = directory / manifest.NAME
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 2))  # without its last byte, see below
    content[position] = data.draw(st.integers(0, 255).filter(lambda value: value != content[position]))
    seq = bytes(path.read_bytes())[:position].count(b"\n")
    path.write_bytes(content)
    assert first(verify(directory)) == (path.name, seq)


def test_every_broken_chain_is_named_once(copy: Callable[[], Path]) -> None:
    """One problem does not hide that of another process."""
    directory = copy()
    found = segments(directory)
    for path in (found[0], found[1], found[-1]):
        path.write_bytes(path.read_bytes().replace(b'"amount":12.5', b'"amount":99.5', 1))
    assert [problem.file for problem in verify(directory).problems] == [found[0].name, found[-1].name]


def test_a_chain_that_was_written_anew_does_not_match_the_manifest(copy: Callable[[], Path], tmp_path: Path) -> None:
    """A consistent forgery of the last segment is seen, unless the manifest is forged as well."""
    directory = copy()
    path = segments(directory)[-1]
    lines = lines_of(path)
    from otel_ml.audit.chain import Chain

    before = json.loads(lines[0])["previous"]
    chain = Chain(bytes.fromhex(before), json.loads(lines[0])["seq"])
    forged = [chain.seal(line.rpartition(b',"seq":')[0].replace(b"12.5", b"13.5")) for line in lines]
    path.write_bytes(b"".join(forged))
    report = verify(directory)
    assert first(report) == (path.name, json.loads(lines[-1])["seq"])
    assert "manifest" in report.problems[0].what


def test_an_open_segment_may_end_in_half_a_line(tmp_path: Path) -> None:
    """It is being written, or its process was killed; the lines before that hold."""
    with writing(tmp_path) as writer:
        writer.put(call(1))
        writer.flush(5.0)
        (path,) = segments(tmp_path)
        with path.open("ab") as file:
            file.write(b'{"record_id":"tor')
        report = verify(tmp_path)
    assert report and report.lines == 2
    assert report.notes == (f"{path.name}: half a line at the end",)


def test_an_empty_directory_holds(tmp_path: Path) -> None:
    """There is nothing that could be wrong."""
    assert verify(tmp_path)


def test_what_the_manifest_says_was_sealed_is_known_by_its_end(trail: Path) -> None:
    """One entry for each segment."""
    assert {entry["segment"] for entry in entries(trail)} == {path.name for path in segments(trail)}
