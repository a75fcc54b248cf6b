"""Records that only a subject's own key makes readable: to destroy the key is to erase them, and the chain still holds.

Each subject has a key of its own in a file named after the pseudonym. Features and prediction are encrypted before the
line is hashed, so that nothing of the trail has to change when they are erased: not segments, nor Parquet, nor copies
of either.
"""

from __future__ import annotations

import base64
import os
import time
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from otel_ml.audit import key_files, pseudonyms
from otel_ml.audit.extras import require
from otel_ml.errors import Error

RECHECK: Final = 1.0
"""Seconds after which a process that has used a key looks again whether it is still there."""

_FORM: Final = b"\x01"  # AES-256-GCM: this byte, the nonce, the ciphertext with its tag
_NONCE: Final = 12
_MOST_KEPT: Final = 10_000


class SubjectError(Error):
    """Something was given for a subject that is no pseudonym."""


class SubjectKeys:
    """Encrypts for subjects and decrypts with their keys, which are made when they are first needed.

    A key that has been used is kept for `RECHECK` seconds. So long another process may go on with a key that was
    erased: what it writes meanwhile is unreadable from the start. The next record of the subject gets a new key.
    A new key costs two fsyncs, once a subject.

    Args:
        directory: Audit directory.

    Raises:
        MissingExtraError: `cryptography` is not installed.
    """

    def __init__(self, directory: Path) -> None:
        require("cryptography", "encryption", "to encrypt the records of subjects (Audit.encrypt_subjects)")
        self._new_cipher = import_module("cryptography.hazmat.primitives.ciphers.aead").AESGCM
        self._unreadable = import_module("cryptography.exceptions").InvalidTag
        self._folder = directory / "keys"
        self._ciphers: dict[str, tuple[float, Any]] = {}

    def encrypt(self, subject: str, plain: bytes, record_id: str) -> str:
        """Return as base64 text what the subject's key makes readable, as part of this record only.

        Args:
            subject: Pseudonym.
            plain: What to hide, JSON.
            record_id: Identity of the record.

        Raises:
            SubjectError: `subject` is no pseudonym.
            KeyFileError: The key's file does not hold a key.
            OSError: The key cannot be read or made.
        """
        cipher = self._cipher(subject)
        if cipher is None:
            key_files.folder_of(self._folder.parent)
            cipher = self._keep(subject, key_files.load_or_create(self._path(subject)))
        nonce = os.urandom(_NONCE)
        hidden = cipher.encrypt(nonce, plain, record_id.encode())
        return base64.b64encode(_FORM + nonce + hidden).decode()

    def decrypt(self, subject: str, encrypted: str, record_id: str) -> bytes | None:
        """Return what was hidden; None when the key was destroyed, or the text is not that of this record.

        Args:
            subject: Pseudonym.
            encrypted: What `encrypt` has returned.
            record_id: Identity of the record.

        Raises:
            KeyFileError: The key's file does not hold a key.
            OSError: The key cannot be read.
        """
        cipher = self._cipher(subject) if pseudonyms.is_pseudonym(subject) else None
        if cipher is None:
            return None
        try:
            data = base64.b64decode(encrypted, validate=True)
            nonce, hidden = data[1 : 1 + _NONCE], data[1 + _NONCE :]
            return bytes(cipher.decrypt(nonce, hidden, record_id.encode())) if data[:1] == _FORM else None
        except (self._unreadable, ValueError):
            return None

    def _path(self, subject: str) -> Path:
        if not pseudonyms.is_pseudonym(subject):
            raise SubjectError(
                f"subject: expected a pseudonym of 32 hexadecimal digits, received {len(subject)} others"
            )
        return self._folder / f"{subject}.key"

    def _cipher(self, subject: str) -> Any:
        """Return the subject's cipher, or None when there is no key."""
        kept = self._ciphers.get(subject)
        if kept is not None and time.monotonic() < kept[0]:
            return kept[1]
        self._ciphers.pop(subject, None)
        key = key_files.load(self._path(subject))
        return None if key is None else self._keep(subject, key)

    def _keep(self, subject: str, key: bytes) -> Any:
        if len(self._ciphers) >= _MOST_KEPT:
            self._ciphers.clear()
        cipher = self._new_cipher(key)
        self._ciphers[subject] = (time.monotonic() + RECHECK, cipher)
        return cipher


def decrypt(directory: Path, subject: str, encrypted: str, record_id: str) -> bytes | None:
    """Return what was hidden in one record, with the key as it is now; see `SubjectKeys.decrypt`.

    Args:
        directory: Audit directory.
        subject: Pseudonym.
        encrypted: The record's ciphertext.
        record_id: Identity of the record.

    Raises:
        MissingExtraError: `cryptography` is not installed.
        KeyFileError: The key's file does not hold a key.
        OSError: The key cannot be read.
    """
    return SubjectKeys(directory).decrypt(subject, encrypted, record_id)
