from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time
from pathlib import Path

from otel_ml import health
from otel_ml.logs.archive import compress
from otel_ml.logs.files import LogFile
from otel_ml.options import Logs

DAY = 86_400.0


def _line(text: object) -> bytes:
    return f'{{"timestamp":"2026-11-22T16:39:48.123456Z","message":"{text}"}}\n'.encode()


def test_retention_deletes_by_age_and_total_size_and_nothing_else(tmp_path: Path) -> None:
    """Old files of earlier runs go, then the oldest beyond the total; live, own and foreign files stay."""
    now = time.time()

    def make(name: str, size: int, age: float) -> None:
        (tmp_path / name).write_bytes(b"x" * size)
        os.utime(tmp_path / name, (now - age, now - age))

    dead = 2**22 + 1  # above the largest pid
    make(f"shop-20200101T000000Z-{dead}.log", 10, 40 * DAY)
    make(f"shop-20200101T000000Z-{dead}.log.3.gz", 10, 40 * DAY)
    make(f"shop-20260101T000000Z-{dead}.log.1.gz", 600, 3 * DAY)
    make(f"shop-20260101T000000Z-{dead}.log.2.gz", 600, 2 * DAY)
    make(f"shop-20260102T000000Z-{dead}.log", 300, 1 * DAY)
    make(f"shop-20260102T000000Z-{os.getppid()}.log", 5000, 5 * DAY)  # a process that lives
    make("shop-notes.log", 10_000, 400 * DAY)
    make("other-20200101T000000Z-1.log", 10_000, 400 * DAY)
    make("shop.log.txt", 10_000, 400 * DAY)
    file = LogFile(tmp_path, "shop", Logs(retention_bytes=1000, compress=False))
    file.write([_line(1)])
    assert file.close(30.0)
    assert {path.name for path in tmp_path.iterdir() if str(os.getpid()) not in path.name} == {
        f"shop-20260101T000000Z-{dead}.log.2.gz", f"shop-20260102T000000Z-{dead}.log",
        f"shop-20260102T000000Z-{os.getppid()}.log", "shop-notes.log", "other-20200101T000000Z-1.log", "shop.log.txt",
    }  # fmt: skip


def test_retention_can_be_off(tmp_path: Path) -> None:
    """With both bounds at 0 nothing is deleted, however old or big."""
    old = tmp_path / "shop-20200101T000000Z-99999999.log"
    old.write_bytes(b"x" * 100)
    os.utime(old, (0, 0))
    file = LogFile(tmp_path, "shop", Logs(retention_age=0.0, retention_bytes=0))
    file.write([_line(1)])
    assert file.close(30.0)
    assert old.exists()


def test_interrupted_compression_is_done_again(tmp_path: Path) -> None:
    """A rotated file whose compression a crash interrupted is compressed by the next process."""
    left = tmp_path / "shop-20260101T000000Z-99999999.log.1"
    left.write_bytes(_line("kept"))
    Path(f"{left}.gz.tmp").write_bytes(b"half")
    file = LogFile(tmp_path, "shop", Logs())
    file.write([_line("own")])
    assert file.close(30.0)
    assert not left.exists()
    assert gzip.decompress(Path(f"{left}.gz").read_bytes()) == _line("kept")
    assert not Path(f"{left}.gz.tmp").exists()


def test_failing_archive_is_survived(tmp_path: Path) -> None:
    """An archive that fails, here at a directory in the way of its file, is counted, and lines go on being written."""
    left = tmp_path / "shop-20260101T000000Z-99999999.log.1"
    left.write_bytes(_line("kept"))
    Path(f"{left}.gz.tmp").mkdir()
    file = LogFile(tmp_path, "shop", Logs())
    file.write([_line("own")])
    assert file.close(30.0)
    assert health.dropped()["internal", "archiving of log files"] == 1
    assert left.read_bytes() == _line("kept")


def test_file_that_another_process_compresses_is_left_to_it(tmp_path: Path) -> None:
    """A rotated file that is locked is not compressed a second time."""
    path = tmp_path / "shop-20260101T000000Z-1.log.1"
    path.write_bytes(_line("x"))
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import fcntl,time;f=open({str(path)!r});fcntl.flock(f,2);print('ok',flush=True);time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        compress(path)
        assert [item.name for item in tmp_path.iterdir()] == [path.name]
    finally:
        holder.kill()
        holder.communicate()
    compress(path)
    assert [item.name for item in tmp_path.iterdir()] == [f"{path.name}.gz"]
