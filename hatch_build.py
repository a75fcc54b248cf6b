"""Compiles the modules of the hot path when a wheel is built.

A module with a `.pxd` file beside it, which gives its classes C types, is compiled by Cython from the same source that
runs where it is not compiled. Where there is no C compiler the wheel is pure Python, and slower. `OTEL_ML_COMPILE=0`
builds such a wheel on purpose, `OTEL_ML_COMPILE=1` makes a failure to compile an error.
"""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

DIRECTIVES = {
    "language_level": 3,
    "annotation_typing": False,  # annotations are for people and type checkers; C types stand in the .pxd files
    "binding": True,
    "freethreading_compatible": True,
}


class CompileHook(BuildHookInterface[Any]):
    """Adds the compiled modules to a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, unless an editable install or nothing compiled was asked for."""
        wanted = os.environ.get("OTEL_ML_COMPILE", "")
        if version == "editable" or wanted == "0":
            return
        try:
            modules = compiled(Path(self.root))
        except (Exception, SystemExit) as error:
            if wanted == "1":
                raise
            self.app.display_warning(f"otel_ml is built without its compiled modules, and slower for it: {error}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["force_include"].update(modules)


def sources(root: Path) -> list[Path]:
    """Return what is compiled: the `.pyx` file of a module where there is one, else its `.py` file."""
    either = [(path.with_suffix(".pyx"), path.with_suffix(".py")) for path in sorted(root.glob("otel_ml/**/*.pxd"))]
    return [cython if cython.exists() else python for cython, python in either]


def compiled(root: Path) -> dict[str, str]:
    """Compile what has changed since the last time; return each file and its place in the wheel."""
    from Cython.Build import cythonize  # noqa: PLC0415  not needed for a wheel without compiled modules
    from setuptools import Distribution, Extension  # noqa: PLC0415

    folder = root / "build" / (sysconfig.get_config_var("SOABI") or "compiled")
    arguments = [] if os.name == "nt" else ["-O2", "-g0", "-Wno-array-bounds"]
    extensions = [
        Extension(
            ".".join(path.relative_to(root).with_suffix("").parts),
            [str(path.relative_to(root))],
            include_dirs=[str(path.parent)],
            depends=sorted(map(str, path.parent.glob("*.h"))),
            extra_compile_args=arguments,
        )
        for path in sources(root)
    ]
    before = Path.cwd()
    os.chdir(root)  # names in messages and stack traces begin with the package
    try:
        extensions = cythonize(
            extensions, build_dir=str(folder / "c"), compiler_directives=DIRECTIVES, nthreads=os.cpu_count() or 1,
            quiet=True, show_all_warnings=False,
        )  # fmt: skip
        distribution = Distribution({"name": "otel_ml", "ext_modules": extensions})
        command = distribution.get_command_obj("build_ext")
        command.build_lib, command.build_temp = str(folder / "lib"), str(folder / "temp")
        command.parallel = os.cpu_count() or 1
        command.ensure_finalized()
        command.run()
    finally:
        os.chdir(before)
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    places = [name.name.replace(".", "/") + suffix for name in extensions]
    return {str(folder / "lib" / place): place for place in places}
