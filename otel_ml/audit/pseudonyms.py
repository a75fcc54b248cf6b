"""Pseudonyms of subjects: the same for the same subject, and of no use to whoever lacks the key."""

from __future__ import annotations

import hmac
import os
import re
from pathlib import Path

from otel_ml import health, summaries
from otel_ml.audit import key_files
from otel_ml.plain_copy import copy_of

KEY_VARIABLE = "OTEL_ML_AUDIT_HMAC_KEY"
"""Environment variable with the key of pseudonyms, at least 32 characters, for hosts that have to agree on them."""

_LEAST = 32
_PSEUDONYM = re.compile(r"[0-9a-f]{32}")


def is_pseudonym(text: str) -> bool:
    """Whether a text looks like a pseudonym."""
    return _PSEUDONYM.fullmatch(text) is not None


class Pseudonyms:
    """Turns subjects into pseudonyms; may be used by any number of threads.

    Args:
        directory: Audit directory. Its file `keys/hmac.key` is made when there is none, unless the environment has a
            key in `OTEL_ML_AUDIT_HMAC_KEY`, which goes first.

    Raises:
        KeyFileError: The file does not hold a key.
        OSError: It cannot be read or made.
    """

    def __init__(self, directory: Path) -> None:
        self._key = _from_environment() or key_files.load_or_create(key_files.folder_of(directory) / "hmac.key")

    def of(self, subject: object) -> str | None:
        """Return a subject's pseudonym, 32 hexadecimal digits; None when there is no subject. Never raises.

        Args:
            subject: Text, or a number or id, which is the same as its text. Anything else is a warning and None.
        """
        if subject is None:
            return None
        text = subject if type(subject) is str else _text(subject)
        return None if text is None else _pseudonym(self._key, text)


def candidates(directory: Path, subject: str) -> list[str]:
    """Return every pseudonym that may be meant, in the environment's and in the file's key, and the text if it is one.

    Args:
        directory: Audit directory.
        subject: What was given to `subject=`, or a pseudonym.

    Raises:
        KeyFileError: The file does not hold a key.
        OSError: It cannot be read.
    """
    keys = (_from_environment(), key_files.load(directory / "keys" / "hmac.key"))
    found = [_pseudonym(key, subject) for key in keys if key is not None]
    return [*dict.fromkeys(found), *([subject] if is_pseudonym(subject) else [])]


def _pseudonym(key: bytes, text: str) -> str:
    return hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256")[:16].hex()


def _text(subject: object) -> str | None:
    copy = copy_of(subject)
    if isinstance(copy, (dict, list)) or copy is None or (type(copy) is str and copy.startswith("<type ")):
        health.warn_once(
            "audit.subject",
            "audit: subject: expected text, a number or an id, received %s. Its records have no subject.",
            summaries.type_name(type(subject)),
        )
        return None
    return str(copy)


def _from_environment() -> bytes | None:
    text = os.environ.get(KEY_VARIABLE, "").strip()
    if not text:
        return None
    if len(text) >= _LEAST:
        return text.encode("utf-8", "surrogateescape")
    health.warn_once(  # without the text: it is meant to be a secret
        f"environment:{KEY_VARIABLE}",
        "%s: expected at least %d characters, received %d. The key file is used.",
        KEY_VARIABLE, _LEAST, len(text),
    )  # fmt: skip
    return None
