"""`otel-ml run -- CMD...`: any command as a run, with its context in the environment."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from opentelemetry import trace

import otel_ml
from otel_ml import conventions, runs
from otel_ml.errors import ConfigurationError
from otel_ml.options import Logs

NOT_FOUND = 127
NOT_EXECUTABLE = 126
SIGNALLED = 128
"""Exit codes as shells use them; `SIGNALLED` plus the signal's number."""

_ENTRY_POINT = "otel_ml"
_THEIRS = os.path.join("opentelemetry", "instrumentation", "auto_instrumentation")
"""End of the path by which `opentelemetry-instrument` does what ours does: both would do it twice."""

_FORWARDED = ("SIGTERM", "SIGINT", "SIGHUP")


def launch(command: list[str], *, directory: Path | None = None, name: str | None = None) -> int:
    """Run a command as a run and wait for it; its standard streams are this process's own.

    The command finds the run in its environment. A Python program, also one that knows nothing of otel_ml, is set
    up as by `opentelemetry-instrument` with the distro `otel_ml`; not one started with `-S`, `-E` or `-I`.

    Args:
        command: Program and arguments.
        directory: Where local files go; default: as for `otel_ml.configure`.
        name: Name of the run; default: that of the script or program.

    Returns:
        The command's exit code; 128 + n when signal n ended it, 127 when it was not found, 126 when it cannot be run.

    Raises:
        ConfigurationError: The command is empty.
    """
    if not command:
        raise ConfigurationError("run -- COMMAND", command, "a command", "For example: otel-ml run -- python train.py")
    from otel_ml.configuration import configure  # noqa: PLC0415  the SDK is not needed to tell what is wrong above

    # The command writes logs, serves /metrics and predicts; this process must not take its terminal or its port.
    telemetry = configure(directory=directory, logs=Logs(format="none"), metrics=False, audit=False)
    with telemetry, runs.run(name or default_name(command)) as run:
        environ = dict(os.environ)
        prepare_environment(environ, telemetry.directory.parent)
        code = wait_for(command, environ)
        trace.get_current_span().set_attribute(conventions.RUN_EXIT_CODE, code)
        if code != 0:
            run.mark_failed(kind_of(code), f"exit code {code}")
    return code


def default_name(command: Sequence[str]) -> str:
    """Return what a command is about: the script or module that Python runs, else the program."""
    program = Path(command[0]).name
    if re.fullmatch(r"python[0-9.]*(\.exe)?", program) is None:
        return program
    for position, word in enumerate(command[1:], start=1):
        if word == "-m" and position + 1 < len(command):
            return command[position + 1]
        if word == "-c":
            break
        if not word.startswith("-"):
            return Path(word).name
    return program


def prepare_environment(environ: MutableMapping[str, str], state: Path) -> None:
    """Make a Python program that starts in this environment set itself up, without a line of code.

    Args:
        environ: Changed in place.
        state: Directory of the local files; the program may have another working directory.
    """
    ours = str(Path(otel_ml.__file__).with_name("startup"))
    paths = environ.get("PYTHONPATH", "").split(os.pathsep)
    others = [path for path in paths if path and path != ours and not path.endswith(_THEIRS)]
    environ["PYTHONPATH"] = os.pathsep.join([ours, *others])
    environ["OTEL_PYTHON_DISTRO"] = environ["OTEL_PYTHON_CONFIGURATOR"] = _ENTRY_POINT
    environ["OTEL_ML_DIR"] = str(state.absolute())
    environ.setdefault("OTEL_ML_LOG_STREAM", "stderr")  # what the program prints stays its own


def wait_for(command: Sequence[str], environ: MutableMapping[str, str], *, speaker: str = "run") -> int:
    """Run a command to its end, with this process's standard streams and the signals that it gets.

    Args:
        command: Program and arguments.
        environ: Its environment.
        speaker: Which command of ours says that it cannot be started.

    Returns:
        Its exit code, as a shell has it.
    """
    with _forwarding() as wait_for_end:
        try:
            child = subprocess.Popen(command, env=environ)
        except FileNotFoundError:
            return _refuse(NOT_FOUND, f"{speaker}: {command[0]}: command not found")
        except OSError as error:
            return _refuse(NOT_EXECUTABLE, f"{speaker}: {command[0]}: {error.strerror}")
        code = wait_for_end(child)
    return SIGNALLED - code if code < 0 else code


@contextmanager
def _forwarding() -> Iterator[Callable[[subprocess.Popen[bytes]], int]]:
    """Send the signals that end a program to a child instead, as soon as the yielded function waits for its end.

    A signal that is ignored stays ignored (`nohup`), for the child as well.
    """
    children: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        if not children:
            early.append(number)
        elif number != signal.SIGINT or not _terminal_interrupts_child():
            children[0].send_signal(number)

    def wait_for_end(child: subprocess.Popen[bytes]) -> int:
        children.append(child)
        for number in early:
            child.send_signal(number)
        # Not in waitpid: a signal that comes just before it, or to another thread, would be handled after it. Python
        # puts each signal into the pipe at once, also the one of a child's end.
        mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})  # whoever started us may have blocked it
        try:
            while (code := child.poll()) is None:
                os.read(reader, 64)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return code

    numbers = [getattr(signal, name) for name in _FORWARDED if hasattr(signal, name)]
    numbers = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    previous = {number: signal.signal(number, forward) for number in numbers}
    previous[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda number, frame: None)
    # Who listens there for SIGTERM must not take one that is the child's for its own.
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield wait_for_end
    finally:
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        for number, handler in previous.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


def _terminal_interrupts_child() -> bool:
    """Whether Ctrl-C reaches the child by itself: the terminal sends it to every process of the foreground group."""
    try:
        with open("/dev/tty", "rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:  # no terminal
        return False


def _refuse(code: int, message: str) -> int:
    print(f"otel-ml {message}", file=sys.stderr)
    return code


def kind_of(code: int) -> str:
    """Return the `error.type` of an exit code: the name of the signal, or `exit_code_3`."""
    try:
        return signal.Signals(code - SIGNALLED).name
    except ValueError:
        return f"exit_code_{code}"
