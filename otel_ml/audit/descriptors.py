"""Files that are locked while they are open, and that forked children must not keep open.

A lock belongs to the open file, and a child inherits that: if the child kept it, the file would stay locked when its
parent is done with it, or dead.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final

_LONGEST: Final = 0.5
"""Seconds that one waits for another file to be opened or closed: on a disk that is stuck that may take for ever."""

_held: set[int] = set()
_opening = threading.Lock()
_forking = threading.local()


def open_held(path: Path, flags: int) -> int:
    """Open a file that no child will have.

    Args:
        path: The file; made with mode 0600 when `flags` say so.
        flags: As for `os.open`.

    Returns:
        What `release` takes.

    Raises:
        OSError: As `os.open`.
    """
    with _opening:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
        _held.add(descriptor)
    return descriptor


def release(descriptor: int) -> None:
    """Close a file, and give up its lock; nothing happens when that was done before, or in the child of who opened it.

    Args:
        descriptor: What `open_held` returned.
    """
    waited = _opening.acquire(timeout=_LONGEST)
    try:
        if descriptor in _held:
            _held.discard(descriptor)
            os.close(descriptor)
    finally:
        if waited:
            _opening.release()


def _before_fork() -> None:
    _forking.waited = _opening.acquire(timeout=_LONGEST)


def _after_fork_in_parent() -> None:
    if _forking.__dict__.pop("waited", False):
        _opening.release()


def _after_fork_in_child() -> None:
    global _opening  # noqa: PLW0603  the lock may be held by a thread that does not exist here
    _opening = threading.Lock()
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
