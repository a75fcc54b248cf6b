"""Methods of estimator classes, replaced by watched ones and put back."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any, cast

from otel_ml import health
from otel_ml.integrations.sklearn.policy import METHODS
from otel_ml.integrations.sklearn.watched import WatchedMethod

_patched: list[tuple[weakref.ref[type], str, WatchedMethod]] = []


def patch_all() -> Callable[[], None]:
    """Watch every estimator class there is and will be; return a function that puts all of them back."""
    base = sys.modules["sklearn.base"]
    hooks = [_hook(kind) for kind in (base.TransformerMixin, base.BaseEstimator)]
    patch_tree(base.BaseEstimator)

    def undo() -> None:
        for unhook in hooks:
            unhook()
        while _patched:
            _restore(*_patched.pop())

    return undo


def patch_tree(root: type) -> None:
    """Watch a class, what it is made of, and what is made of it.

    Args:
        root: A class with methods of an estimator.
    """
    for kind in _subclasses(root, set()):
        _patch(kind)


def _subclasses(root: type, seen: set[type]) -> Iterator[type]:
    if root not in seen:
        seen.add(root)
        yield root
        for kind in cast("list[type]", type.__subclasses__(root)):
            yield from _subclasses(kind, seen)


def _patch(kind: type) -> None:
    for base in kind.__mro__[:-1]:
        own = vars(base)
        for name in METHODS:
            original = own.get(name)
            if original is None or type(original) is WatchedMethod or not hasattr(type(original), "__get__"):
                continue
            if isinstance(original, (classmethod, staticmethod, property)) or _is_abstract(original):
                continue
            try:
                method = WatchedMethod(original)
                setattr(base, name, method)
            except (AttributeError, TypeError):  # a class of C, or one that does not want it
                continue
            _patched.append((weakref.ref(base), name, method))


def _is_abstract(original: Any) -> bool:
    return bool(getattr(original, "__isabstractmethod__", False))


def _restore(reference: weakref.ref[type], name: str, method: WatchedMethod) -> None:
    kind = reference()
    if kind is not None and vars(kind).get(name) is method:  # else somebody has wrapped it since, and calls go through
        setattr(kind, name, method.original)


def _hook(kind: Any) -> Callable[[], None]:
    """Have classes that are made of this one from now on patched, after scikit-learn has wrapped their methods."""

    def __init_subclass__(cls: type, **kwargs: Any) -> None:
        super(kind, cls).__init_subclass__(**kwargs)
        try:
            _patch(cls)
        except Exception as error:  # a metaclass may do anything
            health.internal_error("instrumentation of an estimator class", error)

    hook: Any = classmethod(cast("Any", __init_subclass__))
    before = vars(kind).get("__init_subclass__")
    if before is not None:  # a release that has one of its own there: classes defined later are then not seen
        health.warn_once("sklearn:subclass", "%s has an __init_subclass__; later classes are not watched", kind)
        return lambda: None
    kind.__init_subclass__ = hook

    def unhook() -> None:
        if vars(kind).get("__init_subclass__") is hook:
            del kind.__init_subclass__

    return unhook
