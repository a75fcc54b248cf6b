"""A disk with faults: the kernel itself fails or delays chosen system calls of a program (Linux, seccomp).

To be imported by a child process. `install()` filters `write`, `fdatasync` and `fsync` of the threads that are started
after it by the thread that calls it; a thread that was started before decides what happens to each of them.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
import threading
from collections.abc import Callable

_NUMBERS = {"x86_64": (317, {1: "write", 74: "fsync", 75: "fdatasync"}),
            "aarch64": (277, {64: "write", 82: "fsync", 83: "fdatasync"})}  # fmt: skip
AVAILABLE = sys.platform == "linux" and platform.machine() in _NUMBERS

_NEW_LISTENER = 1 << 3
_USER_NOTIF, _ALLOW = 0x7FC00000, 0x7FFF0000
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_CONTINUE = 1

Decision = Callable[[str, str], int | None]
"""From the name of the call and the path of its file to an errno, or None to let it happen. It may take its time."""


def install(decide: Decision) -> None:
    """Let `decide` rule over files whose path it is asked about."""
    number, calls = _NUMBERS[platform.machine()]
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(38, 1, 0, 0, 0):  # no new privileges: then nobody special has to ask for a filter
        raise OSError(ctypes.get_errno(), "prctl")
    listening = threading.Event()
    listener: list[int] = []
    threading.Thread(target=_serve, args=(library, listening, listener, calls, decide), daemon=True).start()
    program = _program(list(calls))
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    found = library.syscall(number, 1, _NEW_LISTENER, header)
    if found < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    listener.append(found)
    listening.set()


def _program(calls: list[int]) -> bytes:
    """Return a BPF program: tell the listener of these calls, allow all others."""
    load, equal, give_back = 0x20, 0x15, 0x06
    steps = [struct.pack("HBBI", load, 0, 0, 0)]
    for position, call in enumerate(calls):
        steps.append(struct.pack("HBBI", equal, len(calls) - position, 0, call))
    steps += [struct.pack("HBBI", give_back, 0, 0, action) for action in (_ALLOW, _USER_NOTIF)]
    return b"".join(steps)


def _serve(
    library: ctypes.CDLL, listening: threading.Event, listener: list[int], calls: dict[int, str], decide: Decision
) -> None:
    listening.wait()
    while True:
        request = ctypes.create_string_buffer(80)
        if library.ioctl(listener[0], ctypes.c_ulong(_RECEIVE), request):
            continue
        threading.Thread(target=_answer, args=(library, listener[0], request.raw, calls, decide), daemon=True).start()


def _answer(library: ctypes.CDLL, listener: int, request: bytes, calls: dict[int, str], decide: Decision) -> None:
    identity, _, _, number, _, _, descriptor = struct.unpack_from("QIIiIQQ", request)
    try:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        path = ""
    error = decide(calls[number], path)
    answer = struct.pack("QqiI", identity, 0, -error if error else 0, 0 if error else _CONTINUE)
    library.ioctl(listener, ctypes.c_ulong(_SEND), answer)
