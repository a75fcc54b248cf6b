"""Numbers and hashes of the lines of a chain, many at once. Where it is compiled, that is done without the GIL."""

from __future__ import annotations

import errno
import os
from binascii import hexlify
from hashlib import sha256
from typing import Final

HEAD: Final = b',"hash":"'
TAIL: Final = b'"}\n'

_PIECE: Final = 2047
"""Bytes that are hashed at once. From one more on, hashlib releases the GIL, and a busy program keeps it for 5 ms."""

_SHORT: Final = _PIECE - 31


def seal(bodies: list[bytes], root: bytes, seq: int, descriptor: int = -1) -> tuple[bytes, bytes, int]:
    """Return lines that follow on one another, as one text.

    Args:
        bodies: JSON objects with at least one field, without the brace that closes them.
        root: Hash of the line before, 32 bytes.
        seq: Sequence number of the first line.
        descriptor: File that the lines are written to with one call, if it is not negative: to take the GIL once less
            in between matters, for a busy program keeps it for 5 ms.

    Returns:
        The lines, the hash of the last one, and how many bytes were written, or the negative number of the error.
    """
    pieces: list[bytes] = []
    for unnumbered in bodies:
        body = b'%b,"seq":%d' % (unnumbered, seq)
        root = link(root, body)
        pieces += (body, HEAD, hexlify(root), TAIL)
        seq += 1
    lines = b"".join(pieces)
    written = 0
    if descriptor >= 0:
        try:
            written = os.write(descriptor, lines)
        except OSError as error:
            written = -(error.errno or errno.EIO)
    return lines, root, written


def link(root: bytes, body: bytes) -> bytes:
    """Return the hash of a line: SHA-256 of the numbered body and of the hash of the line before.

    The body comes first, so that a line is all but hashed before the hash of the one before it is known.

    Args:
        root: Hash of the line before, 32 bytes.
        body: What comes before the hash in the line.
    """
    if len(body) < _SHORT:
        return sha256(body + root).digest()
    digest = sha256()
    for start in range(0, len(body), _PIECE):
        digest.update(body[start : start + _PIECE])
    digest.update(root)
    return digest.digest()
