"""Instrumentations that are installed: loaded when their library is imported, in processes of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import run_python

INSTRUMENTATION = """
print("loading {name}")
class Instrumentor:
    def instrument(self, **arguments):
        print("instrumenting for {name}", arguments)
        {act}
"""
LOAD = "import sys\nfrom otel_ml.instrumentors import load_all\nload_all()\nprint('started')\n"


def install(
    folder: Path, name: str, code: str = "", *, version: str = "1.5", metadata: str = "", entry: str = ""
) -> None:
    """Install a distribution that has one module of its name."""
    (folder / f"{name}.py").write_text(code)
    about = folder / f"{name}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{metadata}")
    (about / "RECORD").write_text(f"{name}.py,,\n{about.name}/METADATA,,\n")
    if entry:
        (about / "entry_points.txt").write_text(f"[opentelemetry_instrumentor]\n{entry} = {name}:Instrumentor\n")


def instrument(folder: Path, library: str, requirement: str | None = None, *, act: str = "pass") -> None:
    """Install an instrumentation for a library."""
    name = f"for_{library}"
    wanted = f"Requires-Dist: {requirement or library}; extra == 'instruments'\nProvides-Extra: instruments\n"
    code = INSTRUMENTATION.format(name=library, act=act)
    install(folder, name, code, metadata="" if requirement == "" else wanted, entry=library)


def ran(folder: Path, code: str, **environment: str) -> list[str]:
    """Return what a program prints that has the folder on its path."""
    done = run_python(f"import sys; sys.path.insert(0, {str(folder)!r})\n{code}", env=environment)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.splitlines()


def test_an_instrumentation_is_loaded_when_its_library_is_imported(tmp_path: Path) -> None:
    """Not before, once, and before the program gets anything of the library."""
    install(tmp_path, "library", "print('library')")
    instrument(tmp_path, "library")
    program = LOAD + "from library import __name__\nprint('imported')\nimport library\n"
    assert ran(tmp_path, program) == [
        "started", "library", "loading library", "instrumenting for library {'skip_dep_check': True}", "imported",
    ]  # fmt: skip


@pytest.mark.parametrize("requirement", [None, ""])
def test_an_instrumentation_is_loaded_at_once_where_it_cannot_wait(tmp_path: Path, requirement: str | None) -> None:
    """Its library is there already, or nobody says which one it is for."""
    install(tmp_path, "library")
    instrument(tmp_path, "library", requirement)
    program = ("import library\n" if requirement is None else "") + LOAD
    assert ran(tmp_path, program)[-2:] == ["instrumenting for library {'skip_dep_check': True}", "started"]


def test_what_is_not_installed_is_not_instrumented(tmp_path: Path) -> None:
    """A module of the same name that some other distribution brings changes nothing."""
    instrument(tmp_path, "library")
    (tmp_path / "library.py").write_text("")
    assert ran(tmp_path, LOAD + "import library") == ["started"]


@pytest.mark.parametrize("record", ["_library.pth,,\n", "space/library.py,,\n"])
def test_a_library_whose_import_cannot_be_awaited_is_not_forgotten(tmp_path: Path, record: str) -> None:
    """One that is installed as a link, and one in a namespace: the instrumentation is loaded at once."""
    install(tmp_path, "library")
    (tmp_path / "library-1.5.dist-info/RECORD").write_text(record)
    (tmp_path / "space").mkdir()
    instrument(tmp_path, "library")
    assert ran(tmp_path, LOAD)[-2:] == ["instrumenting for library {'skip_dep_check': True}", "started"]


def test_a_broken_distribution_costs_only_itself(tmp_path: Path) -> None:
    """Entry points that are no text, or no file: the others are loaded."""
    install(tmp_path, "library")
    instrument(tmp_path, "library")
    for name, content in (("bad", b"[opentelemetry_instrumentor]\n\xff = x:y\n"), ("worse", None)):
        file = tmp_path / f"{name}-1.dist-info/entry_points.txt"
        (file.parent if content is not None else file).mkdir(parents=True)
        if content is not None:
            file.write_bytes(content)
    assert ran(tmp_path, LOAD + "import library")[:2] == ["started", "loading library"]


def test_one_of_several_libraries_is_enough(tmp_path: Path) -> None:
    """An instrumentation for any of some is loaded by the first that is imported, and once."""
    install(tmp_path, "first")
    install(tmp_path, "second")
    wanted = "".join(f"Requires-Dist: {name}>=1; extra == 'instruments-any'\n" for name in ("first", "second", "third"))
    install(tmp_path, "for_any", INSTRUMENTATION.format(name="any", act="pass"), metadata=wanted, entry="any")
    printed = ran(tmp_path, LOAD + "import second, first")
    assert printed == ["started", "loading any", "instrumenting for any {'skip_dep_check': True}"]


def test_a_version_that_does_not_fit_is_said(tmp_path: Path) -> None:
    """The instrumentation is left out, and a warning names what it needs."""
    install(tmp_path, "library")
    instrument(tmp_path, "library", "library>=2")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{LOAD}import library\n"
    done = run_python(f"import logging; logging.basicConfig()\n{code}")
    assert done.stdout == "started\n"
    assert "instrumentation library is not loaded" in done.stderr and "library 1.5" in done.stderr


@pytest.mark.parametrize("left_out", ["library", "x, library ,y", "*"])
def test_instrumentations_can_be_left_out(tmp_path: Path, left_out: str) -> None:
    """By OpenTelemetry's own variable."""
    install(tmp_path, "library")
    instrument(tmp_path, "library")
    assert ran(tmp_path, LOAD + "import library", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=left_out) == ["started"]


