from __future__ import annotations

import gzip
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ml import health
from otel_ml.logs import files
from otel_ml.logs.archive import Archive
from otel_ml.logs.files import LogFile
from otel_ml.options import Logs
from support import run_python


def _line(text: object) -> bytes:
    return f'{{"timestamp":"2026-11-22T16:39:48.123456Z","message":"{text}"}}\n'.encode()


def _everything(directory: Path) -> list[str]:
    """Return the messages of all files, compressed ones included, oldest rotation first."""
    messages = []
    for path, number in sorted(Archive(directory, "shop", Logs()).files(), key=lambda item: item[1] or 10**9):
        assert number or path.suffix == ".log"
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        messages += [json.loads(line)["message"] for line in data.splitlines()]
    return messages


def test_file_has_service_time_and_pid_in_its_name_and_is_private(tmp_path: Path) -> None:
    """The file is named after service, time and process, and like its directory readable by its owner alone."""
    directory = tmp_path / "new" / "logs"
    file = LogFile(directory, "my shop/1", Logs())
    assert not directory.exists()  # made when there is something to write
    file.write([_line(1)])
    (path,) = directory.iterdir()
    assert re.fullmatch(rf"my_shop_1-\d{{8}}T\d{{6}}Z-{os.getpid()}\.log", path.name)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    file.close(30.0)


@given(sizes=st.lists(st.integers(0, 300), max_size=30), limit=st.integers(1, 1000))
def test_rotation_by_size_loses_no_line_and_keeps_the_bound(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], limit: int
) -> None:
    """Whatever is written, every line is in one file once, in order, and no file with several writes is too big."""
    directory = tmp_path_factory.mktemp("logs")
    file = LogFile(directory, "shop", Logs(max_bytes=limit, compress=False))
    lines = [_line(f"{number}-{'x' * size}") for number, size in enumerate(sizes)]
    for line in lines:
        file.write([line])
    file.close(30.0)
    assert b"".join(lines).decode() == "".join(
        path.read_text()
        for path, _ in sorted(Archive(directory, "shop", Logs()).files(), key=lambda item: item[1] or 10**9)
    )
    longest = max(map(len, lines), default=0)
    assert all(path.stat().st_size <= max(limit, longest) for path in directory.iterdir())


def test_rotated_files_are_compressed_private_and_complete(tmp_path: Path) -> None:
    """A rotated file becomes `.log.<n>.gz`, mode 0600, and holds what was written."""
    file = LogFile(tmp_path, "shop", Logs(max_bytes=200))
    for number in range(12):
        file.write([_line(number)])
        assert file.close(30.0)
    names = sorted(path.name.partition(".log")[2] for path in tmp_path.iterdir())
    assert names == sorted(["", *(f".{number}.gz" for number in range(1, len(names)))])
    assert len(names) > 3
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in tmp_path.iterdir())
    assert _everything(tmp_path) == [str(number) for number in range(12)]


