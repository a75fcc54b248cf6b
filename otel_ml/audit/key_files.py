"""Files that hold one secret key each: made once, whichever process comes first, and destroyed for good.

Overwriting removes a key from the file system that it is on. It does not reach copies: back up the audit trail without
its folder `keys`, or an erased subject comes back with the backup. On disks that write elsewhere what is written
again (SSDs, copy-on-write file systems, snapshots) only an encrypted disk makes destroyed certain.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from otel_ml.audit.segment import sync_directory
from otel_ml.errors import Error

LENGTH = 32
"""Bytes of a key."""


class KeyFileError(Error):
    """A key file does not hold a key."""


def folder_of(directory: Path) -> Path:
    """Return the folder of an audit directory's keys, which is made (mode 0700) when it is missing.

    Args:
        directory: Audit directory.
    """
    folder = directory / "keys"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def load(path: Path) -> bytes | None:
    """Return the key in a file, or None when there is no such file.

    Args:
        path: The file.

    Raises:
        KeyFileError: It holds something else.
        OSError: It cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        key = os.read(descriptor, LENGTH + 1)
    finally:
        os.close(descriptor)
    if len(key) != LENGTH:
        raise KeyFileError(
            f"{path}: expected a key of {LENGTH} bytes, received {len(key)}{' or more' * (len(key) > LENGTH)}. "
            "Restore the file; with another key the same subjects get other pseudonyms, or records stay unreadable."
        )
    return key


def load_or_create(path: Path) -> bytes:
    """Return the key in a file; a new one, on the disk when this returns, where there is none.

    Of several processes that do so at once one makes the key, and all return it.

    Args:
        path: The file, in a folder that exists.

    Raises:
        KeyFileError: It holds something else.
        OSError: It cannot be read or made.
    """
    while (key := load(path)) is None:  # again, when it is destroyed in between
        _create(path)
    return key


def _create(path: Path) -> None:
    # Under its name a file is complete from the start: a link to it fails where another process was faster.
    draft = path.with_name(f".new-{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, secrets.token_bytes(LENGTH))
        os.fsync(descriptor)
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.close(descriptor)
        draft.unlink()
    sync_directory(path.parent)


def withdraw(path: Path) -> list[Path]:
    """Take a key out of use and overwrite it, and return the files to `remove`: none when there was no key.

    Who opened the file before reads the key or random bytes, nothing that could be guessed.

    Args:
        path: The file. One process at a time may do so.

    Raises:
        OSError: It could not be done; doing it again goes on where this has stopped.
    """
    doomed = path.with_name(f".erase-{path.name}")
    found = _overwrite(doomed)  # left by a process that was killed
    with suppress(FileNotFoundError):
        path.rename(doomed)
        found = _overwrite(doomed) or found
    return [doomed] if found else []


def _overwrite(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        os.write(descriptor, secrets.token_bytes(LENGTH))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return True


def remove(paths: list[Path]) -> None:
    """Delete files that `withdraw` has returned, for good when this returns.

    Args:
        paths: The files, all of one folder.

    Raises:
        OSError: One could not be deleted.
    """
    for path in paths:
        path.unlink(missing_ok=True)
        sync_directory(path.parent)
