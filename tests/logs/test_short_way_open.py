"""When the short way of a log line is open, and whom it takes for the caller."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from logs.short_lines import GENERAL, Short, around, compiled_only, is_compiled

from otel_ml import redaction
from otel_ml.logs.entries import Entry
from support import run_python

ORIGINAL = logging.Logger._log

pytestmark = pytest.mark.usefixtures("own_redactor")

Begin = Callable[..., Short]


def _deeper(short: Short, options: dict[str, Any]) -> None:
    def inner() -> None:
        for _ in range(1):
            short.log.warning("step", **options)

    inner()


def _by_adapter(short: Short, options: dict[str, Any]) -> None:
    logging.LoggerAdapter(short.log, None).warning("step", **options)


def _by_own_level(short: Short, options: dict[str, Any]) -> None:
    """Log as the recipe for a level of one's own does."""
    short.log._log(logging.WARNING, "step", (), **options)


def _in_file(name: str) -> Callable[[Short, dict[str, Any]], None]:
    code = compile("def call(log, options):\n\n    log.warning('step', **options)", name, "exec")

    def call(short: Short, options: dict[str, Any]) -> None:
        found: dict[str, Any] = {}
        exec(code, found)
        found["call"](short.log, options)

    return call


USUAL = (_deeper, _by_own_level, *map(_in_file, ("<string>", "/a/é.py", "", logging.__file__)))
UNUSUAL = (_by_adapter, _in_file("/x/importlib/_bootstrap.py"))


@pytest.mark.parametrize("caller", [*USUAL, *UNUSUAL])
def test_the_caller_is_the_one_that_logging_finds(begin: Begin, caller: Callable[..., None]) -> None:
    """Functions in functions, code without a file, and files that logging takes for its own or the interpreter's."""
    short = begin()
    for _ in range(2):
        caller(short, {})
        assert short.pipeline.flush(30.0)
    assert short.took(lambda: caller(short, {})) is (is_compiled and caller in USUAL)
    caller(short, GENERAL)
    assert type(short.seen[-1]) is bytes
    assert short.seen[-1][45:] == short.seen[-2][45:]


def test_a_place_that_logging_never_finds_is_not_remembered(begin: Begin) -> None:
    """A record made by hand may name a file of the import machinery: it is no place for the short way."""
    short = begin()
    entry = Entry(1, 20, "INFO", "app", "m", "", "", 0, None, {}, None, ("/importlib/_bootstrap.py", "f", 1))
    places = short.handler._places
    assert places is not None
    places.learn((entry.level_name, entry.logger, entry.code), entry, redaction.current())
    assert places._now[1] == {}


def test_logging_is_itself_again_after_the_end(begin: Begin) -> None:
    """`_log` is the one from before, and looked the same meanwhile."""
    short = begin()
    assert (logging.Logger._log is not ORIGINAL) == is_compiled
    assert inspect.signature(logging.Logger._log) == inspect.signature(ORIGINAL)
    assert (logging.Logger._log.__qualname__, logging.Logger._log.__doc__) == (ORIGINAL.__qualname__, ORIGINAL.__doc__)
    with pytest.raises(TypeError, match=r"Logger\._log\(\) got an unexpected keyword argument 'wrong'"):
        short.log.warning("step", wrong=1)  # type: ignore[call-arg]
    short.pipeline.close(30.0)
    assert logging.Logger._log is ORIGINAL


def test_what_somebody_put_in_its_place_stays(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Theirs calls ours, which then has nothing to do but call the original."""
    monkeypatch.setattr(logging.Logger, "_log", ORIGINAL)  # what is put back in the end
    short = begin()
    theirs = around(logging.Logger._log)
    monkeypatch.setattr(logging.Logger, "_log", theirs)
    short.learn("step", level=logging.ERROR)
    assert short.write("step", level=logging.ERROR) is is_compiled
    short.pipeline.close(30.0)
    assert logging.Logger._log is theirs
    before = len(short.seen)
    assert not short.write("step", level=logging.ERROR)
    assert len(short.seen) == before


@pytest.mark.parametrize("name", ["_log", "findCaller", "handle", "callHandlers", "warning"])
def test_there_is_none_where_logging_was_changed_before(tmp_path: Path, name: str) -> None:
    """What another library does around a method of logging has to be done for each record."""
    code = f"""
        import logging
        from functools import wraps

        calls = []
        original = logging.Logger.{name}

        @wraps(original)
        def theirs(*arguments, **options):
            calls.append(arguments)
            return original(*arguments, **options)

        logging.Logger.{name} = theirs
        before = logging.Logger._log
        import otel_ml

        logs = otel_ml.Logs(format="none", directory="logs")
        telemetry = otel_ml.configure(logs=logs, traces=False, metrics=False, audit=False, directory="state")
        del calls[:]
        for number in range(3):
            logging.getLogger("app").warning("step %d", number)
            telemetry.flush(timeout=30.0)
        assert len(calls) == 3, calls
        print(logging.Logger._log is before)
    """
    done = run_python(code, cwd=tmp_path)
    assert (done.stdout, done.stderr) == (f"{not is_compiled or name != 'warning'}\n", "")


@compiled_only
def test_a_thread_that_is_in_a_handler_goes_the_general_way(tmp_path: Path) -> None:
    """Later versions of Python drop what a handler logs, and the general way is theirs."""
    code = """
        import logging
        import sys
        import threading

        if not hasattr(logging.Logger, "_tls"):
            logging.Logger._tls = threading.local()
        import otel_ml

        logs = otel_ml.Logs(format="none", directory="logs")
        telemetry = otel_ml.configure(logs=logs, traces=False, metrics=False, audit=False, directory="state")
        log = logging.getLogger("app")
        called = []
        for busy in (False, True, False):
            logging.Logger._tls.in_progress = busy
            sys.setprofile(lambda frame, event, argument: called.append(frame.f_code.co_name))
            log._log(logging.WARNING, "step", ())
            sys.setprofile(None)
            print("findCaller" in called)
            del called[:]
            telemetry.flush(timeout=30.0)
    """
    done = run_python(code, cwd=tmp_path)
    assert (done.stdout.split(), done.stderr) == (["False", "True", "False"], "")
