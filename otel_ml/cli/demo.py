"""`otel-ml demo`: trains and serves a real model, and shows what otel_ml saw of it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from rich.text import Text

import otel_ml
from otel_ml.cli import render
from otel_ml.cli.show import show

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
    telemetry = otel_ml.configure(service_name="otel-ml-demo", directory=directory, logs=otel_ml.Logs(format="none"))
    if telemetry.settings.disabled:
        print("OTEL_SDK_DISABLED=true turns all telemetry off. Unset it to see the demo.", file=sys.stderr)
        return 2
    console.print("Training two models and serving 300 predictions, one of which will fail ...\n")
    with telemetry:
        from otel_ml.cli import demo_model  # noqa: PLC0415  scikit-learn takes a second to import

        with otel_ml.run("demo", config=demo_model.CONFIG) as run:
            demo_model.main()
    if not any(telemetry.directory.glob("traces-*.jsonl")):
        where = ", ".join(sorted({name for names in telemetry.settings.exporters.values() for name in names}))
        print(f"The demo ran, and its telemetry went to: {where or 'nowhere'}.", file=sys.stderr)
        print("To have it shown here, unset OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_TRACES_EXPORTER.", file=sys.stderr)
        return 2
    show(run.id, directory=telemetry.directory.parent, logs=True, limit=_SPANS_SHOWN)
    for command, purpose in (
        (f"otel-ml show {run.id}", "this again"),
        ("otel-ml run -- python your_script.py", "the same for a program of yours"),
    ):
        console.print(Text(f"  {command}").append(f"  # {purpose}", style="dim"), soft_wrap=True)
    return 0
