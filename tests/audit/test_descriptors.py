"""Locked files, and what forked children have of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from otel_ml.audit.descriptors import open_held, release
from support import run_python


def test_a_file_is_closed_once(tmp_path: Path) -> None:
    """Its number may belong to another file by the second time."""
    descriptor = open_held(tmp_path / "a", os.O_RDWR | os.O_CREAT)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    release(descriptor)
    other = os.open(tmp_path / "a", os.O_RDWR)
    release(descriptor)
    os.fstat(other)
    os.close(other)


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    """That of the system."""
    with pytest.raises(FileNotFoundError):
        open_held(tmp_path / "a", os.O_RDWR)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_child_keeps_no_lock_of_its_parent(tmp_path: Path) -> None:
    """The parent's lock ends with the parent's own file, however long the child lives."""
    done = run_python(
        """
        import fcntl, os, time
        from pathlib import Path
        from otel_ml.audit.descriptors import open_held, release
        held = open_held(Path("a"), os.O_RDWR | os.O_CREAT)
        fcntl.flock(held, fcntl.LOCK_EX)
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.fstat(held)
            except OSError:
                release(held)  # no harm
                os.write(writer, b"x")
                time.sleep(60)
            os._exit(1)
        assert os.read(reader, 1) == b"x"
        release(held)
        other = os.open("a", os.O_RDWR)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.kill(pid, 9)
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_forks_while_files_are_opened_all_the_time_block_nobody(tmp_path: Path) -> None:
    """And no child has any of them."""
    done = run_python(
        """
        import os, threading, time
        from pathlib import Path
        from otel_ml.audit.descriptors import open_held, release
        stop = False
        def use(name):
            while not stop:
                release(open_held(Path(name), os.O_RDWR | os.O_CREAT))
                time.sleep(0.0001)
        for name in "abc":
            threading.Thread(target=use, args=(name,), daemon=True).start()
        for _ in range(100):
            pid = os.fork()
            if pid == 0:
                paths = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                         if os.path.exists(f"/proc/self/fd/{fd}")]
                held = [path for path in paths if path.startswith(os.getcwd() + "/")]
                release(open_held(Path("child"), os.O_RDWR | os.O_CREAT))
                os._exit(len(held))
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        stop = True
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
