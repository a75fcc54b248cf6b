"""What gets installed: the package, its entry points and its dependencies, seen through its metadata."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import otel_ml
import otel_ml.primitives
import otel_ml.tracing.span_state
from support import run_python

DISTRIBUTION = importlib.metadata.distribution("otel-ml")
PACKAGE = Path(otel_ml.__file__).parent


def requirements() -> dict[str, str]:
    """Return every requirement, extras included: normalised distribution name to the rest of its line."""
    parsed = (re.match(r"([A-Za-z0-9._-]+)(.*)", line) for line in DISTRIBUTION.requires or [])
    return {normalised(match[1]): match[2] for match in parsed if match}


def normalised(name: str) -> str:
    """Return a distribution's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_installed_wheel_is_what_is_tested() -> None:
    """The package comes from site-packages, not from the source tree that the tests lie beside."""
    assert Path(sysconfig.get_path("purelib")) / "otel_ml" == PACKAGE


def test_a_child_process_takes_the_installed_package(working_directory: Path) -> None:
    """A process that a test starts uses the same package, also where a folder of that name is at hand."""
    (working_directory / "otel_ml").mkdir()
    (working_directory / "otel_ml" / "__init__.py").write_text("raise ImportError('the wrong package')")
    result = run_python("import otel_ml; print(otel_ml.__file__)")
    assert result.stdout.strip() == otel_ml.__file__, result.stderr


def test_the_wheel_holds_the_package_and_nothing_else() -> None:
    """Installing adds modules, the marker of a typed package, configs for Hydra, metadata and one command: no tests."""
    installed = [path for path in DISTRIBUTION.files or [] if path.suffix != ".pyc"]
    package = [path for path in installed if path.parts[0] == "otel_ml"]
    plugin = [path for path in installed if path.parts[0] == "hydra_plugins"]
    others = {path.parts[0] for path in installed} - {"otel_ml", "hydra_plugins"}
    assert {path.parts[1] for path in plugin} == {"otel_ml_search_path"}  # nobody may own the folder above
    assert {path.suffix for path in plugin} == {".py", ".yaml"}
    compiled = [path for path in package if path.suffix in (".so", ".pyd")]
    assert {path.suffix for path in package} - {path.suffix for path in compiled} == {".py", ".typed"}
    assert all(path.with_name(path.name.partition(".")[0] + ".py") in package for path in compiled)
    assert [str(path) for path in package if path.suffix == ".typed"] == ["otel_ml/py.typed"]
    assert {path.name for path in installed if path.parts[0] == ".."} == {"otel-ml"}
    assert {name for name in others if not name.endswith(".dist-info")} == {".."}


def test_a_wheel_for_one_interpreter_is_compiled_and_one_for_all_is_not() -> None:
    """What its name promises: so a compiler that failed is seen."""
    tag = re.search(r"^Tag: (\S+)$", DISTRIBUTION.read_text("WHEEL") or "", re.MULTILINE)
    assert tag is not None
    compiled = Path(otel_ml.primitives.__file__).suffix != ".py"
    assert compiled == (tag[1] != "py3-none-any")
    assert not compiled or type(otel_ml.tracing.span_state.SpanState.end).__name__ != "function"


def test_the_licence_is_installed() -> None:
    """The licence's text and its SPDX name go where the package goes."""
    assert DISTRIBUTION.metadata["License-Expression"] == "Apache-2.0"
    text = DISTRIBUTION.read_text("licenses/LICENSE") or ""
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_version_is_that_of_the_distribution() -> None:
    """`otel_ml.__version__` says what pip says."""
    assert otel_ml.__version__ == DISTRIBUTION.version


@pytest.mark.parametrize("name", otel_ml.__all__)
def test_public_names_exist(name: str) -> None:
    """Each name that the package promises can be had, the lazy ones too."""
    result = run_python(f"import otel_ml; otel_ml.{name}")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("group", ["opentelemetry_distro", "opentelemetry_configurator", "pytest11"])
def test_entry_points_load(group: str) -> None:
    """What other programs find us by can be imported, with warnings as errors."""
    code = f"""
        from importlib.metadata import entry_points
        [point] = entry_points(group={group!r}, name="otel_ml")
        print(point.load())
    """
    result = run_python(code)
    assert result.returncode == 0, result.stderr


def test_the_command_is_installed() -> None:
    """`otel-ml --help` lists the commands."""
    command = Path(sysconfig.get_path("scripts")) / "otel-ml"
    result = subprocess.run([command, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    for name in ("demo", "show", "run", "push", "doctor"):
        assert name in result.stdout


def test_requirements_have_lower_bounds_and_no_upper_ones() -> None:
    """A lower bound says what was tested; an upper one would break the installs of those who depend on us."""
    bounds = {name: rest.partition(";")[0] for name, rest in requirements().items() if name != "otel-ml"}
    assert all(">=" in bound for bound in bounds.values()), bounds
    assert not any(re.search(r"<|==|~=", bound) for bound in bounds.values()), bounds


def test_nothing_undeclared_is_imported() -> None:
    """Every library that the package imports, lazily or not, is one of its requirements or extras."""
    imported_names = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported_names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported_names.add(node.module)
    roots = {name.partition(".")[0] for name in imported_names} - set(sys.stdlib_module_names)
    roots -= {"otel_ml", "opentelemetry"}
    providers = importlib.metadata.packages_distributions()
    undeclared = {
        root for root in roots if not {normalised(name) for name in providers.get(root, [root])} & set(requirements())
    }
    # The fixture is for those who run pytest; who asks an exporter for gRPC gets grpc with it.
    assert undeclared <= {"pytest", "grpc", "google"}
