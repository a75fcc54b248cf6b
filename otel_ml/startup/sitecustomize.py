"""What Python runs first in a program that `otel-ml run` starts: `PYTHONPATH` begins with this folder.

It sets the program up and loads the instrumentations that are installed, then does what the `sitecustomize` of the
environment does, which this one hides.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec

HERE = os.path.dirname(os.path.abspath(__file__))

NOT_OF_PROGRAM = ("PREFECT__SERVER_EPHEMERAL",)
"""As in `otel_ml.program`: a tool's own process does not even load otel_ml, because the program waits for its start."""


def set_up() -> None:
    """Set the program up; without otel_ml, or where that fails, it runs all the same."""
    path = os.environ.get("PYTHONPATH", "")
    # A process that is started meanwhile would be set up as well, and start one as well.
    os.environ["PYTHONPATH"] = os.pathsep.join(entry for entry in path.split(os.pathsep) if entry != HERE)
    try:
        from otel_ml.program import start  # noqa: PLC0415

        start()
    except Exception as error:
        print(f"otel-ml run: not all of {sys.executable} is recorded: {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        os.environ["PYTHONPATH"] = path


def go_on() -> None:
    """Run the `sitecustomize` that comes after this one, in its place."""
    spec = PathFinder.find_spec(__name__, [entry for entry in sys.path if os.path.abspath(entry) != HERE])
    if spec is not None and spec.loader is not None:
        module = sys.modules[__name__] = module_from_spec(spec)
        spec.loader.exec_module(module)


if not any(map(os.environ.get, NOT_OF_PROGRAM)):
    set_up()
go_on()
