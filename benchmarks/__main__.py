"""`python -m benchmarks`: measure, print the table, and keep it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import machine, report
from benchmarks.rounds import Size, run
from benchmarks.rows import ROWS, chosen
from benchmarks.summary import summarise

HOME = Path(__file__).resolve().parent


def main() -> int:
    """Run the benchmarks that the command line asks for; 1 when something of ours could not be measured."""
    arguments = _arguments()
    size = Size(arguments.rounds, arguments.calls, arguments.backlog)
    about = machine.describe()
    rows = chosen(arguments.only)
    result: dict[str, Any] = {
        "machine": about,
        "settings": {"rounds": size.rounds, "calls": size.calls, "backlog": size.backlog},
        "rows": summarise(rows, run(rows, size, lambda text: print(text, file=sys.stderr, flush=True))),
    }
    page = report.markdown(result)
    print(page)
    if arguments.output is not None or not arguments.only:
        _keep(result, page, arguments.output or HOME)
    else:
        print("Not kept: this was a part of the table (give --output to keep it).", file=sys.stderr)
    return int(any(row["status"] == "not measured" and row["group"] != "peer" for row in result["rows"]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, epilog=f"rows: {' '.join(row.key for row in ROWS)}"
    )
    parser.add_argument("--rounds", type=_positive, default=9, help="default 9")
    parser.add_argument("--calls", type=_positive, default=5000, help="calls a row makes in a round; default 5000")
    parser.add_argument("--backlog", type=_positive, default=200_000, help="spans left waiting; default 200000")
    parser.add_argument("--only", nargs="+", default=[], metavar="ROW", help="these rows, and their references")
    parser.add_argument("--output", type=Path, help="folder of RESULTS.md and results/; default: this package's")
    arguments = parser.parse_args()
    try:
        chosen(arguments.only)
    except ValueError as error:
        parser.error(str(error))
    return arguments


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number


def _keep(result: dict[str, Any], page: str, folder: Path) -> None:
    """Keep a run in `results/`, and put the newest page of each Python together in RESULTS.md, the oldest first."""
    kept = folder / "results"
    kept.mkdir(parents=True, exist_ok=True)
    name = f"{machine.python_series()}_{result['machine']['date'][:10]}"
    (kept / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    (kept / f"{name}.md").write_text(page, "utf-8")
    newest = {path.name.partition("_")[0]: path for path in sorted(kept.glob("*_*.md"))}
    pages = [path.read_text("utf-8") for _, path in sorted(newest.items())]
    (folder / "RESULTS.md").write_text("\n".join(pages), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
