"""Compiles the engine's C++ library when the package is installed. Without a compiler the engine computes with torch.

On x86-64 several variants are compiled, one per instruction set; the best one that the processor supports is loaded.

CXX=clang++ pip install .               Compile with another compiler.
TURNWISE_ARCH=native pip install -e .   Compile one variant for this processor, or for a level such as x86-64-v4.
TURNWISE_NATIVE=0 pip install .         Do not compile.
"""

import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path("src/turnwise/engine/native")
FLAGS = ["-std=c++17", "-O3", "-fPIC", "-shared", "-pthread", "-fno-math-errno", "-fno-trapping-math"]
LINUX_FLAGS = ["-static-libstdc++", "-static-libgcc"]  # no dependency on the C++ library of the target


class CompileNative(BuildHookInterface[Any]):
    """Build hook of hatchling for every wheel, including editable ones."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the library: beside its sources for an editable install, into the wheel otherwise."""
        self._source_folder = Path(self.root) / FOLDER
        if version == "editable":
            self._output_folder = self._source_folder
        else:
            self._output_folder = Path(tempfile.mkdtemp(prefix="turnwise-"))
        libraries = [] if os.environ.get("TURNWISE_NATIVE") == "0" else self._compile()
        if version == "editable":  # afterwards, so that an interrupted installation keeps the old ones
            for old in {*self._source_folder.glob("_native*.so")} - {*libraries}:
                old.unlink()
        if not libraries:
            return
        if version != "editable":
            in_wheel = FOLDER.relative_to("src")
            build_data["force_include"] |= {str(path): (in_wheel / path.name).as_posix() for path in libraries}
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove the temporary folder."""
        if self._output_folder != self._source_folder:
            shutil.rmtree(self._output_folder, ignore_errors=True)

    def _compile(self) -> list[Path]:
        """Compile all variants in parallel. A compiler that does not support an instruction set skips its variant."""
        compiler = (
            shlex.split(os.environ.get("CXX", ""))
            or [path for name in ("c++", "g++", "clang++") if (path := shutil.which(name))][:1]
        )
        sources = self._sources()
        arch = os.environ.get("TURNWISE_ARCH")
        if arch or platform.machine() not in ("x86_64", "AMD64"):
            variants = {"custom": (f"-march={arch}",) if arch else ()}
        else:
            variants = {name: flags for name, flags in sources.VARIANTS.items() if name != "custom"}
        command = [*compiler, *FLAGS, *(LINUX_FLAGS if sys.platform == "linux" else [])]
        command += [f'-DTURNWISE_SOURCE="{sources.source_hash(self._source_folder)}"']
        command += [str(self._source_folder / "decoder.cpp")]
        libraries, errors, start = [], [], time.monotonic()
        processes: dict[str, subprocess.Popen[str]] = {}
        try:
            if not compiler:
                raise OSError("there is no C++ compiler")
            for name, flags in variants.items():
                arguments = [*command, *flags, "-o", str(self._temporary_path(name))]
                processes[name] = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)  # noqa: S603
            for name, process in processes.items():
                _, stderr = process.communicate()
                if process.returncode:
                    errors.append(stderr.strip())
                else:
                    library = self._output_folder / sources.file_name(name)
                    libraries.append(self._temporary_path(name).replace(library))
        except OSError as error:
            errors.append(str(error))
        finally:
            for name in variants:
                self._temporary_path(name).unlink(missing_ok=True)
        if libraries:
            seconds = time.monotonic() - start
            self.app.display_info(f"Compiled {len(libraries)} variants of the engine in {seconds:.0f} s.")
        else:
            self.app.display_warning(
                f"The engine was not compiled and will compute with torch, several times slower: {errors[0]}"
            )
        return libraries

    def _temporary_path(self, variant: str) -> Path:
        """Output of the compiler; it replaces the library only when it is complete."""
        return self._output_folder / f"_native_{variant}.{os.getpid()}.so"

    def _sources(self) -> ModuleType:
        """`turnwise.engine.native.sources`, loaded by path because the package is not installed yet."""
        spec = importlib.util.spec_from_file_location("sources", self._source_folder / "sources.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
