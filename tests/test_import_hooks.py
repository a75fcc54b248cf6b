"""Functions that are called when a module has been imported."""

from __future__ import annotations

import copy
import importlib
import importlib.abc
import importlib.util
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path

import pytest
import wrapt

from otel_ml.import_hooks import after_import

Module = Callable[[str, str], None]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Module]:
    """Return a function that writes a module, by its dotted name, where it can be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(name: str, text: str) -> None:
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        importlib.invalidate_caches()

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("hooked"):
            del sys.modules[name]


def test_a_hook_is_called_once_when_the_module_is_complete(module: Module) -> None:
    """After its last line; a second import, or a reload, does not call it again."""
    module("hooked_once", "first = 1\nlast = 2\n")
    seen: list[int] = []
    after_import("hooked_once", lambda: seen.append(sys.modules["hooked_once"].last))
    assert seen == []
    imported = importlib.import_module("hooked_once")
    importlib.import_module("hooked_once")
    importlib.reload(imported)
    assert seen == [2]


def test_a_module_that_is_there_calls_the_hook_at_once(module: Module) -> None:
    """So nobody has to look first."""
    module("hooked_there", "")
    importlib.import_module("hooked_there")
    seen: list[str] = []
    after_import("hooked_there", lambda: seen.append("called"))
    assert seen == ["called"]


def test_the_module_has_its_own_loader(module: Module) -> None:
    """For whoever asks it for source or resources, while it is executed and afterwards."""
    module("hooked_loader", "inside = (type(__loader__), type(__spec__.loader))\n")
    after_import("hooked_loader", lambda: None)
    imported = importlib.import_module("hooked_loader")
    assert imported.inside == (SourceFileLoader, SourceFileLoader)
    assert type(imported.__loader__) is SourceFileLoader


def test_who_looks_for_the_module_without_importing_it_can_ask_its_loader(module: Module) -> None:
    """As `pkgutil` and debuggers do."""
    module("hooked_spec", "text = 'here'\n")
    after_import("hooked_spec", lambda: None)
    spec = importlib.util.find_spec("hooked_spec")
    assert spec is not None
    assert spec.loader is not None
    assert spec.loader.get_source("hooked_spec") == "text = 'here'\n"  # type: ignore[attr-defined]
    assert "hooked_spec" not in sys.modules


def test_an_import_that_fails_does_not_count(module: Module) -> None:
    """The hook waits for one that does not."""
    module("hooked_failing", "raise OSError('not now')\n")
    seen: list[str] = []
    after_import("hooked_failing", lambda: seen.append("called"))
    with pytest.raises(OSError, match="not now"):
        importlib.import_module("hooked_failing")
    assert seen == []
    module("hooked_failing", "fine = True  # of another length\n")
    importlib.import_module("hooked_failing")
    assert seen == ["called"]


def test_what_is_found_passes_for_its_own_loader(module: Module) -> None:
    """`isinstance` and copies know no difference."""
    module("hooked_like", "")
    after_import("hooked_like", lambda: None)
    spec = importlib.util.find_spec("hooked_like")
    assert spec is not None
    assert isinstance(spec.loader, SourceFileLoader)
    copied = copy.deepcopy(spec).loader
    assert isinstance(copied, SourceFileLoader)
    assert copied.get_source("hooked_like") == ""


def test_lazy_modules_that_import_each_other_call_theirs(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another finder loads them when they are first asked for something, which may be while hooks are called."""

    class Lazy(importlib.abc.MetaPathFinder):
        def find_spec(self, fullname, path, target=None):
            spec = PathFinder.find_spec(fullname, path, target) if fullname.startswith("hooked_lazy") else None
            if spec is not None and spec.loader is not None:
                spec.loader = importlib.util.LazyLoader(spec.loader)
            return spec

    module("hooked_lazy_outer", "import hooked_lazy_inner\nvalue = hooked_lazy_inner.value\n")
    module("hooked_lazy_inner", "value = 7\n")
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path[:-1], Lazy(), sys.meta_path[-1]])
    seen: list[int] = []
    for name in ("hooked_lazy_outer", "hooked_lazy_inner"):
        after_import(name, lambda name=name: seen.append(sys.modules[name].value))
    importlib.import_module("hooked_lazy_outer")
    assert seen == [7, 7]


