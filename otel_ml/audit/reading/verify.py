"""Whether the audit trail is as it was written: every chain is followed from its first line to its last."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from otel_ml import conventions
from otel_ml.audit import manifest
from otel_ml.audit.chain import Chain, start_of
from otel_ml.audit.manifest import Marks
from otel_ml.audit.record import SEAL, SEGMENT
from otel_ml.audit.segment import OPEN, SEALED, parse


@dataclass(frozen=True, slots=True)
class Problem:
    """The first line of a chain that does not hold.

    Args:
        file: Name of the file that it is in, or should be.
        seq: The sequence number that the line should have.
        what: What is wrong, a phrase.
    """

    file: str
    seq: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}, seq {self.seq}: {self.what}"


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found. It is true when every chain holds.

    An open segment has no footer yet, so that lines may be missing at its end; so may a whole process whose segments
    and whose marks in the manifest are gone. Who can rewrite all files can also write new chains: keep `ends` where
    they cannot, to see that.

    Args:
        segments: Segments that were read.
        lines: Lines that hold.
        problems: Of each chain that does not hold, the first line.
        notes: What is no problem, but good to know.
        ends: Hash of the last line of each chain, by process.
    """

    segments: int
    lines: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    ends: dict[str, str]

    def __bool__(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        if self.problems:
            return str(self.problems[0])
        return f"{len(self.ends)} chains of {self.segments} segments hold, {self.lines} lines"


class _Broken(Exception):
    def __init__(self, problem: Problem) -> None:
        self.problem = problem


@dataclass(slots=True)
class _Walk:
    marks: Marks
    segments: int = 0
    lines: int = 0
    notes: list[str] = field(default_factory=list)


def verify(directory: Path) -> Report:
    """Check every segment and the manifest of an audit directory.

    Args:
        directory: Audit directory.

    Raises:
        OSError: A file cannot be read.
    """
    walk = _Walk(manifest.read(directory))
    problems: list[Problem] = []
    ends: dict[str, str] = {}
    try:
        _check_manifest(directory / manifest.NAME, walk)
    except _Broken as broken:
        problems.append(broken.problem)
    for process, names in _processes(directory, walk.marks).items():
        try:
            ends[process] = _check_process(directory, names, walk).hex()
        except _Broken as broken:
            problems.append(broken.problem)
    return Report(walk.segments, walk.lines, tuple(problems), tuple(walk.notes), ends)


def _processes(directory: Path, marks: Marks) -> dict[str, list[str]]:
    """Return the names of the segments that each process has or had, in order."""
    found = {path.name.removesuffix(".open") for path in directory.iterdir() if parse(path.name) is not None}
    processes: dict[str, list[tuple[int, str]]] = {}
    for name in {*found, *marks.sealed, *marks.tombstones, *marks.suspects}:
        parsed = parse(name)
        if parsed is not None:
            processes.setdefault(parsed[0], []).append((parsed[1], name))
    return {process: [name for _, name in sorted(names)] for process, names in sorted(processes.items())}


def _check_manifest(path: Path, walk: _Walk) -> None:
    chain = Chain(start_of(manifest.NAME))
    for line in _lines(path):
        if not line.endswith(b"\n"):
            walk.notes.append(f"{path.name}: half a line at the end; the next entry cuts it off")
            return
        _check_line(chain, line, path.name)


def _check_process(directory: Path, names: list[str], walk: _Walk) -> bytes:
    """Follow one chain and return the hash that it ends with."""
    chain: Chain | None = None
    for name in names:
        path = _path_of(directory, name)
        chain = _pass_over(directory, name, chain) if path is None else _Segment(path, name, walk).check(chain)
    return b"" if chain is None else chain.root


def _path_of(directory: Path, name: str) -> Path | None:
    """Return where a segment is; it may be renamed at any moment, but never back."""
    for path in (directory / name, directory / f"{name.removesuffix(SEALED)}{OPEN}", directory / name):
        if path.exists():
            return path
    return None


def _pass_over(directory: Path, name: str, chain: Chain | None) -> Chain:
    """Go on behind a segment that is not there; the manifest has to say why."""
    marks = manifest.read(directory)  # anew: it may have been deleted since
    if name in marks.tombstones:
        return _behind(marks.tombstones[name])
    first = chain.seq if chain is not None else _number(marks.sealed.get(name) or marks.suspects.get(name), "first_seq")
    raise _Broken(Problem(name, first, "the segment is missing, and the manifest does not say that it was deleted"))


def _behind(mark: dict[str, Any]) -> Chain:
    try:
        return Chain(bytes.fromhex(mark["end"]), mark["last_seq"] + 1)
    except (KeyError, TypeError, ValueError):
        what = "the entry does not say where its segment ended"
        raise _Broken(Problem(manifest.NAME, _number(mark, "seq"), what)) from None


def _number(mark: dict[str, Any] | None, key: str) -> int:
    value = (mark or {}).get(key)
    return value if isinstance(value, int) else 0


@dataclass(slots=True)
class _Segment:
    """One segment that is there."""

    path: Path
    name: str
    walk: _Walk

    def check(self, before: Chain | None) -> Chain | None:
        """Follow its lines, and return where the chain has got to."""
        self.walk.segments += 1
        is_open = self.path.name.endswith(OPEN)
        suspect = self.walk.marks.suspects.get(self.name)
        lines = _lines(self.path)
        header = next(lines, b"")
        if is_open and not header.endswith(b"\n"):
            self.walk.notes.append(f"{self.path.name}: no whole line yet")
            return before
        chain = self._begin(header, before)
        first, line = chain.seq, header
        _check_line(chain, header, self.path.name)
        for line in lines:
            if suspect is not None and chain.seq > _number(suspect, "confirmed_seq") and not _holds(chain, line):
                break
            if is_open and not line.endswith(b"\n"):
                self.walk.notes.append(f"{self.path.name}: half a line at the end")
                break
            _check_line(chain, line, self.path.name)
        self.walk.lines += chain.seq - first
        if suspect is not None:
            return self._end_suspect(chain, suspect)
        self._end(chain, line, first, is_open=is_open)
        return chain

    def _begin(self, header: bytes, before: Chain | None) -> Chain:
        """Return the chain that the header goes on with."""
        seq = 0 if before is None else before.seq
        try:
            fields = json.loads(header)
            kind, name, previous = fields[conventions.EVENT_NAME], fields["segment"], fields["previous"]
            stated = int(fields["seq"])
        except (ValueError, KeyError, TypeError):
            raise self._broken(seq, "the first line is no header of a segment") from None
        if kind != SEGMENT or name != self.name:
            raise self._broken(seq, f"the first line is no header of a segment of this name, but {kind} {name}")
        if before is None and previous is None:
            return Chain(start_of(self.name))
        if before is None or previous != before.root.hex():
            raise self._broken(seq if before is not None else stated, "the segment before it is missing or changed")
        return before

    def _end(self, chain: Chain, line: bytes, first: int, *, is_open: bool) -> None:
        """Check that what should be at the end is there, and that it is the end that the manifest knows."""
        if line.startswith(b'{"event.name":"%b",' % SEAL.encode()):
            fields = json.loads(line)
            if (fields["first_seq"], fields["last_seq"]) != (first, chain.seq - 2):
                raise self._broken(chain.seq - 1, "the footer counts other lines than there are")
        elif not is_open:
            raise self._broken(chain.seq, "the footer is missing, and maybe lines before it")
        mark = self.walk.marks.sealed.get(self.name)
        if mark is not None and mark.get("end") != chain.root.hex():
            seq = min(chain.seq - 1, _number(mark, "last_seq"))
            raise self._broken(seq, "the segment does not end as the manifest says it did when it was sealed")

    def _end_suspect(self, chain: Chain, suspect: dict[str, Any]) -> Chain:
        confirmed = _number(suspect, "confirmed_seq")
        if chain.seq <= confirmed:
            raise self._broken(chain.seq, "the line is missing, and was on the disk before a sync failed")
        missing = _number(suspect, "last_seq") + 1 - chain.seq
        self.walk.notes.append(f"{self.name}: a sync failed; {missing} lines of it are only in the next segment")
        return _behind(suspect)

    def _broken(self, seq: int, what: str) -> _Broken:
        return _Broken(Problem(self.path.name, seq, what))


def _holds(chain: Chain, line: bytes) -> bool:
    return not Chain(chain.root, chain.seq).check(line)


def _check_line(chain: Chain, line: bytes, file: str) -> None:
    what = chain.check(line)
    if what:
        raise _Broken(Problem(file, chain.seq, what))


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, with their line breaks; none when it is gone."""
    try:
        with path.open("rb") as file:
            yield from file
    except FileNotFoundError:
        return
