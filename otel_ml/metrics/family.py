"""The processes that count as one service: their folder, and the place of this process in it.

A process gets its file when it measures something, in a folder that is named after the process at the head of the
family: the one that configured `/metrics` before it forked, the server whose workers these are, or the parent by
`multiprocessing`. A file whose owner died is taken over, with its counts, by the next process of the family. The last
one to leave removes the folder; what was killed instead is removed when another process starts.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from otel_ml import health
from otel_ml.metrics import folders, processes
from otel_ml.metrics.processes import NOBODY, Process
from otel_ml.metrics.slot import SUFFIX, Owner, Record, Slot, owner_of, records_of
from otel_ml.metrics.totals import forget_levels

_NAME: Final = re.compile(r"\d+-\d+-[0-9a-f]{12}")
_PATIENCE: Final = 2.0  # seconds to wait for another process that joins or leaves


class Family:
    """Membership of this process, and of the children that it forks.

    Args:
        service: What is counted; processes with different services are no family.
        base: Folder in which families have their folders; None: from the environment, or in memory.
    """

    def __init__(self, service: str, base: Path | None = None) -> None:
        suffix = hashlib.blake2b(service.encode(), digest_size=6).hexdigest()
        shared = folders.shared_folder() if base is None else None
        self._base = base or shared or folders.own_folder()
        self._me = processes.current()
        self._root = folders.head_of(self._base, self._me, suffix)
        # In a folder that somebody chose for it, everybody is one family.
        self.folder = self._base / (f"otel_ml-{suffix}" if shared else f"{self._root.name}-{suffix}")
        self._alias: Path | None = None
        self._is_chosen = shared is not None
        self._port = 0
        self._slot: Slot | None = None
        self._closed = False
        self._lock = threading.RLock()  # re-entrant: a signal handler may measure too
        if self._root != self._me and not shared:
            self._point_to_folder(self._base / f"{self._me.name}-{suffix}")
        if hasattr(os, "register_at_fork"):
            weak_begin = weakref.WeakMethod(self._begin_in_child)
            os.register_at_fork(after_in_child=lambda: (begin := weak_begin()) and begin())

    def _begin_in_child(self) -> None:
        self._lock = threading.RLock()
        self._me = processes.current()
        self._slot, self._alias, self._port = None, None, 0

    def place(self, key: bytes, words: int) -> memoryview | None:
        """Return memory for a series; joins the family at the first. None when there is no room, which is said once."""
        try:
            with self._lock:
                if self._closed or self._me.pid != os.getpid():  # a child that measures before it is told apart
                    return None
                return self.join().place(key, words)
        except OSError as error:
            health.warn_once(
                "metrics:family",
                "%s cannot hold the numbers of this process (%s): until it can, /metrics of another process of this "
                "service does not show them. %s names a folder, best in memory, that they all can write.",
                self.folder,
                error.strerror or type(error).__name__,
                folders.VARIABLES[0],
            )
            return None

    def join(self, port: int | None = None) -> Slot:
        """Become a member, if this process is none yet.

        Args:
            port: TCP port on which it means to serve `/metrics`; None: as before.

        Raises:
            OSError: The folder cannot be used.
        """
        with self._lock:
            self._port = self._port if port is None else port
            owner = Owner(self._me, self._root, self._port)
            if self._slot is None:
                with self._door():
                    self._clear_when_dead()
                    slot = self._take_slot(owner)
                    forget_levels(slot.records())
                    self._slot = slot
                if not self._is_chosen:
                    self._sweep()
            elif port is not None:
                self._slot.write(owner)
            return self._slot

    def _take_slot(self, owner: Owner) -> Slot:
        number = 0
        while True:
            path = self.folder / f"{number}{SUFFIX}"
            known = owner_of(path)
            if known is None or not known.process.lives:
                return Slot(path, owner)
            number += 1

    def has_server(self, port: int) -> bool:
        """Return whether another process of the family serves this port, or is about to."""
        return any(owner.port == port and owner.process.lives for _, owner in self._others())

    def records(self) -> Iterator[tuple[Record, bool]]:
        """Return every series of every process, dead ones too, and whether the process lives."""
        slot = self._slot
        if slot is not None:
            for record in slot.records():
                yield record, True
        for path, owner in self._others():
            lives = owner.process.lives
            try:
                found = records_of(path)
            except OSError:  # its last process left
                continue
            for record in found:
                yield record, lives

    @property
    def is_alone(self) -> bool:
        """Whether no other process has counted anything for this service."""
        return not any(True for _ in self._others())

    def _others(self) -> Iterator[tuple[Path, Owner]]:
        own = self._slot.path if self._slot is not None else None
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            owner = owner_of(path) if path != own else None
            if owner is not None:
                yield path, owner

    def leave(self) -> None:
        """Let another process take over the file, and its counts; the last one removes the folder."""
        with self._lock:
            self._closed = True
            slot, self._slot = self._slot, None
            if self._me.pid != os.getpid():
                return
            with suppress(OSError):  # somebody cleared the folder
                if self._alias is not None:
                    self._alias.unlink(missing_ok=True)
                if slot is not None:
                    slot.write(Owner(NOBODY, self._root, 0))
                with self._door(create=False):
                    self._clear_when_dead(leaving=True)

    def _clear_when_dead(self, *, leaving: bool = False) -> None:
        """Remove what is left of a family that has ended: a later one with the same name does not count on from it."""
        owners = [owner for _, owner in self._others()]
        alive = any(owner.process.lives for owner in owners)
        alive = alive or any(owner.root.lives and not (leaving and owner.root == self._me) for owner in owners)
        if not alive:
            for path in self.folder.glob(f"*{SUFFIX}"):
                path.unlink()
            if leaving:
                shutil.rmtree(self.folder)

    @contextmanager
    def _door(self, *, create: bool = True) -> Iterator[None]:
        """Let one process at a time join or leave."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            if create:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                door = folders.lock(self.folder, deadline)
            except FileNotFoundError:
                if not create:
                    raise
                continue  # the last one to leave removed it meanwhile
            if folders.is_at(self.folder / folders.DOOR, door):
                break
            os.close(door)
        try:
            yield
        finally:
            os.close(door)

    def _point_to_folder(self, alias: Path) -> None:
        """Lead the children that this process spawns to the folder, which is not named after it."""
        with suppress(OSError):
            alias.symlink_to(self.folder.name)
            self._alias = alias

    def _sweep(self) -> None:
        """Remove what families left behind that were killed to the last."""
        found = [path for path in self._base.iterdir() if _NAME.fullmatch(path.name)]
        for path in found:
            pid, started = path.name.split("-")[:2]
            if Process(int(pid), int(started)).lives:
                continue
            with suppress(OSError):
                if path.is_symlink():
                    path.unlink()
                else:
                    _remove_when_dead(path)


def _remove_when_dead(folder: Path) -> None:
    owners = [owner for file in folder.glob(f"*{SUFFIX}") if (owner := owner_of(file))]
    if any(owner.process.lives or owner.root.lives for owner in owners):
        return
    door = folders.lock(folder, time.monotonic())
    try:
        shutil.rmtree(folder)
    finally:
        os.close(door)
