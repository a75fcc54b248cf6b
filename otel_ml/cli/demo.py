"""`otel-ml demo`: trains and serves a real model, and shows what otel_ml saw of it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from rich.text import Text

import otel_ml
from otel_ml.cli import render
from otel_ml.cli.show import show
from otel_ml.settings import Settings, resolve

_SPANS_SHOWN = 32


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
    show(run.id, directory=telemetry.directory.parent, logs=True, limit=_SPANS_SHOWN)
    for command, purpose in (
        (f"otel-ml show {run.id}", "this again"),
        ("otel-ml run -- python your_script.py", "the same for a program of yours"),
    ):
        console.print(Text(f"  {command}").append(f"  # {purpose}", style="dim"), soft_wrap=True)
    return 0


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
