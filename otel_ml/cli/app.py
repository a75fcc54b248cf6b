"""The `otel-ml` command line. A command's module is imported when the command runs, so that help stays quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from otel_ml.cli.audit import app as audit
from otel_ml.errors import Error

USAGE_ERROR = 2

app = typer.Typer(
    name="otel-ml",
    help="See what your machine learning code did: traces, logs and latencies of recorded runs, without any server.",
    epilog="Start with: otel-ml demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(audit, name="audit")

Directory = Annotated[
    Path | None,
    typer.Option(
        "--dir", help="State directory that holds the runs. Default: $OTEL_ML_DIR, else ./.otel_ml.", metavar="DIR"
    ),
]
RUN_HELP = "Folder, run id, run name, or the beginning or end of an id."


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415

        print(f"otel-ml {version('otel-ml')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """See what your machine learning code did: traces, logs and latencies of recorded runs, without any server."""


@app.command()
def demo(directory: Directory = None) -> None:
    """Train a small model, serve 300 predictions of which one fails, and show what was recorded. Takes seconds."""
    from otel_ml.cli.demo import demo as run_demo  # noqa: PLC0415

    raise typer.Exit(run_demo(directory))


@app.command()
def show(
    run: Annotated[str | None, typer.Argument(help=f"{RUN_HELP} Default: the newest run.", metavar="[RUN]")] = None,
    directory: Directory = None,
    logs: Annotated[bool, typer.Option("--logs/--no-logs", help="Print the log lines.")] = True,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Spans and log lines printed at most, of each.")] = 40,
) -> None:
    """Show a run: the trace with its times, log lines, failures, where the time went, and latency histograms."""
    from otel_ml.cli.show import show as show_run  # noqa: PLC0415

    show_run(run, directory=directory, logs=logs, limit=limit)


@app.command()
def find(
    name: Annotated[
        str,
        typer.Argument(
            help="Id of a run, trace, MLflow run or Prefect run, a DVC stage, a Hydra job, an Optuna trial (study#7).",
            metavar="NAME",
        ),
    ],
    directory: Directory = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print lists of names by attribute.")] = False,
) -> None:
    """Find what every other tool calls an execution, whichever of its names you have."""
    from otel_ml.cli.find import find as find_names  # noqa: PLC0415

    find_names(name, directory=directory, as_json=as_json)


@app.command(
    context_settings={
        "allow_interspersed_args": False,
        "ignore_unknown_options": True,
        "help_option_names": ["--help"],
    },
)
def run(
    command: Annotated[list[str], typer.Argument(help="The command and its arguments.", metavar="-- COMMAND...")],
    name: Annotated[str | None, typer.Option("--name", help="Name of the run. Default: the script's.")] = None,
    dvc: Annotated[
        bool, typer.Option("--dvc", help="Fail when the stages of DVC could not be watched: it is not installed here.")
    ] = False,
    directory: Directory = None,
) -> None:
    """Run any command as a run: a Python program gets traces, JSON logs and a run id without a change of its code."""
    from otel_ml.cli.launch import launch  # noqa: PLC0415

    if dvc:
        from otel_ml.patches import require  # noqa: PLC0415

        require("dvc")
    raise typer.Exit(launch(command, directory=directory, name=name))


@app.command(context_settings={"help_option_names": ["--help"]})
def step(  # noqa: PLR0917  typer's, which takes them by name
    name: Annotated[str, typer.Argument(help="Name of the step.", metavar="NAME")],
    command: Annotated[
        list[str] | None,
        typer.Argument(help="A command and its arguments; with --call: key=value...", metavar="-- COMMAND..."),
    ] = None,
    inputs: Annotated[
        list[str] | None, typer.Option("--in", help="File or folder that it reads. May be repeated.", metavar="PATH")
    ] = None,
    outputs: Annotated[
        list[str] | None, typer.Option("--out", help="File or folder that it writes. May be repeated.", metavar="PATH")
    ] = None,
    call: Annotated[
        str | None,
        typer.Option("--call", help="Call a Python function instead of a command.", metavar="MODULE:FUNCTION"),
    ] = None,
    config_path: Annotated[
        Path | None, typer.Option("--config-path", help="Folder of the Hydra config for --call.", metavar="DIR")
    ] = None,
    config_name: Annotated[
        str | None,
        typer.Option("--config-name", help="Hydra config whose keys are the function's arguments.", metavar="NAME"),
    ] = None,
    directory: Directory = None,
) -> None:
    """Run any command, or a Python function, as a step: a span in the run around it, with its files described."""
    from otel_ml.cli import step as steps  # noqa: PLC0415

    words, reads, writes = command or [], inputs or [], outputs or []
    if call is None:
        raise typer.Exit(steps.run_command(name, words, inputs=reads, outputs=writes, directory=directory))
    steps.call(
        name, call, words, inputs=reads, outputs=writes,
        config_path=config_path, config_name=config_name, directory=directory,
    )  # fmt: skip


@app.command()
def push(
    run: Annotated[str, typer.Argument(help=RUN_HELP, metavar="RUN")],
    endpoint: Annotated[
        str | None,
        typer.Option("--endpoint", help="OTLP/HTTP endpoint. Default: $OTEL_EXPORTER_OTLP_ENDPOINT.", metavar="URL"),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header", metavar="NAME=VALUE",
            help="Sent with each request, for example a token. Adds to $OTEL_EXPORTER_OTLP_HEADERS. May be repeated.",
        ),
    ] = None,
    directory: Directory = None,
) -> None:  # fmt: skip
    """Send a recorded run to an OTLP endpoint: each line once, however often you call it."""
    from otel_ml.cli.push import push as push_run  # noqa: PLC0415

    raise typer.Exit(push_run(run, endpoint=endpoint, headers=header or [], directory=directory))


@app.command()
def doctor(directory: Directory = None) -> None:
    """Check the set-up: what is configured and by what, whether files can be written and the endpoint answers."""
    from otel_ml.cli.doctor import doctor as diagnose  # noqa: PLC0415

    raise typer.Exit(diagnose(directory))


def main() -> None:
    """Run the command line; what the user got wrong ends with a message and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a log line may hold what this terminal cannot show
    try:
        app()
    except Error as error:
        print(f"otel-ml: {error}", file=sys.stderr)
        sys.exit(USAGE_ERROR)


if __name__ == "__main__":
    main()
