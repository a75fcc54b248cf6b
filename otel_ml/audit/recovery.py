"""Segments that a killed process left open: what holds of them is kept and sealed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from otel_ml import conventions, health
from otel_ml.audit import manifest
from otel_ml.audit.chain import Chain, start_of
from otel_ml.audit.descriptors import open_held, release
from otel_ml.audit.manifest import Manifest
from otel_ml.audit.record import RECOVERED, SEAL, SEGMENT, event
from otel_ml.audit.segment import BALLAST, OPEN, SEALED, finish, lock, parse


class Recovered(NamedTuple):
    """What became of a segment that was left open.

    Args:
        segment: Its name, as a sealed one.
        truncated_bytes: Size of the half line at its end, which was cut off.
        damaged_seq: Where it does not hold, though it goes on behind that; it is kept as it is. None: it holds.
    """

    segment: str
    truncated_bytes: int = 0
    damaged_seq: int | None = None


def recover(directory: Path) -> list[Recovered]:
    """Seal what processes left open that exist no longer. Several processes may do so at once.

    Args:
        directory: Audit directory.

    Returns:
        One entry for each segment that was sealed, or set aside as damaged. A segment without a whole line is deleted.
    """
    done: list[Recovered] = []
    for path in sorted(directory.iterdir()) if directory.is_dir() else []:
        try:
            if path.name.startswith(BALLAST):
                _remove_ballast(path)
            elif path.name.endswith(OPEN) and parse(path.name) is not None:
                with _orphan(path) as descriptor:
                    found = None if descriptor is None else _recover(path, descriptor)
                done += [found] if found is not None else []
        except OSError as error:  # a full disk, say: the next process tries again
            health.warn_once(
                f"audit:recover:{error.errno}",
                "audit: %s was left by a process that was killed, and cannot be sealed (%s); the next start tries",
                path, error.strerror or error,
            )  # fmt: skip
    return done


@contextmanager
def _orphan(path: Path) -> Iterator[int | None]:
    """Hold a file that nobody else holds; None when somebody does, or it is gone."""
    try:
        descriptor = open_held(path, os.O_RDWR | os.O_APPEND)
    except FileNotFoundError:
        yield None
        return
    try:
        yield descriptor if lock(descriptor) and _is_at(path, descriptor) else None
    finally:
        release(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        there, here = path.stat(), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def _remove_ballast(path: Path) -> None:
    with _orphan(path) as descriptor:
        if descriptor is not None:
            path.unlink(missing_ok=True)


class _Found(NamedTuple):
    """How far a file holds, and what its header says of whom it is from."""

    origin: dict[str, Any]
    chain: Chain
    first_seq: int
    size: int
    is_sealed: bool
    rest: bytes


def _recover(path: Path, descriptor: int) -> Recovered | None:
    sealed = path.with_name(f"{path.name.removesuffix(OPEN)}{SEALED}")
    marks = manifest.read(path.parent)
    if sealed.name in marks.suspects:  # its process said all about it, but was killed before it renamed it
        finish(path, sealed)
        return Recovered(sealed.name)
    found = _follow(path, sealed.name)
    if found is None:
        path.unlink(missing_ok=True)
        return None
    if _goes_on(found.rest):
        finish(path, sealed)
        with Manifest(path.parent) as entries:
            entries.append(manifest.DAMAGED, segment=sealed.name, seq_expected=found.chain.seq)
        return Recovered(sealed.name, damaged_seq=found.chain.seq)
    torn = os.fstat(descriptor).st_size - found.size
    if torn:
        os.ftruncate(descriptor, found.size)
    if torn or not found.is_sealed:
        _write_end(descriptor, found, torn)
    os.fsync(descriptor)
    finish(path, sealed)
    with Manifest(path.parent) as entries:
        seq, end = found.chain.seq, found.chain.root.hex()
        entries.append(
            manifest.SEALED, segment=sealed.name, first_seq=found.first_seq, last_seq=seq - 1, end=end, torn_bytes=torn
        )
    return Recovered(sealed.name, truncated_bytes=torn)


def _follow(path: Path, name: str) -> _Found | None:
    """Read as far as the lines hold; None when not even the header is whole."""
    with path.open("rb") as file:
        header = file.readline()
        chain = _start(header, name)
        if chain is None:
            return None
        first_seq, size, last = chain.seq, 0, b""
        line = header
        while line and not chain.check(line):
            size += len(line)
            last = line
            line = file.readline()
        return _Found(_origin(header), chain, first_seq, size, last.startswith(_FOOTER), line + file.read())


_SERVICE = "service.name"
_FOOTER = b'{"event.name":"%b",' % SEAL.encode()


def _start(header: bytes, name: str) -> Chain | None:
    if not header.endswith(b"\n"):
        return None
    try:
        fields = json.loads(header)
        if fields[conventions.EVENT_NAME] != SEGMENT or fields["previous"] is None:
            return Chain(start_of(name))
        return Chain(bytes.fromhex(fields["previous"]), int(fields["seq"]))
    except (ValueError, KeyError, TypeError):
        return Chain(start_of(name))  # nothing holds, so that it is set aside


def _origin(header: bytes) -> dict[str, Any]:
    """Return the service's name as a field of further lines; nothing where the header has none."""
    try:
        return {_SERVICE: json.loads(header)[_SERVICE]}
    except (ValueError, KeyError, TypeError):
        return {}


def _goes_on(rest: bytes) -> bool:
    """Whether there is more than a write that was cut short: then someone has changed the file.

    What a killed process wrote ends in the middle of a line at most. A machine that lost power may also leave blocks
    of zeros, and what comes behind them.
    """
    return b"\n" in rest and b"\0" not in rest


def _write_end(descriptor: int, found: _Found, torn: int) -> None:
    chain, lines = found.chain, b""
    if torn:
        cut = {**found.origin, "truncated_bytes": torn, "time_unix_nano": time.time_ns()}
        lines += chain.seal(event(RECOVERED, cut))
    fields = {
        **found.origin,
        "records": chain.seq - found.first_seq,
        "first_seq": found.first_seq,
        "last_seq": chain.seq - 1,
        "root": chain.root.hex(),
        "reason": "recovery",
    }
    lines += chain.seal(event(SEAL, fields))
    view = memoryview(lines)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError:
        os.ftruncate(descriptor, found.size)
        raise
