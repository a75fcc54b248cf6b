"""The `otel-ml` command line. A command's module is imported when the command runs, so that help stays quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from otel_ml.cli.audit import app as audit
from otel_ml.errors import Error

USAGE_ERROR = 2
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it; click's own, 1, says of `audit verify` that a chain does not hold."""

in_directory = click.option(
    "--dir", "directory", type=click.Path(path_type=Path), metavar="DIR",
    help="State directory that holds the runs. Default: $OTEL_ML_DIR, else ./.otel_ml.",
)  # fmt: skip


class _Group(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)


@click.group(
    cls=_Group,
    name="otel-ml",
    epilog="Start with: otel-ml demo",
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 120},
)
@click.version_option(package_name="otel-ml", message="%(prog)s %(version)s", help="Print the version and exit.")
def app() -> None:
    """See what your machine learning code did: traces, logs and latencies of recorded runs, without any server."""


app.add_command(audit)


@app.command()
@in_directory
def demo(directory: Path | None) -> None:
    """Train a model, serve 300 predictions, and show what was recorded.

    One of the predictions fails. It takes seconds.
    """
    from otel_ml.cli.demo import demo as run_demo  # noqa: PLC0415

    sys.exit(run_demo(directory))


@app.command()
@click.argument("run", required=False)
@in_directory
@click.option("--logs/--no-logs", default=True, help="Print the log lines.")
@click.option("--limit", type=click.IntRange(min=1), default=40, help="Spans and log lines printed at most, of each.")
def show(run: str | None, directory: Path | None, limit: int, *, logs: bool) -> None:
    """Show a run: its trace, log lines, failures and latencies.

    RUN is a folder, run id, run name, or the beginning or end of an id. Default: the newest run.
    """
    from otel_ml.cli.show import show as show_run  # noqa: PLC0415

    show_run(run, directory=directory, logs=logs, limit=limit)


@app.command()
@click.argument("name")
@in_directory
@click.option("--json", "as_json", is_flag=True, help="Print lists of names by attribute.")
def find(name: str, directory: Path | None, *, as_json: bool) -> None:
    """Find what every other tool calls an execution.

    NAME is whichever of its names you have: the id of a run, trace, MLflow run or Prefect run, a DVC stage, a Hydra
    job, an Optuna trial (study#7).
    """
    from otel_ml.cli.find import find as find_names  # noqa: PLC0415

    find_names(name, directory=directory, as_json=as_json)


@app.command(
    context_settings={
        "allow_interspersed_args": False,
        "ignore_unknown_options": True,
        "help_option_names": ["--help"],
    },
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
@click.option("--name", help="Name of the run. Default: the script's.")
@click.option("--dvc", is_flag=True, help="Fail when the stages of DVC could not be watched: it is not installed here.")
@in_directory
def run(command: tuple[str, ...], name: str | None, directory: Path | None, *, dvc: bool) -> None:
    """Run any command, with traces, JSON logs and a run id.

    A Python program gets them without a change of its code.
    """
    from otel_ml.cli.launch import launch  # noqa: PLC0415

    if dvc:
        from otel_ml.patches import require  # noqa: PLC0415

        require("dvc")
    sys.exit(launch(list(command), directory=directory, name=name))


@app.command(context_settings={"help_option_names": ["--help"]})
@click.argument("name")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="-- COMMAND...")
@click.option("--in", "inputs", multiple=True, metavar="PATH", help="File or folder that it reads. May be repeated.")
@click.option("--out", "outputs", multiple=True, metavar="PATH", help="File or folder that it writes. May be repeated.")
@click.option("--call", metavar="MODULE:FUNCTION", help="Call a Python function instead of a command.")
@click.option(
    "--config-path", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the Hydra config for --call."
)
@click.option("--config-name", metavar="NAME", help="Hydra config whose keys are the function's arguments.")
@in_directory
def step(
    *,
    name: str,
    command: tuple[str, ...],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    call: str | None,
    config_path: Path | None,
    config_name: str | None,
    directory: Path | None,
) -> None:
    """Run any command, or a Python function, as a step of a run.

    It gets a span in the run around it, with its files described. With --call COMMAND is the function's arguments,
    key=value each.
    """
    from otel_ml.cli import step as steps  # noqa: PLC0415

    words, reads, writes = list(command), list(inputs), list(outputs)
    if call is None:
        sys.exit(steps.run_command(name, words, inputs=reads, outputs=writes, directory=directory))
    steps.call(
        name, call, words, inputs=reads, outputs=writes,
        config_path=config_path, config_name=config_name, directory=directory,
    )  # fmt: skip


@app.command()
@click.argument("run")
@click.option("--endpoint", metavar="URL", help="OTLP/HTTP endpoint. Default: $OTEL_EXPORTER_OTLP_ENDPOINT.")
@click.option(
    "--header", "headers", multiple=True, metavar="NAME=VALUE",
    help="Sent with each request, for example a token. Adds to $OTEL_EXPORTER_OTLP_HEADERS. May be repeated.",
)  # fmt: skip
@in_directory
def push(run: str, endpoint: str | None, headers: tuple[str, ...], directory: Path | None) -> None:
    """Send a recorded run to an OTLP endpoint.

    Each line is sent once, however often you call it. RUN is a folder, run id, run name, or the beginning or end of
    an id.
    """
    from otel_ml.cli.push import push as push_run  # noqa: PLC0415

    sys.exit(push_run(run, endpoint=endpoint, headers=list(headers), directory=directory))


@app.command()
@in_directory
def doctor(directory: Path | None) -> None:
    """Check the set-up: settings, files and endpoint.

    It says what is configured and by what, whether files can be written and the endpoint answers.
    """
    from otel_ml.cli.doctor import doctor as diagnose  # noqa: PLC0415

    sys.exit(diagnose(directory))


def main() -> None:
    """Run the command line; what the user got wrong ends with a message and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a log line may hold what this terminal cannot show
    try:
        app(prog_name="otel-ml")
    except Error as error:
        print(f"otel-ml: {error}", file=sys.stderr)
        sys.exit(USAGE_ERROR)


if __name__ == "__main__":
    main()
