"""Functions that are called when a module has been imported, as PEP 369 had it.

Our own code instead of `wrapt`: to import that takes longer than to set up traces, for it loads asyncio.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, cast

_waiting: dict[str, list[Callable[[], None]]] = {}


def after_import(module: str, hook: Callable[[], None]) -> Callable[[], None]:
    """Call a function as soon as a module has been imported, once; at once where that was so before.

    An import that fails is none: the next one calls it. A module that is imported just now counts as imported.

    Args:
        module: Name of the module.
        hook: What it raises is raised by the import.

    Returns:
        A function that keeps it from being called, where that has not happened yet.
    """

    def withdraw() -> None:
        hooks = _waiting.get(module, [])
        if hook in hooks:
            hooks.remove(hook)

    if module in sys.modules:
        hook()
    else:
        _waiting.setdefault(module, []).append(hook)
        if _FINDER not in sys.meta_path:
            sys.meta_path.insert(0, _FINDER)
    return withdraw


class _Finder(MetaPathFinder):
    """Has the others find what is waited for, and its loader tell when it is there."""

    def __init__(self) -> None:
        self._finding = threading.local()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        # Another library's finder of this kind begins anew with all finders, so also with this one.
        outer = getattr(self._finding, "name", None)
        if not _waiting.get(fullname) or outer == fullname:
            return None
        self._finding.name = fullname
        try:
            spec = _found(fullname, path, target)
        finally:
            self._finding.name = outer
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = cast("Loader", _TellingLoader(spec.loader, fullname))  # it is taken by what it can do
        return spec


_FINDER = _Finder()


def _found(fullname: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
    for finder in list(sys.meta_path):
        if finder is not _FINDER and (find := getattr(finder, "find_spec", None)) is not None:
            spec: ModuleSpec | None = find(fullname, path, target)
            if spec is not None:
                return spec
    return None


class _TellingLoader:
    """A module's own loader, for whoever asks; the module is executed by that, which is told then."""

    def __init__(self, loader: Any, name: str) -> None:
        self._loader = loader
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name == "_loader":  # a copy that is not filled yet
            raise AttributeError(name)
        return getattr(self._loader, name)

    @property  # type: ignore[misc]  # isinstance asks it, and nobody sets it
    def __class__(self) -> Any:
        return type(self._loader)

    def exec_module(self, module: ModuleType) -> None:
        """Execute a module, which has its own loader again by then, and call who waits for it."""
        if module.__loader__ is self:
            module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        hooks = _waiting.get(self._name, [])  # the module may call itself something else, or load when it is asked
        while hooks:
            hooks.pop(0)()
        _waiting.pop(self._name, None)
