"""One file while it is written, its name, and the reserve for a full disk."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from otel_ml.audit import segment
from otel_ml.audit.chain import Chain, start_of
from otel_ml.audit.segment import BALLAST_BYTES, Ballast, Segment, lock


@pytest.mark.parametrize("service", ["shop", "../../etc/passwd", "a-b", "", "käse", "x" * 500])
def test_the_name_of_a_process_is_a_plain_file_name_and_can_be_taken_apart(service: str) -> None:
    """Whatever the service is called."""
    name = segment.process_name(service)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._]*-[A-Za-z0-9_][A-Za-z0-9._]*-\d+-\d{8}T\d{6}\.\d{6}Z", name)
    assert len(name) < 255 - len("-000001.jsonl.open")
    assert segment.parse(f"{name}-000012.jsonl.open") == (name, 12, True)
    assert segment.parse(f"{name}-1000000.jsonl") == (name, 1_000_000, False)


@pytest.mark.parametrize("name", ["manifest.jsonl", "a-1.jsonl", "x.parquet", "ballast-12"])
def test_other_files_are_no_segments(name: str) -> None:
    """Their names say so."""
    assert segment.parse(name) is None


def test_a_segment_is_private_locked_and_appended_to(tmp_path: Path) -> None:
    """Nobody else can read it, and another process sees that it is in use."""
    one = Segment(tmp_path, "a.jsonl")
    chain, other_chain = Chain(start_of("a.jsonl")), Chain(start_of("a.jsonl"))
    assert one.append([b'{"a":1', b'{"b":2'], chain) + one.append([b'{"c":3'], chain) == one.size
    one.sync()
    lines = [other_chain.seal(body) for body in (b'{"a":1', b'{"b":2', b'{"c":3')]
    assert (tmp_path / "a.jsonl.open").read_bytes() == b"".join(lines)
    assert one.size == sum(map(len, lines))
    assert stat.S_IMODE(one.path.stat().st_mode) == 0o600
    other = os.open(one.path, os.O_RDWR)
    assert not lock(other)
    one.rename()
    assert lock(other)
    os.close(other)
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


@pytest.mark.parametrize("taken", ["a.jsonl", "a.jsonl.open"])
def test_a_name_that_is_taken_is_refused(tmp_path: Path, taken: str) -> None:
    """Nothing is ever written into a file of someone else."""
    (tmp_path / taken).write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        Segment(tmp_path, "a.jsonl")
    assert (tmp_path / taken).read_bytes() == b"theirs"


def test_a_file_that_was_removed_is_noticed(tmp_path: Path) -> None:
    """Appending to it would succeed, and be for nothing."""
    one = Segment(tmp_path, "a.jsonl")
    assert not one.is_gone()
    one.path.unlink()
    assert one.is_gone()
    one.release()
    one.release()  # twice is no harm


def test_ballast_takes_room_and_gives_it_back(tmp_path: Path) -> None:
    """The blocks are really taken, so that they are there when the disk is full."""
    ballast = Ballast(tmp_path)
    assert not ballast.give_up()
    assert ballast.reserve() and ballast.reserve()
    (file,) = tmp_path.iterdir()
    assert file.name == f"ballast-{os.getpid()}"
    assert file.stat().st_blocks * 512 >= BALLAST_BYTES
    assert ballast.give_up()
    assert not list(tmp_path.iterdir())


def test_ballast_of_another_process_with_the_same_id_is_left_alone(tmp_path: Path) -> None:
    """Two containers that share a directory may both have process 1."""
    ours, theirs = Ballast(tmp_path), Ballast(tmp_path)
    assert theirs.reserve()
    assert ours.reserve()
    assert not ours.give_up()
    assert [path.name for path in tmp_path.iterdir()] == [f"ballast-{os.getpid()}"]
    assert theirs.give_up()
