"""`make stack-env`: secrets are random, private, written once, and never shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "write_stack_environment.py"
NAMES = ["OTEL_ML_TOKEN", "GRAFANA_ADMIN_PASSWORD", "GRAFANA_SECRET_KEY"]


def write(path: Path) -> str:
    done = subprocess.run([sys.executable, SCRIPT, path], capture_output=True, text=True, timeout=30, check=True)
    return done.stdout + done.stderr


def values(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line and line[0] != "#")


def test_a_new_file_has_random_secrets_that_only_its_owner_can_read(tmp_path: Path) -> None:
    """Two files have nothing in common, and every value is long enough not to be guessed."""
    first, second = tmp_path / "first.env", tmp_path / "second.env"
    write(first)
    write(second)
    assert list(values(first)) == NAMES
    assert first.stat().st_mode & 0o777 == 0o600
    assert all(re.fullmatch(r"[\w-]{40,}", value) for value in values(first).values())
    assert len({*values(first).values(), *values(second).values()}) == 2 * len(NAMES)


def test_no_secret_is_printed(tmp_path: Path) -> None:
    """The output names what was written, and shows none of it."""
    printed = write(tmp_path / ".env")
    assert all(f"wrote {name}" in printed for name in NAMES)
    assert not any(value in printed for value in values(tmp_path / ".env").values())


def test_what_is_there_stays_byte_for_byte(tmp_path: Path) -> None:
    """A second call changes nothing; a file of one's own is only added to."""
    path = tmp_path / ".env"
    mine = "# mine\nLOKI_IMAGE=mirror/loki:1\nexport OTEL_ML_TOKEN='chosen # by me'\nlast=line without end"
    path.write_text(mine)
    printed = write(path)
    completed = path.read_text()
    assert completed.startswith(mine + "\n")
    assert "kept  OTEL_ML_TOKEN" in printed and completed.count("OTEL_ML_TOKEN") == 1
    assert {"GRAFANA_ADMIN_PASSWORD", "GRAFANA_SECRET_KEY"} <= set(values(path))
    assert "wrote" not in write(path)
    assert path.read_text() == completed


@pytest.mark.parametrize("empty", ["OTEL_ML_TOKEN=", "OTEL_ML_TOKEN=''", 'OTEL_ML_TOKEN="" # later'])
def test_an_empty_value_is_none(empty: str, tmp_path: Path) -> None:
    """Compose refuses an empty token, so it gets one: the last line of a name is the one that counts."""
    path = tmp_path / ".env"
    path.write_text(f"{empty}\n")
    assert "wrote OTEL_ML_TOKEN" in write(path)
    assert len(values(path)["OTEL_ML_TOKEN"]) >= 40


def test_a_file_that_others_can_read_becomes_private(tmp_path: Path) -> None:
    """Also when nothing is missing in it."""
    path = tmp_path / ".env"
    write(path)
    path.chmod(0o644)
    assert "wrote" not in write(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """A complete new file takes the place of the old one, so no reader sees half of it; nothing else is left."""
    path = tmp_path / ".env"
    path.write_text("LOKI_IMAGE=mirror/loki:1\n")
    number = path.stat().st_ino
    write(path)
    assert path.stat().st_ino != number
    assert os.listdir(tmp_path) == [".env"]
