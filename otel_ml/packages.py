"""Versions of the packages that a process has imported, found in an eighth of the time of `importlib.metadata`.

It reads the same files, each once and as bytes: a run is described in every process of a pipeline, beside what the
program does.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from otel_ml import health

if TYPE_CHECKING:
    from importlib.metadata import Distribution

_MOST = 256
_METADATA = ("METADATA", "PKG-INFO")
_NAME = re.compile(rb"^Name:[ \t]*(\S+)", re.MULTILINE)
_VERSION = re.compile(rb"^Version:[ \t]*(\S+)", re.MULTILINE)
_NO_MODULE = re.compile(r'^$|[/,"\n.]')
_REST = rb'(?:\.py|\.[^/,"\n]*(?:so|pyd))?[/,"]'
_TOP_LEVEL = re.compile(rb'\n"?([^/,"\n.]+)' + _REST)


@functools.lru_cache(maxsize=8)
def versions_of(modules: frozenset[str]) -> dict[str, str]:
    """Return the version of each distribution that provides one of some top-level modules, by its name; 256 at most."""
    versions: dict[str, str] = {}
    recorded = _recorded(modules)
    for folder in _metadata_folders():
        try:
            if _provides(folder, modules, recorded):
                name, version = _name_and_version(folder)
                versions.setdefault(name, version)
        except Exception as error:  # half-removed distributions lie around in many environments
            health.internal_error("reading of package metadata", error)
    return dict(sorted(versions.items())[:_MOST])


def with_entry_points(mark: bytes) -> list[Distribution]:
    """Return the distributions whose list of entry points has a text in it, as `importlib.metadata` gives them.

    Args:
        mark: Such as the beginning of a group's name.
    """
    from importlib.metadata import Distribution, distributions  # noqa: PLC0415  30 ms, for a set-up program only

    if _has_archives():
        return list(distributions())
    return [Distribution.at(folder) for folder in _named().values() if mark in _content(folder, "entry_points.txt")]


def installed(name: str) -> Distribution | None:
    """Return a distribution by its name, as `importlib.metadata` gives it; None: it is not installed."""
    from importlib.metadata import Distribution, PackageNotFoundError, distribution  # noqa: PLC0415  as above

    if _has_archives():
        try:
            return distribution(name)
        except PackageNotFoundError:
            return None
    folder = _named().get(_normal(name))
    return None if folder is None else Distribution.at(folder)


def top_level_modules(content: Callable[[str], bytes]) -> set[str]:
    """Return the top-level modules of a distribution.

    Args:
        content: Returns what is in a file of its metadata; nothing when there is none.
    """
    listed = content("top_level.txt").split()
    return {name.decode(errors="replace") for name in listed or _TOP_LEVEL.findall(b"\n" + content("RECORD"))}


def _path() -> list[str]:
    """Return where modules are looked for: of what is there, the texts; a program may put anything there."""
    entries: list[Any] = [*sys.path]
    return list(dict.fromkeys(entry for entry in entries if isinstance(entry, str)))


def _has_archives() -> bool:
    """Whether modules may come from zip files or eggs, however they are called: in there are no folders of ours."""
    return any(path.endswith(".egg") or os.path.isfile(path) for path in _path())


def _named() -> dict[str, str]:
    """Return the folder of each distribution by its normal name: the first one on the path."""
    return _named_in(tuple((path, _changed(path)) for path in _path()))


@functools.lru_cache(maxsize=1)
def _named_in(places: tuple[tuple[str, int], ...]) -> dict[str, str]:
    return {_name_of(folder): folder for folder in reversed([*_metadata_folders()])}


def _changed(path: str) -> int:
    try:
        return os.stat(path or ".").st_mtime_ns
    except (OSError, ValueError):
        return 0


def _name_of(folder: str) -> str:
    return _normal(os.path.splitext(os.path.basename(folder))[0].partition("-")[0])


def _normal(name: str) -> str:
    """Return the name of a distribution as all of its spellings have it, see PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _metadata_folders() -> Iterator[str]:
    for path in _path():
        try:
            with os.scandir(path or ".") as entries:
                yield from [entry.path for entry in entries if entry.name.endswith((".dist-info", ".egg-info"))]
        except (OSError, ValueError):  # a zip file, no longer there, or no path at all
            continue


def _provides(folder: str, modules: frozenset[str], recorded: re.Pattern[bytes]) -> bool:
    listed = _content(folder, "top_level.txt").split()
    if listed:
        return not modules.isdisjoint(name.decode(errors="replace") for name in listed)
    return recorded.search(b"\n" + _content(folder, "RECORD")) is not None


def _recorded(modules: frozenset[str]) -> re.Pattern[bytes]:
    """Return what finds one of some modules among the files of a distribution, faster than a list of all names."""
    names = [re.escape(name.encode(errors="replace")) for name in sorted(modules) if not _NO_MODULE.search(name)]
    return re.compile(rb'\n"?(?:' + (b"|".join(names) or rb"[^\s\S]") + rb")" + _REST)


def _name_and_version(folder: str) -> tuple[str, str]:
    metadata = next(filter(None, (_content(folder, name) for name in _METADATA)), b"")
    header = re.split(rb"\r?\n\r?\n", metadata, maxsplit=1)[0]
    name, version = _NAME.search(header), _VERSION.search(header)
    if name is None or version is None:
        raise ValueError(f"{folder} names no distribution and version")
    return name[1].decode(), version[1].decode()


def _content(folder: str, name: str) -> bytes:
    try:
        with open(os.path.join(folder, name), "rb") as file:
            return file.read()
    except OSError:  # it has none, or one that cannot be read
        return b""
