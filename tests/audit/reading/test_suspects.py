"""Segments whose sync failed: what the writer wrote again counts once, what it could not counts too."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_ml.audit import manifest
from otel_ml.audit.manifest import Manifest
from otel_ml.audit.reading import compaction
from otel_ml.audit.reading.query import query
from segments import Process, fields


def seal(trail: Path) -> None:
    """Give the segment under way the name of a sealed one; its footer is of no interest here."""
    (path,) = trail.glob("*.open")
    path.rename(path.with_name(path.name.removesuffix(".open")))


def records(trail: Path) -> list[str]:
    return [row["record_id"] for row in query("SELECT record_id FROM predictions ORDER BY record_id", directory=trail)]


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    """A suspect segment with a, b, c and d, of which a is on the disk for sure; the next one has b and c again."""
    directory = tmp_path / "audit"
    process = Process(directory)
    process.add(*(fields(record_id=name) for name in "abcd"))
    suspect = process.open.rename(process.sealed)
    process._open()
    process.add(*(fields(record_id=name) for name in "bce"))
    with Manifest(directory) as marks:
        marks.append(
            manifest.SUSPECT, segment=suspect.name, first_seq=0, last_seq=4, end="", confirmed_seq=1, confirmed=""
        )
    return directory


def test_a_record_that_was_written_again_is_found_once(trail: Path) -> None:
    """Also one that was not written again, because the process was killed before; in lines as in Parquet."""
    assert records(trail) == ["a", "b", "c", "d", "e"]
    assert compaction.compact(trail).segments == 0, "the rest may still be written again"
    seal(trail)
    assert compaction.compact(trail).segments == 2
    assert records(trail) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("size", [1, 70, 200, 1000])
def test_what_the_disk_lost_of_it_is_no_error(trail: Path, size: int) -> None:
    """Its end may be cut off or zeros: what holds of the chain counts, and the next segment has the rest."""
    (suspect,) = trail.glob("*-000001.jsonl")
    whole = suspect.read_bytes()
    suspect.write_bytes(whole[:-size])
    expected = ["a", "b", "c", "e"]
    assert records(trail) == expected
    suspect.write_bytes(whole[:-size] + b"\0" * size)
    assert records(trail) == expected
    seal(trail)
    assert compaction.compact(trail).segments == 2
    assert records(trail) == expected


def test_other_segments_of_the_trail_are_read_as_ever(trail: Path) -> None:
    """A record of the same content in another process is another record."""
    Process(trail, pid=2).add(fields(record_id="b"))
    assert records(trail) == ["a", "b", "b", "c", "d", "e"]
