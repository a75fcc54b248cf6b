"""What the processes of a stage of DVC have in common; `tests/integrations/test_dvc.py` has the real one."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from otel_ml import conventions, dvc_process
from support import run_python

CHILD = "from otel_ml import dvc_process; print(*dvc_process.common({'DVC_STAGE': 'train'}) or ['nothing'])"

# A program whose name has `dvc` in it, as that of DVC has; it starts two processes of a stage, one below a shell.
PARENT = f"""
import os, subprocess, sys
stage = os.environ | {{"DVC_STAGE": "train"}}
child = [sys.executable, "-P", "-c", {CHILD!r}]
subprocess.run(child, env=stage, check=True)
subprocess.run(["sh", "-c", '"$@"; true', "sh", *child], env=stage, check=True)
"""


def ran(folder: Path, name: str) -> list[str]:
    (folder / name).write_text(PARENT)
    done = subprocess.run([sys.executable, "-P", folder / name], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="ancestors are found in /proc")
def test_processes_below_one_process_of_dvc_agree(tmp_path: Path) -> None:
    """On an id of a run that sorts by time, and on a trace; processes below another have others."""
    first, second = ran(tmp_path, "dvc"), ran(tmp_path, "dvc")
    assert first[0] == first[1] and second[0] == second[1] != first[0]
    run_id, traceparent = first[0].split()
    assert uuid.UUID(run_id).version == 7 and uuid.UUID(run_id).variant == uuid.RFC_4122
    assert run_id < second[0].split()[0]
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", traceparent)


def test_where_dvc_is_not_found_there_is_nothing_in_common(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of a stage, below another program, and where there is no `/proc`."""
    assert dvc_process.common({}) is None
    monkeypatch.setattr(dvc_process, "_PROC", tmp_path)
    assert dvc_process.common({"DVC_STAGE": "without proc"}) is None
    done = run_python(
        """
        from otel_ml import dvc_process
        dvc_process._dvc = lambda in_stage: None
        print(dvc_process.common({"DVC_STAGE": "x"}))
        """
    )
    assert done.stdout == "None\n", done.stderr


def test_the_name_of_the_stage_is_on_everything_all_the_same() -> None:
    """With the process's own run where there is no other."""
    done = run_python(
        f"""
        import otel_ml
        from otel_ml import dvc_process
        dvc_process._dvc = lambda in_stage: None
        from otel_ml.execution import current_run, process_run_id
        run = current_run()
        assert run.labels == {{"{conventions.DVC_STAGE}": "train", "{conventions.DVC_EXPERIMENT}": "tried"}}
        assert run.id == process_run_id()
        with otel_ml.run("inner") as inner:
            assert inner.id == run.id and inner.labels == run.labels
        """,
        env={"DVC_STAGE": "train", "DVC_EXP_NAME": "tried"},
    )
    assert (done.returncode, done.stderr) == (0, "")
