"""Writes the dashboards as JSON, for Grafana to read: `python grafana/dashboards`, or with `--check` to compare."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

import health
import model
import overview
import runs
from grafana_foundation_sdk.cog.encoder import JSONEncoder

DIRECTORY: Final = Path(__file__).parent / "json"


def generated() -> dict[Path, str]:
    """Return each file's content."""
    pages = [module.build().build() for module in (overview, model, runs, health)]
    encoder = JSONEncoder(indent=2, sort_keys=True, ensure_ascii=False)
    return {DIRECTORY / f"{page.uid}.json": encoder.encode(page) + "\n" for page in pages}


def differences() -> list[str]:
    """Return what is wrong with each file that is not as generated."""
    wanted = generated()
    wrong = [f"{path.name} is not generated" for path in sorted(DIRECTORY.glob("*.json")) if path not in wanted]
    for path, text in wanted.items():
        if not path.exists():
            wrong.append(f"{path.name} is missing")
        elif path.read_text("utf-8") != text:
            wrong.append(f"{path.name} differs from what the code generates")
    return wrong


def main() -> int:
    """Write the files, or with `--check` say which differ, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python grafana/dashboards", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is not as generated")
    if not parser.parse_args().check:
        DIRECTORY.mkdir(exist_ok=True)
        for path, text in generated().items():
            path.write_text(text, "utf-8")
        return 0
    wrong = differences()
    if wrong:
        print(
            "\n".join([*wrong, "Run `python grafana/dashboards` and commit grafana/dashboards/json."]), file=sys.stderr
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