def test_age_rotates_and_a_clock_that_jumps_back_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Age is measured on the monotonic clock: the wall clock may jump by years without a rotation or an error."""
    clock = SimpleNamespace(monotonic=lambda: 1000.0, time=time.time)
    monkeypatch.setattr(files, "time", clock)
    file = LogFile(tmp_path, "shop", Logs(max_age=60.0, compress=False))
    file.write([_line(1)])
    clock.time = lambda: 0.0
    clock.monotonic = lambda: 1059.0
    file.write([_line(2)])
    assert len(list(tmp_path.iterdir())) == 1
    clock.monotonic = lambda: 1060.0
    file.write([_line(3)])
    assert file.close(30.0)
    assert len(list(tmp_path.iterdir())) == 2
    assert _everything(tmp_path) == ["1", "2", "3"]


def test_append_continues_the_file_and_repairs_a_torn_tail(tmp_path: Path) -> None:
    """With `append` the name has neither time nor pid, and a half line that a killed process left stays by itself."""
    (tmp_path / "shop.log").write_bytes(_line("before") + b'{"message":"to')
    file = LogFile(tmp_path, "shop", Logs(append=True, max_age=0.0))
    file.write([_line("after")])
    file.close(30.0)
    assert (tmp_path / "shop.log").read_bytes() == _line("before") + b'{"message":"to\n' + _line("after")


@pytest.mark.parametrize(
    ("stamp", "files_after"), [("2001-01-01T00:00:00Z", 2), ("2999-01-01T00:00:00Z", 1), ("garbage", 1)]
)
def test_age_of_a_continued_file_is_that_of_its_first_line(tmp_path: Path, stamp: str, files_after: int) -> None:
    """A file of yesterday is rotated although this process is young; a first line from the future does no harm."""
    (tmp_path / "shop.log").write_text(f'{{"timestamp":"{stamp}"}}\n')
    file = LogFile(tmp_path, "shop", Logs(append=True, compress=False))
    file.write([_line(1)])
    file.close(30.0)
    assert len(list(tmp_path.iterdir())) == files_after


def test_removed_or_moved_file_is_opened_anew(tmp_path: Path) -> None:
    """When someone moves the file or removes the whole directory, the next write makes it again."""
    directory = tmp_path / "logs"
    file = LogFile(directory, "shop", Logs())
    file.write([_line(1)])
    (path,) = directory.iterdir()
    path.rename(tmp_path / "moved")
    file.write([_line(2)])
    assert path.read_bytes() == _line(2)
    assert file.close(30.0)  # no scan of the directory may be under way while it goes
    path.unlink()
    directory.rmdir()
    file.write([_line(3)])
    assert path.read_bytes() == _line(3)
    file.close(30.0)


def test_write_failure_is_counted_said_once_and_recovered_from(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """While the directory cannot be made lines are counted as lost, with one warning; then writing goes on."""
    blocked = tmp_path / "logs"
    blocked.write_text("a file where the directory should be")
    file = LogFile(blocked, "shop", Logs())
    file.write([_line(1), _line(2)])
    file.write([_line(3)])
    assert health.dropped()["logs", "write_failed"] == 3
    assert len([record for record in caplog.records if "cannot be written" in record.getMessage()]) == 1
    blocked.unlink()
    file.write([_line(4)])
    assert _everything(blocked) == ["4"]
    file.close(30.0)


def test_full_disk_leaves_whole_lines_only(tmp_path: Path) -> None:
    """When the disk takes only a part of a write, that part is cut off again, and later lines are written."""
    done = run_python(
        f"""
        import resource, signal
        from pathlib import Path
        from otel_ml import health
        from otel_ml.logs.files import LogFile
        from otel_ml.options import Logs
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        file = LogFile(Path({str(tmp_path)!r}), "shop", Logs())
        file.write([b'{{"message":"first"}}\\n'])
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        file.write([b'{{"message":"%s"}}\\n' % (b"x" * 500)])
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        file.write([b'{{"message":"last"}}\\n'])
        assert health.dropped() == {{("logs", "write_failed"): 1}}, health.dropped()
        file.close(30.0)
        """
    )
    assert done.returncode == 0, done.stderr
    assert _everything(tmp_path) == ["first", "last"]


WRITER = """
import os, sys, time
from pathlib import Path
from otel_ml.logs.files import LogFile
from otel_ml.options import Logs
directory = Path(sys.argv[1])
file = LogFile(directory, "shop", Logs(max_bytes=4000, append=True))
print("ready", flush=True)
sys.stdin.readline()
for number in range(1500):
    file.write([b'{"message":"%d-%d"}\\n' % (os.getpid(), number)])
assert file.close(30.0)
"""


def test_processes_that_append_to_one_file_and_rotate_it_lose_nothing(tmp_path: Path) -> None:
    """Three processes that append to, rotate and compress one file at once lose no line and tear none."""
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    found = _everything(tmp_path)
    assert len(found) == len(set(found)) == 4500
    assert {int(message.split("-")[0]) for message in found} == {writer.pid for writer in writers}


def test_forked_child_writes_its_own_file(tmp_path: Path) -> None:
    """A child of a fork opens a file with its own pid and leaves its parent's alone."""
    done = run_python(
        f"""
        import os
        from pathlib import Path
        from otel_ml.logs.files import LogFile
        from otel_ml.options import Logs
        file = LogFile(Path({str(tmp_path)!r}), "shop", Logs())
        file.write([b'{{"message":"parent"}}\\n'])
        file.close(30.0)
        file.write([b'{{"message":"parent"}}\\n'])
        child = os.fork()
        file.write([b'{{"message":"%s"}}\\n' % (b"after" if child else b"child")])
        file.close(30.0)
        if not child:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        """
    )
    assert done.returncode == 0, done.stderr
    contents = {path.read_text() for path in tmp_path.iterdir()}
    assert contents == {'{"message":"parent"}\n' * 2 + '{"message":"after"}\n', '{"message":"child"}\n'}


def test_killed_process_leaves_whole_lines_and_at_most_one_torn_tail(tmp_path: Path) -> None:
    """After kill -9 in the middle of writing every line but perhaps the last is whole, and none is missing between."""
    code = f"""
import logging
from pathlib import Path
from opentelemetry.sdk.resources import Resource
from otel_ml.logs import start
from otel_ml.options import Logs
start(Logs(format="none"), service="shop", resource=Resource({{}}), directory=Path({str(tmp_path)!r}), exporter=None,
      set_level=False)
number = 0
while True:
    logging.getLogger("app").info("%d %s", number, "x" * 2000)
    number += 1
"""
    writer = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size > 500_000 for path in tmp_path.glob("*.log")):
        assert time.monotonic() < deadline, "nothing was written"
        assert writer.poll() is None
        time.sleep(0.01)
    writer.send_signal(signal.SIGKILL)
    writer.wait(30)
    (path,) = tmp_path.glob("*.log")
    *whole, _tail = path.read_bytes().split(b"\n")
    for line in whole:
        assert json.loads(line)["logger"] in ("app", "otel_ml")
    assert len(whole) > 100
