"""A program's own `basicConfig` after `configure` works as it does without us."""

from __future__ import annotations

import json
from pathlib import Path

from support import run_python


def test_a_programs_basic_config_takes_effect_and_each_line_is_shown_once(tmp_path: Path) -> None:
    """Level, format and file are the program's; our stream falls silent; our file gets the records."""
    done = run_python(
        """
        import logging, otel_ml
        with otel_ml.configure() as telemetry:
            logging.info("before")
            telemetry.flush()
            logging.basicConfig(filename="mine.log", format="MINE %(message)s", level=logging.DEBUG)
            logging.debug("after")
            assert len([h for h in logging.getLogger().handlers if type(h).__module__.startswith("otel_ml")]) == 1
        assert logging.basicConfig.__module__ == "logging"
        print(telemetry.directory)
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine.log").read_text() == "MINE after\n"
    *shown, directory = done.stdout.splitlines()
    assert [json.loads(line)["message"] for line in shown] == ["before"]
    (log,) = Path(directory).glob("*.log")
    assert [json.loads(line)["message"] for line in log.read_text().splitlines()] == ["before", "after"]


def test_a_basic_config_that_raises_leaves_our_handler_on(tmp_path: Path) -> None:
    """The error is the program's."""
    done = run_python(
        """
        import logging, otel_ml
        with otel_ml.configure(logs=otel_ml.Logs(format="none")) as telemetry:
            try:
                logging.basicConfig(nonsense=1)
            except ValueError as error:
                print(error)
            logging.warning("still heard")
        print(next(telemetry.directory.glob("*.log")).read_text())
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "nonsense" in done.stdout and "still heard" in done.stdout
