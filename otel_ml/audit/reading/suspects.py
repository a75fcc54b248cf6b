"""Segments whose sync failed: what of them counts, as the writer wrote the rest again into the next segment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from otel_ml.audit import manifest
from otel_ml.audit.chain import Chain, start_of
from otel_ml.audit.segment import OPEN, SEALED, parse

_SEQ: Final = b',"seq":'


def find(directory: Path) -> dict[str, int]:
    """Return the names of suspect segments, each with the last sequence number that is known to be on the disk.

    Args:
        directory: Audit directory.
    """
    try:
        if manifest.SUSPECT.encode() not in (directory / manifest.NAME).read_bytes():
            return {}
    except FileNotFoundError:
        return {}
    return {name: mark["confirmed_seq"] for name, mark in manifest.read(directory).suspects.items()}


def counted_lines(path: Path, name: str, confirmed: int) -> list[bytes]:
    """Return the lines of a suspect segment, without line breaks, that hold and are not in a later segment again.

    Args:
        path: The file.
        name: Name of the sealed segment.
        confirmed: The last sequence number that is known to be on the disk.
    """
    sure, doubtful = [], {}
    for seq, line in _holding(path, name):
        if seq > confirmed:
            doubtful[line[: line.rfind(_SEQ)]] = line
        else:
            sure.append(line)
    for later in _later(path.parent, name):
        if not doubtful:
            break
        with later.open("rb") as file:
            for line in file:
                doubtful.pop(line[: line.rfind(_SEQ)], None)
    return sure + list(doubtful.values())


def is_settled(directory: Path, name: str) -> bool:
    """Whether all that will be written again of a suspect segment is in a sealed one.

    Args:
        directory: Audit directory.
        name: Name of the sealed segment.
    """
    following = next(_later(directory, name), None)
    return following is not None and following.name.endswith(SEALED)


def _holding(path: Path, name: str) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a segment, with their sequence numbers, until the chain breaks."""
    with path.open("rb") as file:
        chain = None
        for line in file:
            chain = chain or _begin(line, name)
            if chain is None or chain.check(line):
                return
            yield chain.seq - 1, line[:-1]


def _begin(header: bytes, name: str) -> Chain | None:
    try:
        fields = json.loads(header)
        previous = fields["previous"]
        return Chain(start_of(name) if previous is None else bytes.fromhex(previous), fields["seq"])
    except (ValueError, KeyError, TypeError):
        return None


def _later(directory: Path, name: str) -> Iterator[Path]:
    """Yield the segments that the process wrote after this one."""
    parsed = parse(name)
    while parsed is not None:
        process, number, _ = parsed
        parsed = (process, number + 1, False)
        stem = directory / f"{process}-{number + 1:06d}"
        found = next((path for path in (stem.with_name(stem.name + e) for e in (SEALED, OPEN)) if path.exists()), None)
        if found is None:
            return
        yield found