@pytest.mark.parametrize("act", ["raise ValueError('broken')", "import no_such_module"])
def test_a_broken_instrumentation_costs_only_itself(tmp_path: Path, act: str) -> None:
    """The import goes on, another instrumentation is loaded, and the failure is counted."""
    for name, what in (("bad", act), ("good", "pass")):
        install(tmp_path, name)
        instrument(tmp_path, name, act=what)
    counted = "from otel_ml import health\nprint(health.dropped())"
    printed = ran(tmp_path, LOAD + f"import bad, good\nprint('imported')\n{counted}")
    assert "instrumenting for good {'skip_dep_check': True}" in printed and "imported" in printed
    code = "from otel_ml import health\nimport logging; logging.basicConfig()\n"
    done = run_python(f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}{LOAD}import bad\n")
    assert done.returncode == 0 and "instrumentation bad" in done.stderr


def test_a_library_that_uses_another_one_comes_first(tmp_path: Path) -> None:
    """What is imported inside an import is instrumented after it: the outer one is made of the original."""
    install(tmp_path, "inner")
    install(tmp_path, "outer", "print('outer begins')\nimport inner\nprint('outer ends')\n")
    for name in ("inner", "outer"):
        instrument(tmp_path, name)
    printed = [line for line in ran(tmp_path, LOAD + "import outer") if not line.startswith("loading")]
    assert [line.partition(" {")[0] for line in printed] == [
        "started", "outer begins", "outer ends", "instrumenting for outer", "instrumenting for inner",
    ]  # fmt: skip


def test_configure_instruments_logging_and_threads_itself(tmp_path: Path) -> None:
    """An entry point of those names is left alone."""
    for name in ("logging", "threading"):
        install(tmp_path, f"for_{name}", INSTRUMENTATION.format(name=name, act="pass"), entry=name)
    assert ran(tmp_path, LOAD) == ["started"]


def test_fastapi_is_not_imported_by_a_program_that_does_not(tmp_path: Path) -> None:
    """The real instrumentation: it waits, and then every application has it."""
    program = LOAD + "print('fastapi' in sys.modules)\nfrom fastapi import FastAPI\nprint(FastAPI.__module__)\n"
    assert ran(tmp_path, program) == ["started", "False", "opentelemetry.instrumentation.fastapi"]
