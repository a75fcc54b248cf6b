"""Functions that are called when a module has been imported, as PEP 369 had it.

Our own code instead of `wrapt`: to import that takes longer than to set up traces, for it loads asyncio.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_waiting: dict[str, list[Callable[[], None]]] = {}
_lock = threading.Lock()


def after_import(module: str, hook: Callable[[], None]) -> None:
    """Call a function as soon as a module has been imported, once; at once where that was so before.

    An import that fails is none: the next one calls it. A module that is imported just now counts as imported.

    Args:
        module: Name of the module.
        hook: What it raises is raised by the import.
    """
    with _lock:
        is_there = module in sys.modules
        if not is_there:
            _waiting.setdefault(module, []).append(hook)
            if _FINDER not in sys.meta_path:
                sys.meta_path.insert(0, _FINDER)
    if is_there:
        hook()


class _Finder(MetaPathFinder):
    """Has the others find what is waited for, and its loader tell when it is there."""

    def __init__(self) -> None:
        self._finding = threading.local()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        # Another library's finder of this kind begins anew with all finders, so also with this one.
        if fullname not in _waiting or getattr(self._finding, "name", None) == fullname:
            return None
        outer = getattr(self._finding, "name", None)
        self._finding.name = fullname
        try:
            spec = _found(fullname, path, target)
        finally:
            self._finding.name = outer
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _TellingLoader(spec.loader)  # type: ignore[assignment]  # it is taken by what it can do
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
    """A module's own loader until the module is executed, which it does and tells."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_loader"], name)

    def exec_module(self, module: ModuleType) -> None:
        """Execute a module, which has its own loader again by then, and call who waits for it."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        with _lock:
            hooks = _waiting.pop(module.__name__, [])
        for hook in hooks:
            hook()
