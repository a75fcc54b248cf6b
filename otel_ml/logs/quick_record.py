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
from threading import Thread
from typing import Any, Final

_COMPARED: Final = ((3, 11), (3, 12), (3, 13), (3, 14), (3, 15))
_BY_NANOSECONDS: Final = sys.version_info >= (3, 13)
_level_name: Final = logging.getLevelName
_ATOMS: Final = frozenset({str, int, float, bool, type(None)})  # none is a mapping
_TIMES: Final = ("created", "msecs", "relativeCreated")

_record_class: Final = logging.LogRecord
_new: Final = logging.LogRecord.__new__
_constructor: Final = logging.LogRecord.__init__
_started: Final[float] = getattr(logging, "_startTime", 0.0)
_pid = os.getpid()
_modules: Final = sys.modules
_files: Final[dict[str, tuple[str, str]]] = {}
_MOST_FILES: Final = 1024
_names: Final = logging._levelToName  # what `getLevelName` looks at first
_switches: Final = vars(logging)
_threading: Final = vars(threading)  # looked up each time: gevent puts functions of its own there
_current_thread: Final = threading.current_thread
_main_thread: Final = type(threading.main_thread())

FIELDS: Final[dict[str, Any]] = dict.fromkeys(vars(logging.LogRecord("", 0, "", 0, "", (), None)))
"""The fields of a record, in their order."""


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
    return filled(dict(FIELDS), name, level, pathname, lineno, msg, args, exc_info, func, sinfo)


def filled(  # noqa: PLR0917
    fields: dict[str, Any], name: str, level: int, pathname: str, lineno: int, msg: Any, args: Any, exc_info: Any,
    func: str | None, sinfo: str | None,
) -> logging.LogRecord:  # fmt: skip
    """Return a record whose fields are a dictionary.

    Args:
        fields: A copy of `FIELDS`, with what else the record shall have: a copy never has to grow.
        name: Of the logger; this and the rest are the arguments of `logging.LogRecord`.
        level: See there.
        pathname: See there.
        lineno: See there.
        msg: See there.
        args: See there.
        exc_info: See there.
        func: See there.
        sinfo: See there.
    """
    if args and len(args) == 1 and type(args[0]) not in _ATOMS and isinstance(args[0], Mapping) and args[0]:
        args = args[0]
    fields["name"] = name
    fields["msg"] = msg
    fields["args"] = args
    fields["levelname"] = _names.get(level) or _level_name(level)
    fields["levelno"] = level
    fields["pathname"] = pathname
    try:
        fields["filename"], fields["module"] = _files.get(pathname) or _file_and_module(pathname)
    except (TypeError, ValueError, AttributeError):
        fields["filename"], fields["module"] = pathname, "Unknown module"
    if exc_info is not None:
        fields["exc_info"] = exc_info
    if sinfo is not None:
        fields["stack_info"] = sinfo
    fields["lineno"] = lineno
    fields["funcName"] = func
    fields["created"], fields["msecs"], fields["relativeCreated"] = _times()
    if _switches["logThreads"]:
        fields["thread"] = ident = _threading["get_ident"]()
        fields["threadName"] = _thread_name(ident)
    if _switches["logMultiprocessing"]:
        fields["processName"] = _process_name()
    if _switches["logProcesses"]:
        fields["process"] = _pid
    if sys.version_info >= (3, 12) and _switches["logAsyncioTasks"]:
        fields["taskName"] = _task_name()
    record = _new(_record_class)
    record.__dict__ = fields
    return record


def _thread_name(ident: int) -> str:
    """Return the name of this thread, as `threading.current_thread` does, which makes one for a thread of C's."""
    current = _threading["current_thread"]
    if current is _current_thread:
        thread = _threading["_active"].get(ident)
        if type(thread) is Thread or type(thread) is _main_thread:
            return thread._name  # type: ignore[attr-defined, no-any-return]  # what the property returns
    return current().name  # type: ignore[no-any-return]


def _file_and_module(pathname: str) -> tuple[str, str]:
    filename = os.path.basename(pathname)
    found = filename, os.path.splitext(filename)[0]
    if type(pathname) is str:
        if len(_files) >= _MOST_FILES:
            _files.clear()
        _files[pathname] = found
    return found


def _times() -> tuple[float, float, float]:
    if _BY_NANOSECONDS:
        now = time.time_ns()
        created = now / 1e9
        rounded_up = int(created) != now // 1_000_000_000
        return created, 0.0 if rounded_up else (now % 1_000_000_000) // 1_000_000 + 0.0, (now - _started) / 1e6
    seconds: float = time.time()
    return seconds, int((seconds - int(seconds)) * 1000) + 0.0, (seconds - _started) * 1000


def _process_name() -> str:
    multiprocessing = _modules.get("multiprocessing")
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
