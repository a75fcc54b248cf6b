"""`manifest.jsonl`: what happened to whole segments."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from audit.calls import entries
from hypothesis import given
from hypothesis import strategies as st

from otel_ml.audit import manifest
from otel_ml.audit.chain import Chain, start_of
from otel_ml.audit.manifest import Hold, Manifest, ManifestError
from otel_ml.audit.reading.verify import verify


def append(directory: Path, *segments: str) -> None:
    with Manifest(directory) as entries:
        for segment in segments:
            entries.append(manifest.SUSPECT, segment=segment, confirmed_seq=1)


def holds(directory: Path) -> bool:
    chain = Chain(start_of(manifest.NAME))
    return all(not chain.check(line) for line in (directory / manifest.NAME).read_bytes().splitlines(keepends=True))


def test_entries_are_a_chain_that_later_processes_continue(tmp_path: Path) -> None:
    """Each `Manifest` goes on where the one before ended."""
    append(tmp_path, "a")
    append(tmp_path, "b", "c")
    assert [entry["segment"] for entry in entries(tmp_path)] == ["a", "b", "c"]
    assert [entry["seq"] for entry in entries(tmp_path)] == [0, 1, 2]
    assert holds(tmp_path)
    assert (tmp_path / manifest.NAME).stat().st_mode & 0o777 == 0o600


def test_half_a_line_of_a_killed_process_is_cut_off_and_that_is_an_entry(tmp_path: Path) -> None:
    """The chain holds, and says how many bytes went."""
    append(tmp_path, "a")
    with (tmp_path / manifest.NAME).open("ab") as file:
        file.write(b'{"event.name":"otel')
    append(tmp_path, "b")
    assert [entry.get("truncated_bytes") for entry in entries(tmp_path)] == [None, 19, None]
    assert holds(tmp_path)


def test_a_changed_last_line_does_not_stop_others_and_is_not_hidden(tmp_path: Path) -> None:
    """Entries can still be made; the check names the changed one."""
    append(tmp_path, "a", "b")
    path = tmp_path / manifest.NAME
    path.write_bytes(path.read_bytes()[:-5] + b"x" * 4 + b"\n")
    append(tmp_path, "c")
    report = verify(tmp_path)
    assert (report.problems[0].file, report.problems[0].seq) == (manifest.NAME, 1)
    assert set(manifest.read(tmp_path).suspects) == {"a", "c"}


def test_processes_that_append_at_once_make_one_chain(tmp_path: Path) -> None:
    """They take turns."""
    code = (
        "import sys; from pathlib import Path; from otel_ml.audit.manifest import Manifest\n"
        "for number in range(20):\n"
        "    with Manifest(Path(sys.argv[1])) as m: m.append('e', segment=sys.argv[2])\n"
    )
    command = [sys.executable, "-P", "-c", code, str(tmp_path)]
    processes = [subprocess.Popen([*command, name]) for name in "abcd"]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert sorted(entry["segment"] for entry in entries(tmp_path)) == sorted("abcd" * 20)
    assert holds(tmp_path)


def test_a_hold_is_in_force_until_it_is_released(tmp_path: Path) -> None:
    """Each has an identity and a reason."""
    first = manifest.hold(tmp_path, "case 12")
    second = manifest.hold(tmp_path, "case 13", since=5, until=9)
    assert manifest.read(tmp_path).holds == {
        first: Hold(first, "case 12"), second: Hold(second, "case 13", 5, 9),
    }  # fmt: skip
    manifest.release(tmp_path, first)
    assert list(manifest.read(tmp_path).holds) == [second]


def test_releasing_what_is_not_held_says_what_is(tmp_path: Path) -> None:
    """The error names the holds in force."""
    identity = manifest.hold(tmp_path, "case 12")
    with pytest.raises(ManifestError, match=f"hold in force \\({identity}\\), received 'nothing'"):
        manifest.release(tmp_path, "nothing")


@given(st.integers(0, 20), st.integers(0, 20), st.none() | st.integers(0, 20), st.none() | st.integers(0, 20))
def test_a_hold_covers_whatever_overlaps_its_span(
    first: int, length: int, since: int | None, until: int | None
) -> None:
    """An open end has no bound."""
    covered = Hold("h", "r", since, until).covers(first, first + length)
    span = range(first, first + length + 1)
    low, high = -1 if since is None else since, 99 if until is None else until
    if low <= high:
        assert covered is any(low <= moment <= high for moment in span)


def test_lines_that_say_nothing_are_passed_over(tmp_path: Path) -> None:
    """Reading never fails because someone wrote rubbish into it."""
    append(tmp_path, "a")
    with (tmp_path / manifest.NAME).open("ab") as file:
        file.write(b'[]\nnot json\n{"event.name":"otel_ml.audit.hold"}\n\xff\xfe\n')
    assert set(manifest.read(tmp_path).suspects) == {"a"}
    assert json.dumps(manifest.read(tmp_path / "nowhere").sealed) == "{}"
