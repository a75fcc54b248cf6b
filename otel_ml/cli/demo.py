"""`otel-ml demo`: trains and serves a real model, and shows what otel_ml saw of it."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text

import otel_ml
from otel_ml.cli import render
from otel_ml.cli.show import show
from otel_ml.settings import Settings, resolve

_SPANS_SHOWN = 32
_WHY = (
    "select time, model_name, model_version, error_type, exception_message, features, trace_id "
    "from predictions where status = 'error' and run_id = '{run_id}'"
)


def demo(directory: Path | None) -> int:
    """Run the demo and print what was recorded.

    Args:
        directory: State directory, or None for the default one.

    Returns:
        0, or 2 when scikit-learn is not installed or nothing is recorded to local files.
    """
    if importlib.util.find_spec("sklearn") is None:
        print("otel-ml demo needs scikit-learn. Install it with: pip install 'otel-ml[demo]'", file=sys.stderr)
        return 2
    console = render.make_console()
    obstacle = _obstacle(resolve({}))
    if obstacle:
        print(obstacle, file=sys.stderr)
        return 2
    console.print("Training two models and serving 300 predictions, one of which will fail ...\n")
    quiet = otel_ml.Logs(format="none")  # what is logged is shown afterwards, with the spans it belongs to
    with otel_ml.configure(service_name="otel-ml-demo", directory=directory, logs=quiet) as telemetry:
        from otel_ml.cli import demo_model  # noqa: PLC0415  scikit-learn takes a second to import

        with otel_ml.run("demo", config=demo_model.CONFIG) as run:
            demo_model.main()
    explain = partial(_explain, run.id, directory, console)
    show(run.id, directory=telemetry.directory.parent, logs=True, limit=_SPANS_SHOWN, more=explain)
    for command, purpose in (
        (f"otel-ml show {run.id}", "this again"),
        ("otel-ml run -- python your_script.py", "the same for a program of yours"),
    ):
        console.print(Text(f"  {command}").append(f"  # {purpose}", style="dim"), soft_wrap=True)
    return 0


def _explain(run_id: str, directory: Path | None, console: Console) -> None:
    """Ask the audit trail which prediction failed and why, by the command that is printed."""
    from otel_ml.audit import MissingExtraError, place  # noqa: PLC0415  needed now only
    from otel_ml.audit.reading.query import run  # noqa: PLC0415
    from otel_ml.cli import audit_output  # noqa: PLC0415

    folder, sql = place.find(), _WHY.format(run_id=run_id)
    where = "" if directory is None else f" --dir {shlex.quote(str(folder))}"
    console.print(render.heading("Audit trail", "which prediction failed, of what, and in which trace"))
    console.print(Text(f'  otel-ml audit query "{sql}"{where}'), soft_wrap=True)
    console.print()
    try:
        with run(sql, directory=folder) as result:
            audit_output.print_result(result, "table")
    except MissingExtraError as error:
        console.print(Text(str(error), style="yellow"))


def _obstacle(settings: Settings) -> str:
    """Return why there would be nothing to show; empty when there will be."""
    if settings.disabled:
        return "OTEL_SDK_DISABLED=true turns all telemetry off. Unset it to see the demo."
    names = settings.exporters["traces"]
    if "file" not in names:
        where = ", ".join(names) or "nowhere"
        return (
            f"The demo shows what is in local files, but traces go to: {where}. "
            "Unset OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_TRACES_EXPORTER to see it."
        )
    return ""
