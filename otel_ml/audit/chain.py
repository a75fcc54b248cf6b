"""The hash chain of a process: each line commits to all lines before it."""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

_HEAD: Final = b',"hash":"'
_TAIL: Final = b'"}\n'
_SEAL: Final = len(_HEAD) + 64 + len(_TAIL)
_PIECE: Final = 2047
"""Bytes that are hashed at once. From one more on, hashlib releases the GIL, and a busy program keeps it for 5 ms."""


_SHORT: Final = _PIECE - 31


class Chain:
    """Where a chain has got to. It seals lines when they are written, and checks them when they are read.

    A line is `<body>,"hash":"<64 hex digits>"}` and a line break. Its hash is the SHA-256 of the hash of the line
    before, as 32 bytes, and of the body, which ends with the sequence number.

    Args:
        root: Hash of the line before, or what `start_of` returns for the first one.
        seq: Sequence number of the next line.
    """

    __slots__ = ("root", "seq")

    def __init__(self, root: bytes, seq: int = 0) -> None:
        self.root = root
        self.seq = seq

    def seal(self, body: bytes) -> bytes:
        """Return the next line.

        Args:
            body: A JSON object with at least one field, without the brace that closes it.
        """
        return self.seal_all([body])

    def seal_all(self, bodies: Iterable[bytes]) -> bytes:
        """Return the next lines, one after the other.

        Args:
            bodies: See `seal`.
        """
        root, seq = self.root, self.seq
        pieces: list[bytes] = []
        for unnumbered in bodies:
            body = b'%b,"seq":%d' % (unnumbered, seq)
            root = sha256(root + body).digest() if len(body) < _SHORT else _link(root, body)
            pieces += (body, _HEAD, hexlify(root), _TAIL)
            seq += 1
        self.root, self.seq = root, seq
        return b"".join(pieces)

    def check(self, line: bytes) -> str:
        """Return what is wrong with the next line, and go on to the one after it when that is nothing.

        Args:
            line: What was read, with its line break.

        Returns:
            Empty when the line holds, else a phrase.
        """
        if not line.endswith(b"\n"):
            return "the line is not complete"
        body, seal = line[:-_SEAL], line[-_SEAL:]
        if not seal.startswith(_HEAD) or not seal.endswith(_TAIL):
            return "the line does not end with its hash"
        root = _link(self.root, body)
        if seal != b"%b%b%b" % (_HEAD, hexlify(root), _TAIL):
            return "the hash does not follow from the line and the one before: one of them was changed, or is missing"
        if not body.endswith(b',"seq":%d' % self.seq):
            return f"the sequence number is not {self.seq}"
        self.root = root
        self.seq += 1
        return ""


def start_of(name: str) -> bytes:
    """Return what the first line of a chain is hashed with.

    Args:
        name: Name of the file that the chain begins in; of a segment the one that it has when it is sealed.
    """
    return sha256(b"otel_ml.audit" + name.encode()).digest()


def _link(previous: bytes, body: bytes) -> bytes:
    if len(body) < _SHORT:
        return sha256(previous + body).digest()
    digest = sha256(previous)
    for start in range(0, len(body), _PIECE):
        digest.update(body[start : start + _PIECE])
    return digest.digest()
