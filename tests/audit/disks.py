"""Disks of a test's own: a file with ext4 on it, which can lose its power, or stop for a while (Linux, as root)."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
_FREEZE, _THAW = 0xC0045877, 0xC0045878  # FIFREEZE, FITHAW
_WITHOUT_JOURNAL = struct.pack("I", 2)  # nothing more reaches the disk, the journal in memory neither


class Disk:
    """An ext4 file system in a file, mounted at `directory`.

    Args:
        folder: Where the file and the mount point are made.
        megabytes: Size.
    """

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.directory = folder / "disk"
        self.directory.mkdir()
        self._image = folder / "disk.ext4"
        with self._image.open("wb") as file:
            file.truncate(megabytes << 20)
        _run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(self._image))
        self.mount()

    def mount(self) -> None:
        """Mount it, which replays the journal."""
        _run("mount", "-o", "loop", str(self._image), str(self.directory))

    def unmount(self) -> None:
        """Unmount it."""
        _run("umount", str(self.directory))

    def lose_power(self) -> None:
        """Keep what is on the disk at this moment, and nothing of what the kernel would still have written."""
        self._control(_SHUTDOWN, _WITHOUT_JOURNAL)

    def freeze(self) -> None:
        """Make everyone wait who writes or syncs."""
        self._control(_FREEZE, struct.pack("I", 0))

    def thaw(self) -> None:
        """Let them go on."""
        self._control(_THAW, struct.pack("I", 0))

    def _control(self, command: int, argument: bytes) -> None:
        descriptor = os.open(self.directory, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, command, argument)
        finally:
            os.close(descriptor)


@contextmanager
def mounted(folder: Path, megabytes: int = 128) -> Iterator[Disk | None]:
    """Give a disk, or None where one cannot be made."""
    disk = None
    if shutil.which("mkfs.ext4") and shutil.which("mount"):
        try:
            disk = Disk(folder, megabytes)
        except subprocess.CalledProcessError:
            disk = None
    try:
        yield disk
    finally:
        if disk is not None:
            subprocess.run(["umount", "-l", str(disk.directory)], check=False, capture_output=True)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
