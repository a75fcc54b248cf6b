"""`run.json` beside a run's files."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from otel_ml.manifest import Manifest


def content(directory: Path) -> dict[str, object]:
    return json.loads((directory / "run.json").read_text())  # type: ignore[no-any-return]


def test_it_is_written_at_once_and_brought_up_to_date(tmp_path: Path) -> None:
    """A run that dies leaves what is known of it; the first run of the process names the folder."""
    manifest = Manifest(tmp_path, "id-1", "api")
    assert content(tmp_path)["status"] == "running" and content(tmp_path)["name"] == "api"
    manifest.add_run("id-1", "nightly")
    manifest.add_run("id-2", "second")
    manifest.finish("ok")
    found = content(tmp_path)
    assert (found["name"], found["status"], found["runs"]) == ("nightly", "ok", {"id-1": "nightly", "id-2": "second"})
    assert found["pid"] == os.getpid() and found["ended"]
    assert stat.S_IMODE((tmp_path / "run.json").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_process_that_joins_a_run_leaves_its_description_alone(tmp_path: Path) -> None:
    """The one that opened the folder describes it."""
    Manifest(tmp_path, "id-1", "parent")
    child = Manifest(tmp_path, "id-1", "child")
    child.finish("error")
    assert (content(tmp_path)["service"], content(tmp_path)["status"]) == ("parent", "running")


def test_the_command_line_is_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password on the command line does not end up in a file."""
    monkeypatch.setattr("sys.argv", ["train.py", "--password=hunter2"])
    Manifest(tmp_path, "id", "s")
    assert "hunter2" not in (tmp_path / "run.json").read_text()


def test_a_folder_that_went_away_is_said_and_survived(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The program goes on."""
    folder = tmp_path / "gone"
    folder.mkdir()
    manifest = Manifest(folder, "id", "s")
    (folder / "run.json").unlink()
    folder.rmdir()
    manifest.finish("ok")
    assert "run.json cannot be written" in caplog.text
