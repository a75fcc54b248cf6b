"""The segments of one process as one chain: opened when there is something to write, synced, sealed, replaced."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from otel_ml import health
from otel_ml.audit import manifest
from otel_ml.audit.chain import Chain, start_of
from otel_ml.audit.jobs import Jobs
from otel_ml.audit.manifest import Manifest
from otel_ml.audit.record import SEAL, SEGMENT, event
from otel_ml.audit.segment import Segment
from otel_ml.audit.supply import Supply
from otel_ml.options import Audit

_MOST_UNSYNCED: Final = 16 * 1024 * 1024
_MOST_JOBS: Final = 16  # each may hold a segment open
_EARLY: Final = 0.8  # of the interval: the sync itself takes time, too
_LONGEST_PAUSE: Final = 30.0

Position = tuple[int, bytes]
"""Sequence number of the next line, and hash of the one before it."""


class _Unsynced:
    """Lines that are not known to be on the disk, kept so that they can be written again."""

    def __init__(self, confirmed: Position) -> None:
        self.confirmed = confirmed
        self.bodies: list[bytes] = []
        self.size = 0
        self.since = 0.0


class Trail:
    """Where the writer's lines go. Used by one thread at a time.

    Args:
        directory: Audit directory, made (mode 0700) when it is missing.
        service: Name of the service.
        options: Sizes, ages, and the interval of syncs.
        jobs: Does what takes long.
        on_sealed: Called on the jobs' thread after a segment was sealed.

    Attributes:
        service: Name of the service.
    """

    def __init__(
        self, directory: Path, service: str, options: Audit, jobs: Jobs, on_sealed: Callable[[], object]
    ) -> None:
        self._directory = directory
        self.service = service
        self._options = options
        self._jobs = jobs
        self._on_sealed = on_sealed
        self.reset()

    def reset(self) -> None:
        """Begin a trail of its own in a forked child; the segment under way is the parent's."""
        self._segment: Segment | None = None
        self._supply = Supply(self._directory, self.service, self._jobs)
        self._chain = Chain(b"")
        self._unsynced = _Unsynced((0, b""))
        self._sent = self._settled = 0  # bytes; each is written by one thread
        self._failed: deque[tuple[Segment, _Unsynced, OSError]] = deque()
        self._again: list[bytes] = []
        self._unmarked: deque[Callable[[], object]] = deque()
        self._failures = 0
        self._resume_at = 0.0

    def append(self, bodies: list[bytes]) -> None:
        """Write lines; all of them or none.

        Args:
            bodies: Of these lines.

        Raises:
            OSError: They could not be written.
        """
        segment = self._segment or self._open()
        self._write(segment, [*self._again, *bodies])
        self._again = []

    def beside(self, work: Callable[[], object]) -> None:
        """Have slow work done on the thread that syncs.

        Args:
            work: Called without arguments.
        """
        self._jobs.submit(work)

    def is_behind(self) -> bool:
        """Whether so much waits for a sync that nothing more should be written."""
        if self._again or self._failed or self._jobs.waiting() > _MOST_JOBS:
            return True
        return self._unsynced.size + self._in_flight() >= 2 * _MOST_UNSYNCED

    def is_synced(self) -> bool:
        """Whether all that was written is on the disk."""
        return not (self._unsynced.bodies or self._again or self._in_flight() or self._failed)

    def tend(self, now: float, *, sync: bool = False) -> None:
        """Do what is due: write again what a failed sync put in doubt, sync, seal what is large or old.

        Args:
            now: Monotonic time.
            sync: Whether to sync also before that is due.

        Raises:
            OSError: What was in doubt could not be written again; it will be tried with the next call.
        """
        while self._failed:
            self._replace(*self._failed.popleft())
        if now < self._resume_at:
            return
        while self._unmarked:
            self._jobs.submit(self._unmarked.popleft())
        if self._again:
            self.append([])
        segment, unsynced, options = self._segment, self._unsynced, self._options
        if segment is None:
            return
        due = sync or unsynced.size >= _MOST_UNSYNCED or now >= self._sync_at()
        if unsynced.bodies and not self._in_flight() and due:
            self._sync_beside(segment)
        if segment.size >= options.segment_bytes:
            self._change("size")
        elif now >= segment.opened + options.segment_age:
            self._change("age")

    def due_in(self, now: float) -> float:
        """Return the seconds until `tend` has something to do, at most a minute."""
        times = [now + 60.0]
        if self._segment is not None:
            times.append(self._segment.opened + self._options.segment_age)
        if self._unsynced.bodies:
            times.append(self._sync_at())
        if self._again or self._unmarked or self._in_flight():
            times.append(now + 0.5)
        return max(min(times), self._resume_at) - now

    def sync(self) -> None:
        """Return when all that was written is on the disk, in another segment if this one fails.

        Raises:
            OSError: It is not.
        """
        for attempt in range(2):
            segment = self._segment
            if segment is None or not self._unsynced.bodies:
                return
            try:
                segment.sync()
                self._unsynced = _Unsynced(self._position())
                self._failures = 0
                return
            except OSError as error:
                unsynced, self._unsynced = self._unsynced, _Unsynced(self._position())
                self._replace(segment, unsynced, error)
                if attempt:
                    raise
                self.append([])

    def seal(self, reason: str) -> None:
        """End the segment under way, if there is one; the next lines go to another.

        Args:
            reason: `size`, `age` or `close`, for its footer.
        """
        segment, (seq, root) = self._segment, self._position()
        if segment is None:
            return
        fields = {
            "service.name": self.service,
            "records": seq - segment.first_seq,
            "first_seq": segment.first_seq,
            "last_seq": seq - 1,
            "root": root.hex(),
            "reason": reason,
        }
        try:
            self._write(segment, [event(SEAL, fields)], keep=False)
        except OSError as error:  # a full disk: it is sealed when there is room
            self._pause(1.0)
            _warn("sealed", segment, error)
            return
        segment.end = self._position()
        self._segment = None
        self._sync_beside(segment)

    def close(self) -> None:
        """Seal the segment under way; nothing is appended after that."""
        self.seal("close")
        self._supply.close()

    def _change(self, reason: str) -> None:
        """Seal the segment as soon as the next one is there, or at once when nothing is being written."""
        if not self._unsynced.bodies or self._supply.prepare():
            self.seal(reason)

    def _open(self) -> Segment:
        segment = self._supply.take()
        segment.first_seq, segment.opened = self._chain.seq, time.monotonic()
        previous = self._chain.root.hex() if self._chain.seq else None
        if previous is None:
            self._chain = Chain(start_of(segment.name))
        self._unsynced = _Unsynced(self._position())
        header = {"segment": segment.name, "service.name": self.service, "previous": previous}
        try:
            self._write(segment, [event(SEGMENT, {**header, "time_unix_nano": time.time_ns()})], keep=False)
        except OSError:
            segment.remove()
            raise
        self._segment = segment
        return segment

    def _write(self, segment: Segment, bodies: list[bytes], *, keep: bool = True) -> None:
        """Append lines to a segment; `keep` is for those that another one gets when this one fails."""
        try:
            size = segment.append(bodies, self._chain)
        except OSError as error:
            if segment.is_suspect and segment is self._segment:
                self._failed.append((segment, _Unsynced(self._unsynced.confirmed), error))
            raise
        if keep and bodies:
            unsynced = self._unsynced
            if not unsynced.bodies:
                unsynced.since = time.monotonic()
            unsynced.bodies += bodies
            unsynced.size += size

    def _position(self) -> Position:
        return self._chain.seq, self._chain.root

    def _in_flight(self) -> int:
        return self._sent - self._settled

    def _sync_at(self) -> float:
        return self._unsynced.since + self._options.sync_interval * _EARLY

    def _pause(self, seconds: float) -> None:
        self._resume_at = time.monotonic() + seconds

    def _sync_beside(self, segment: Segment) -> None:
        """Sync a segment on the jobs' thread, and give it its final name if it has its footer."""
        unsynced, self._unsynced = self._unsynced, _Unsynced(self._position())
        self._sent += max(1, unsynced.size)
        is_sealed = segment.end is not None

        def work() -> None:
            try:
                self._settle(segment, is_sealed)
            except OSError as error:
                segment.is_suspect = True
                self._failed.append((segment, unsynced, error))
            finally:
                self._settled += max(1, unsynced.size)
            if is_sealed:
                self._on_sealed()

        self._jobs.submit(work)

    def _settle(self, segment: Segment, is_sealed: bool) -> None:
        if segment.is_suspect:
            raise OSError(None, "an earlier sync failed")
        if segment.is_gone():
            raise FileNotFoundError(None, "the file was removed")
        segment.sync()
        self._failures = 0
        if is_sealed:
            self._finish(segment, manifest.SEALED, {})

    def _replace(self, segment: Segment, unsynced: _Unsynced, error: OSError) -> None:
        """Give up a segment whose sync failed: what it holds since then may be lost, and is written to another one.

        The kernel reports such a failure once, and may have dropped the pages, so no further sync of it is trusted.
        """
        _warn("synced", segment, error)
        self._again += unsynced.bodies
        segment.is_suspect = True
        if segment is self._segment:
            self._again += self._unsynced.bodies
            self._unsynced = _Unsynced(self._position())
            self._segment = None
        if not segment.is_set_aside:
            segment.is_set_aside = True
            segment.end = segment.end or self._position()
            confirmed, root = unsynced.confirmed
            fields: dict[str, object] = {
                "confirmed_seq": confirmed - 1,
                "confirmed": root.hex(),
                "error": error.strerror or str(error),
            }
            if isinstance(error, FileNotFoundError):
                health.count_dropped("audit", "segment_removed", max(0, confirmed - segment.first_seq - 1))
            self._jobs.submit(lambda: self._finish(segment, manifest.SUSPECT, fields))
            if self._failures:  # it is not this file
                self._pause(min(_LONGEST_PAUSE, 0.1 * 2.0**self._failures))
            self._failures += 1

    def _finish(self, segment: Segment, mark: str, fields: dict[str, object]) -> None:
        """Give a segment its final name and say so in the manifest, or try again later."""
        try:
            if segment.path.exists():
                segment.rename()
            self._mark(mark, segment, fields)
        except OSError as error:
            _warn("finished", segment, error)
            self._unmarked.append(lambda: self._finish(segment, mark, fields))

    def _mark(self, name: str, segment: Segment, fields: dict[str, object]) -> None:
        seq, root = segment.end or (segment.first_seq, b"")
        where = {"segment": segment.name, "first_seq": segment.first_seq, "last_seq": seq - 1, "end": root.hex()}
        with Manifest(self._directory) as marks:
            marks.append(name, **where, **fields)


def _warn(what: str, segment: Segment, error: OSError) -> None:
    health.warn_once(
        f"audit:{what}:{error.errno}",
        "audit: %s cannot be %s (%s); what is not on the disk is written again",
        segment.path, what, error.strerror or error,
    )  # fmt: skip
