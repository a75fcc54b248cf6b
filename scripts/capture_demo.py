"""Draw `docs/images/demo.svg`: what `otel-ml demo` prints on a terminal, as it prints it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

import otel_ml

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "demo.svg"
WIDTH = 108


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
        command = [str(Path(sys.executable).with_name("otel-ml")), "demo"]
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=True)
    output = done.stdout
    places = {folder: "~/fraud", f"{Path(sys.executable).parent}/": "", str(Path(otel_ml.__file__).parents[1]): "..."}
    for place, shown in places.items():
        output = output.replace(place, shown)
    console = Console(record=True, width=WIDTH, file=open(os.devnull, "w"), color_system="truecolor")  # noqa: SIM115
    console.print(Text("$ otel-ml demo", style="bold"))
    console.print(Text.from_ansi(output))
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(console.export_svg(title="otel-ml demo"))


if __name__ == "__main__":
    main()
