"""The hash chain of a process: each line commits to all lines before it."""

from __future__ import annotations

from binascii import hexlify
from hashlib import sha256
from typing import Final

from otel_ml.audit.sealing import HEAD, TAIL, link, seal

_SEAL: Final = len(HEAD) + 64 + len(TAIL)


class Chain:
    """Where a chain has got to. It seals lines when they are written, and checks them when they are read.

    A line is `<body>,"hash":"<64 hex digits>"}` and a line break. Its hash is the SHA-256 of the body, which
    ends with the sequence number, and of the hash of the line before, as 32 bytes.

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
        return self.seal_all([body])[0]

    def seal_all(self, bodies: list[bytes], descriptor: int = -1) -> tuple[bytes, int]:
        """Return the next lines, one after the other, and how many bytes of them were written.

        Negative: the number of the error that kept them from being written.

        Args:
            bodies: See `seal`.
            descriptor: File that they are written to, as far as one call does it; negative: none.
        """
        lines, self.root, written = seal(bodies, self.root, self.seq, descriptor)
        self.seq += len(bodies)
        return lines, written

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
        if not seal.startswith(HEAD) or not seal.endswith(TAIL):
            return "the line does not end with its hash"
        root = link(self.root, body)
        if seal != b"%b%b%b" % (HEAD, hexlify(root), TAIL):
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
