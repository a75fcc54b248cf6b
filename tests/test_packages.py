"""Versions of imported packages: what `importlib.metadata` says."""

from __future__ import annotations

import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from otel_ml import packages


def test_versions_are_those_of_the_standard_library() -> None:
    """The packages found for the imported modules are the ones that `importlib.metadata` finds, with their versions."""
    modules = frozenset(name.partition(".")[0] for name in list(sys.modules)) - sys.stdlib_module_names
    providers = metadata.packages_distributions()
    expected = {name for module in modules for name in providers.get(module, ())}
    found = packages.versions_of(modules)
    assert {"hypothesis", "pytest", "opentelemetry-api"} <= expected
    # a path in a RECORD that begins with `..` (a script) or an absolute one is no module to either
    assert found == {name: metadata.version(name) for name in expected}


def test_a_broken_distribution_costs_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution without readable metadata, as a failed installation leaves it, is counted and passed over."""
    broken = tmp_path / "broken-1.0.dist-info"
    broken.mkdir()
    (broken / "top_level.txt").write_text("pytest\n")
    monkeypatch.syspath_prepend(tmp_path)
    packages.versions_of.cache_clear()
    try:
        versions = packages.versions_of(frozenset({"pytest"}))
    finally:
        packages.versions_of.cache_clear()
    assert versions.get("pytest") == metadata.version("pytest")


def test_what_is_listed_in_a_record_is_found_whatever_its_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package, a module, an extension and a quoted path; not a script, and not what was not imported."""
    folder = tmp_path / "several_things-2.5.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        "Metadata-Version: 2.4\r\nName: several-things\r\nVersion: 2.5\r\n\r\nName: other\r\n"
    )
    (folder / "RECORD").write_text(
        '../../../bin/script,sha256=a,1\npackage_a/__init__.py,,\nmodule_b.py,,\nfast_c.cpython-311.so,,\n"quoted_d/a,b.py",,\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("package_a", "module_b", "fast_c", "quoted_d"):
        assert packages.versions_of(frozenset({module, "unknown"})) == {"several-things": "2.5"}, module
    assert packages.versions_of(frozenset({"script", "..", "module"})) == {}


def test_a_distribution_is_found_by_any_spelling_of_its_name() -> None:
    """It is the one that the standard library finds, also for names with dots, dashes and capitals."""
    for one in metadata.distributions():
        name = one.metadata["Name"]
        found = packages.installed(name.replace("-", "_").upper())
        assert found is not None, name
        assert found.read_text("METADATA") == metadata.distribution(name).read_text("METADATA")
    assert packages.installed("no-such-distribution") is None


@pytest.mark.parametrize("name", ["modules.zip", "modules-1.0-py3-none-any.whl", "modules.egg", "app"])
def test_a_distribution_is_found_where_modules_come_from_a_zip_file_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """There the standard library looks, however the file is called."""
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr(
            "zipped_thing-1.5.dist-info/METADATA", "Metadata-Version: 2.4\nName: zipped-thing\nVersion: 1.5\n"
        )
    monkeypatch.syspath_prepend(tmp_path / name)
    found = packages.installed("zipped-thing")
    assert found is not None
    assert found.version == "1.5"
    assert packages.installed("no-such-distribution") is None


def test_no_module_is_provided_by_nothing() -> None:
    """Whoever imported nothing has no packages."""
    assert packages.versions_of(frozenset()) == {}