def test_a_module_may_call_itself_something_else(module: Module) -> None:
    """It is known by the name that it was imported by."""
    module("hooked_renamed", "__name__ = 'other'\n")
    seen: list[str] = []
    after_import("hooked_renamed", lambda: seen.append("called"))
    importlib.import_module("hooked_renamed")
    assert seen == ["called"]


def test_a_hook_that_raises_leaves_the_others_for_the_next_import(module: Module) -> None:
    """As Ctrl-C may do; the import has failed by it."""
    module("hooked_raising", "")
    seen: list[str] = []

    def interrupted() -> None:
        raise KeyboardInterrupt

    after_import("hooked_raising", interrupted)
    after_import("hooked_raising", lambda: seen.append("called"))
    with pytest.raises(KeyboardInterrupt):
        importlib.import_module("hooked_raising")
    importlib.import_module("hooked_raising")
    assert seen == ["called"]


def test_a_hook_that_is_withdrawn_is_not_called(module: Module) -> None:
    """Others of the same module are; to withdraw it later, or again, does nothing."""
    module("hooked_withdrawn", "")
    seen: list[str] = []
    withdraw = after_import("hooked_withdrawn", lambda: seen.append("first"))
    after_import("hooked_withdrawn", lambda: seen.append("second"))
    withdraw()
    withdraw()
    importlib.import_module("hooked_withdrawn")
    withdraw()
    assert seen == ["second"]


def test_a_module_that_does_not_exist_is_as_missing_as_before() -> None:
    """With the message of the interpreter."""
    after_import("hooked_nowhere", lambda: None)
    with pytest.raises(ModuleNotFoundError, match="No module named 'hooked_nowhere'"):
        importlib.import_module("hooked_nowhere")


def test_modules_inside_packages_and_each_other_call_theirs(module: Module) -> None:
    """The one that is imported by the other first."""
    module("hooked_package.__init__", "from hooked_package import inner\n")
    module("hooked_package.inner", "")
    seen: list[str] = []
    after_import("hooked_package", lambda: seen.append("package"))
    after_import("hooked_package.inner", lambda: seen.append("inner"))
    importlib.import_module("hooked_package")
    assert seen == ["inner", "package"]


@pytest.mark.parametrize("ours_first", [True, False], ids=["ours first", "theirs first"])
def test_hooks_of_another_library_are_called_too(module: Module, *, ours_first: bool) -> None:
    """`wrapt` waits for the same module, with a finder of its own that asks all finders."""
    name = f"hooked_both_{ours_first}".lower()
    module(name, "")
    seen: list[str] = []
    hooks = [
        lambda: after_import(name, lambda: seen.append("ours")),
        lambda: wrapt.register_post_import_hook(lambda _: seen.append("theirs"), name),
    ]
    for register in hooks if ours_first else reversed(hooks):
        register()
    importlib.import_module(name)
    assert sorted(seen) == ["ours", "theirs"]


def test_a_module_in_a_zip_archive_calls_its_own_hook_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Module
) -> None:
    """Its loader is that of all modules in the archive."""
    archive = tmp_path / "modules.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("hooked_zip_one.py", "")
        file.writestr("hooked_zip_two.py", "")
    monkeypatch.syspath_prepend(archive)
    seen: list[str] = []
    after_import("hooked_zip_one", lambda: seen.append("one"))
    importlib.import_module("hooked_zip_two")
    assert seen == []
    importlib.import_module("hooked_zip_one")
    assert seen == ["one"]


def test_threads_that_import_at_once_call_it_once(module: Module) -> None:
    """And each of them finds the module patched."""
    module("hooked_threads", "import time\ntime.sleep(0.05)\n")
    seen: list[str] = []
    after_import("hooked_threads", lambda: seen.append("called"))
    found: list[int] = []

    def work() -> None:
        importlib.import_module("hooked_threads")
        found.append(len(seen))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 8


def test_to_set_up_telemetry_loads_neither_asyncio_nor_wrapt(tmp_path: Path) -> None:
    """They cost a short program more than what is watched in it."""
    program = (
        "import sys, otel_ml; otel_ml.configure().shutdown(); print({'asyncio', 'wrapt'} & set(sys.modules) or 'none')"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["none"]
