"""The command line itself: help, version, exit codes, and which arguments reach which command."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from otel_ml.cli import launch
from support import run_python

COMMANDS = ("demo", "show", "run", "push", "doctor")


def test_help_names_every_command(cli) -> None:
    """A newcomer sees what there is, and with which command to start."""
    result = cli("--help")
    assert result.exit_code == 0
    assert all(f" {command} " in result.stdout for command in COMMANDS)
    assert "otel-ml demo" in result.stdout
    assert cli("-h").stdout == result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(cli, command: str) -> None:
    """Help of a command says where runs are looked for."""
    result = cli(command, "--help")
    assert result.exit_code == 0
    assert "$OTEL_ML_DIR" in result.stdout


def test_without_a_command_help_is_shown(cli) -> None:
    """No argument is a question, not a mistake to be scolded for."""
    assert "Commands" in cli().output


def test_the_version_is_that_of_the_distribution(cli) -> None:
    """`--version` prints one line and does nothing else."""
    result = cli("--version")
    assert (result.exit_code, result.stdout) == (0, f"otel-ml {version('otel-ml')}\n")


@pytest.mark.parametrize(
    "arguments",
    [("frobnicate",), ("show", "--what"), ("show", "--limit", "many"), ("push",), ("run",), ("show", "a", "b")],
)
def test_a_wrong_command_line_is_exit_code_2(cli, arguments: tuple[str, ...]) -> None:
    """Usage errors are told apart from failures."""
    result = cli(*arguments)
    assert result.exit_code == 2
    assert "Usage" in result.output


def test_ctrl_c_is_exit_code_130(tmp_path: Path) -> None:
    """As shells have it, and no other command's answer: 1 would say that a chain of the audit trail does not hold."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "otel_ml.cli.app", "doctor", "--dir", str(tmp_path)],
            env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        connection, _ = silent.accept()
        with connection:
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 130


def test_help_loads_neither_the_sdk_nor_what_commands_need() -> None:
    """`otel-ml --help` stays quick: what a command needs is imported when it runs."""
    result = run_python(
        """
        import sys
        from otel_ml.cli import app
        try:
            sys.argv = ["otel-ml", "--help"]
            app.main()
        except SystemExit as end:
            assert end.code == 0, end.code
        heavy = {"opentelemetry.sdk", "requests", "grpc", "sklearn", "numpy", "orjson", "google.protobuf"}
        print("LOADED", sorted(heavy & set(sys.modules)), "otel_ml.cli.show" in sys.modules)
        """
    )
    assert "LOADED [] False" in result.stdout, result.stdout + result.stderr


def test_an_error_of_ours_is_a_message_and_exit_code_2(tmp_path: Path, command) -> None:
    """What the user can mend is said in one line, on stderr, without a traceback."""
    result = command("show", "--dir", tmp_path / "empty")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("otel-ml: There is no recorded run in ")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--", "python", "train.py", "--epochs", "3"), (["python", "train.py", "--epochs", "3"], None, None)),
        (("python", "-c", "pass", "--help"), (["python", "-c", "pass", "--help"], None, None)),
        (("--name", "n", "--dir", "d", "--", "make", "--", "-k"), (["make", "--", "-k"], Path("d"), "n")),
        (("--", "x", "--name", "theirs", "--dir=d", ""), (["x", "--name", "theirs", "--dir=d", ""], None, None)),
        (("--", "--odd-program", "-h"), (["--odd-program", "-h"], None, None)),
    ],
)
def test_arguments_of_the_command_reach_it_untouched(
    cli, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], expected: tuple
) -> None:
    """Our options end where the command begins; its own are never read as ours. Its exit code is ours."""
    seen = []

    def launched(command, *, directory, name):
        seen.append((command, directory, name))
        return 7

    monkeypatch.setattr(launch, "launch", launched)
    assert cli("run", *arguments).exit_code == 7
    assert seen == [expected]


def test_show_without_a_run_takes_the_newest(record, state: Path, cli) -> None:
    """The run that one has just made is the one that one wants to see."""
    record("01930000-0000-7000-8000-0000000000aa", name="old", status="ok", started="2024-01-01T00:00:00Z")
    record("019a0000-0000-7000-8000-0000000000bb", name="new", status="ok")
    assert cli("show", "--dir", state).stdout.startswith("run new  ok\n")
    assert cli("show", "old", "--dir", state).stdout.startswith("run old  ok\n")
