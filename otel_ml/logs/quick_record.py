"""`logging.LogRecord` in half the time: the same class, and in each field what its constructor puts there.

The constructor takes apart the file's path for each record, asks the operating system for the process id and the
collections' base classes for mappings, and from Python 3.12 on raises and catches an exception where no event loop
runs. Here that is remembered or avoided, and nothing else differs: `tests/logs/test_quick_record.py` compares the two.
Under a Python whose constructor was not compared, or with one that a library changed, the constructor itself is used.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

_COMPARED: Final = ((3, 11), (3, 12), (3, 13), (3, 14), (3, 15))
_level_name: Final = logging.getLevelName
_ATOMS: Final = frozenset({str, int, float, bool, type(None)})  # none is a mapping
_TIMES: Final = ("created", "msecs", "relativeCreated")

_record_class: Final = logging.LogRecord
_new: Final = logging.LogRecord.__new__
_constructor: Final = logging.LogRecord.__init__
_started: Final[float] = getattr(logging, "_startTime", 0.0)
_pid = os.getpid()


def maker() -> Callable[..., logging.LogRecord]:
    """Return `make` where it is known to do what `logging.LogRecord` does, else that class."""
    if sys.version_info[:2] not in _COMPARED or logging.LogRecord is not _record_class or not _started:
        return logging.LogRecord
    if logging.LogRecord.__init__ is not _constructor:
        return logging.LogRecord
    sample = ("name", logging.INFO, "/a/b.c/d.py", 7, "%s", (0.5,), None, "function", "stack")
    theirs, ours = vars(logging.LogRecord(*sample)), vars(make(*sample))
    same = list(theirs) == list(ours) and all(name in _TIMES or ours[name] == theirs[name] for name in theirs)
    return make if same else logging.LogRecord


def make(  # noqa: PLR0917  the arguments are logging's
    name: str, level: int, pathname: str, lineno: int, msg: Any, args: Any, exc_info: Any,
    func: str | None = None, sinfo: str | None = None, **kwargs: Any,
) -> logging.LogRecord:  # fmt: skip
    """Return a record; the arguments are those of `logging.LogRecord`."""
    record = _new(_record_class)
    fields = record.__dict__  # spares the way through `setattr`
    fields["name"] = name
    fields["msg"] = msg
    if args and len(args) == 1 and type(args[0]) not in _ATOMS and isinstance(args[0], Mapping) and args[0]:
        args = args[0]
    fields["args"] = args
    fields["levelname"] = _level_name(level)
    fields["levelno"] = level
    fields["pathname"] = pathname
    try:
        fields["filename"], fields["module"] = _file_and_module(pathname)
    except (TypeError, ValueError, AttributeError):
        fields["filename"], fields["module"] = pathname, "Unknown module"
    fields["exc_info"] = exc_info
    fields["exc_text"] = None
    fields["stack_info"] = sinfo
    fields["lineno"] = lineno
    fields["funcName"] = func
    fields["created"], fields["msecs"], fields["relativeCreated"] = _times()
    wants_thread = logging.logThreads
    fields["thread"] = threading.get_ident() if wants_thread else None
    fields["threadName"] = threading.current_thread().name if wants_thread else None
    fields["processName"] = _process_name() if logging.logMultiprocessing else None
    fields["process"] = _pid if logging.logProcesses else None
    if sys.version_info >= (3, 12):
        fields["taskName"] = _task_name() if logging.logAsyncioTasks else None
    return record


@lru_cache(maxsize=1024)
def _file_and_module(pathname: str) -> tuple[str, str]:
    filename = os.path.basename(pathname)
    return filename, os.path.splitext(filename)[0]


if sys.version_info >= (3, 13):

    def _times() -> tuple[float, float, float]:
        now = time.time_ns()
        created = now / 1e9
        rounded_up = int(created) != now // 1_000_000_000
        return created, 0.0 if rounded_up else (now % 1_000_000_000) // 1_000_000 + 0.0, (now - _started) / 1e6

else:

    def _times() -> tuple[float, float, float]:
        now = time.time()
        return now, int((now - int(now)) * 1000) + 0.0, (now - _started) * 1000


def _process_name() -> str:
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None:
        try:
            return str(multiprocessing.current_process().name)
        except Exception:  # noqa: S110  it is being imported: logging itself leaves it at the default
            pass
    return "MainProcess"


def _task_name() -> str | None:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        # What current_task() asks first, and raises for.
        return None if asyncio._get_running_loop() is None else asyncio.current_task().get_name()
    except Exception:  # it is being imported, or there is no task
        return None


def _after_fork() -> None:
    global _pid  # noqa: PLW0603  the process's
    _pid = os.getpid()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
