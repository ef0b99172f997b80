"""Compiles the engine's C++ while the package is installed; without a compiler torch does its work.

On x86-64 it is compiled for several sets of instructions at once; the best that a processor has is loaded there.

CXX=clang++ pip install .                     another compiler
TURNWISE_ARCH=native pip install -e .         for this very processor, or another level such as x86-64-v4
TURNWISE_NATIVE=0 pip install .               not at all
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
LINUX_FLAGS = ["-static-libstdc++", "-static-libgcc"]  # the wheel runs beside any C++ library


class CompileNative(BuildHookInterface[Any]):
    """Called by hatchling for every wheel, the editable one included."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; an editable install has the libraries beside their sources, a wheel gets them packed."""
        self._beside = Path(self.root) / FOLDER
        if version == "editable":
            for old in self._beside.glob("_native*.so"):
                old.unlink()
            self._folder = self._beside
        else:
            self._folder = Path(tempfile.mkdtemp(prefix="turnwise-"))
        made = [] if os.environ.get("TURNWISE_NATIVE") == "0" else self._compile()
        if not made:
            return
        if version != "editable":
            inside = FOLDER.relative_to("src")
            build_data["force_include"] |= {str(path): (inside / path.name).as_posix() for path in made}
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Tidy up."""
        if self._folder != self._beside:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _compile(self) -> list[Path]:
        """The libraries there are now. A compiler that does not know some instructions leaves out their variant."""
        compiler = (
            shlex.split(os.environ.get("CXX", ""))
            or [found for name in ("c++", "g++", "clang++") if (found := shutil.which(name))][:1]
        )
        sources = self._sources()
        arch = os.environ.get("TURNWISE_ARCH")
        if arch or platform.machine() not in ("x86_64", "AMD64"):
            variants = {"own": (f"-march={arch}",) if arch else ()}
        else:
            variants = {name: flags for name, flags in sources.VARIANTS.items() if name != "own"}
        command = [*compiler, *FLAGS, *(LINUX_FLAGS if sys.platform == "linux" else [])]
        command += [f'-DTURNWISE_SOURCE="{sources.source_hash(self._beside)}"', str(self._beside / "decoder.cpp")]
        made, errors, start = [], [], time.monotonic()
        running: dict[str, subprocess.Popen[str]] = {}
        try:
            if not compiler:
                raise OSError("there is no C++ compiler")
            for name, flags in variants.items():
                arguments = [*command, *flags, "-o", str(self._unfinished(name))]
                running[name] = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)  # noqa: S603
            for name, process in running.items():
                _, said = process.communicate()
                if process.returncode:
                    errors.append(said.strip())
                else:
                    made.append(self._unfinished(name).replace(self._folder / sources.file_name(name)))
        except OSError as error:
            errors.append(str(error))
        finally:
            for name in variants:
                self._unfinished(name).unlink(missing_ok=True)
        if made:
            self.app.display_info(f"Compiled {len(made)} variants of the engine in {time.monotonic() - start:.0f} s.")
        else:
            self.app.display_warning(f"Turnwise will decode with torch, several times slower: {errors[0]}")
        return made

    def _unfinished(self, variant: str) -> Path:
        return self._folder / f"_native_{variant}.{os.getpid()}.so"

    def _sources(self) -> ModuleType:
        """`turnwise.engine.native.sources`, which cannot be imported before it is installed."""
        spec = importlib.util.spec_from_file_location("sources", self._beside / "sources.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
