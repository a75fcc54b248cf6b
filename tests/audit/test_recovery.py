"""What a killed process left open is kept as far as it holds, and sealed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from audit.calls import call, entries, ids, lines, program_environment, segments, started, wait_for, writing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_ml.audit import manifest
from otel_ml.audit.manifest import Manifest
from otel_ml.audit.reading.verify import verify
from otel_ml.audit.recovery import Recovered, recover

LEFT = "shop-host-1-20261122T163948.000000Z-000001.jsonl"


def leave_open(directory: Path, records: int = 5) -> Path:
    """Leave a segment as a process does that is killed: open, with a chain that holds, and locked by nobody."""
    with writing(directory) as writer:
        for number in range(records):
            writer.put(call(number))
        writer.flush(5.0)
        (path,) = segments(directory)
        content = path.read_bytes()
    for file in directory.iterdir():
        file.unlink()
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return leave_open(tmp_path_factory.mktemp("left"))


def test_an_orphan_is_sealed(tmp_path: Path) -> None:
    """All of its records stay; its footer says that it was recovered, and the manifest how it ends."""
    path = leave_open(tmp_path)
    assert recover(tmp_path) == [Recovered(path.name.removesuffix(".open"))]
    assert ids(tmp_path) == [str(number) for number in range(5)]
    assert (lines(tmp_path)[-1]["event.name"], lines(tmp_path)[-1]["reason"]) == ("otel_ml.audit.seal", "recovery")
    assert [entry["event.name"] for entry in entries(tmp_path)] == [manifest.SEALED]
    assert verify(tmp_path)
    assert recover(tmp_path) == []


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_write_that_was_cut_short_anywhere_costs_the_line_it_cut(
    left: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whole lines stay, half a line goes, and a line of the chain says how many bytes that was."""
    content = left.read_bytes()
    size = data.draw(st.integers(content.index(b"\n") + 1, len(content)))
    directory = tmp_path_factory.mktemp("cut")
    (directory / left.name).write_bytes(content[:size])
    whole = content[:size].rfind(b"\n") + 1
    (done,) = recover(directory)
    assert done == Recovered(left.name.removesuffix(".open"), truncated_bytes=size - whole)
    assert segments(directory)[0].read_bytes().startswith(content[:whole])
    cut = [line["truncated_bytes"] for line in lines(directory) if line["event.name"] == "otel_ml.audit.recovered"]
    assert cut == ([size - whole] if size > whole else [])
    assert {line["service.name"] for line in lines(directory)} == {"shop"}
    assert verify(directory)


def test_blocks_of_zeros_that_a_power_loss_left_are_cut_off(tmp_path: Path) -> None:
    """Also when something readable comes behind them, which was never promised to be there."""
    path = leave_open(tmp_path)
    with path.open("ab") as file:
        file.write(b'{"half' + b"\0" * 4096 + b'rest"}\n{"more":1}\n')
    (done,) = recover(tmp_path)
    assert done.truncated_bytes == 6 + 4096 + 7 + 11
    assert verify(tmp_path)


@pytest.mark.parametrize("content", [b"", b'{"event.name":"otel_ml.audit.segm'])
def test_a_file_without_a_whole_line_is_deleted(tmp_path: Path, content: bytes) -> None:
    """There is no record in it."""
    (tmp_path / f"{LEFT}.open").write_bytes(content)
    assert recover(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_segment_with_its_footer_is_only_renamed(tmp_path: Path) -> None:
    """Its process was killed between the two."""
    with writing(tmp_path) as writer:
        writer.put(call(1))
    (path,) = segments(tmp_path)
    content = path.read_bytes()
    path.rename(f"{path}.open")
    recover(tmp_path)
    assert path.read_bytes() == content
    assert verify(tmp_path)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_someone_changed_is_kept_as_evidence(
    left: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A line that does not hold, with others behind it, is no torn tail: nothing is cut, and `verify` names it."""
    content = bytearray(left.read_bytes())
    position = data.draw(st.integers(0, content.rindex(b"\n", 0, -1) - 1))
    content[position] = data.draw(st.integers(1, 255).filter(lambda value: value != content[position]))
    directory = tmp_path_factory.mktemp("changed")
    (directory / left.name).write_bytes(content)
    seq = bytes(left.read_bytes())[:position].count(b"\n")
    assert recover(directory) == [Recovered(left.name.removesuffix(".open"), damaged_seq=seq)]
    assert segments(directory)[0].read_bytes() == content
    assert (verify(directory).problems[0].file, verify(directory).problems[0].seq) == (segments(directory)[0].name, seq)


def test_a_segment_in_use_is_left_alone(tmp_path: Path) -> None:
    """Of this process or another one, as long as it lives."""
    with writing(tmp_path) as writer:
        writer.put(call(1))
        writer.flush(5.0)
        content = segments(tmp_path)[0].read_bytes()
        assert recover(tmp_path) == []
        assert segments(tmp_path)[0].read_bytes() == content
        assert len(list(tmp_path.glob("ballast-*"))) == 1


def test_the_next_process_recovers_what_a_killed_one_left(tmp_path: Path) -> None:
    """Beside its own records, when it writes the first of them; the ballast of the dead goes too."""
    code = """
        import os, signal
        from pathlib import Path
        from audit.calls import call, started
        writer = started(Path("audit")).writer
        for number in range(100):
            writer.put(call(number))
        writer.flush(10.0)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    command = [sys.executable, "-P", "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **program_environment()}, check=False, timeout=60)
    assert done.returncode == -9
    directory = tmp_path / "audit"
    assert segments(directory)[0].name.endswith(".open") and len(list(directory.glob("ballast-*"))) == 1
    pipeline = started(directory)
    pipeline.writer.put(call(100))
    wait_for(lambda: any(path.suffix == ".jsonl" for path in segments(directory)))
    assert pipeline.close(5.0)
    assert sorted(map(int, ids(directory))) == list(range(101))
    assert not list(directory.glob("ballast-*"))
    assert verify(directory)


def test_processes_that_start_at_once_recover_each_orphan_once(tmp_path: Path) -> None:
    """They do not get in each other's way."""
    for _ in range(4):
        path = leave_open(tmp_path / "one")
        (tmp_path / "all").mkdir(exist_ok=True)
        path.rename(tmp_path / "all" / path.name)
    code = "from pathlib import Path; from otel_ml.audit.recovery import recover; print(len(recover(Path('all'))))"
    processes = [
        subprocess.Popen([sys.executable, "-P", "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert sum(int(process.communicate(timeout=60)[0]) for process in processes) == 4
    assert [entry["event.name"] for entry in entries(tmp_path / "all")] == [manifest.SEALED] * 4
    assert verify(tmp_path / "all")


def test_a_suspect_segment_is_only_renamed(tmp_path: Path) -> None:
    """What counts of it, the manifest has said already."""
    path = leave_open(tmp_path)
    content = path.read_bytes()
    last = json.loads(content.splitlines()[-1])
    with Manifest(tmp_path) as marks:
        confirmed = {"confirmed_seq": 2, "confirmed": "", "first_seq": 0, "last_seq": last["seq"], "end": last["hash"]}
        marks.append(manifest.SUSPECT, segment=path.name.removesuffix(".open"), **confirmed)
    recover(tmp_path)
    assert segments(tmp_path)[0].read_bytes() == content
    assert segments(tmp_path)[0].suffix == ".jsonl"
    assert verify(tmp_path)
