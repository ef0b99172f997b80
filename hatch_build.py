"""Compiles the engine's C++ while the package is installed; without a compiler torch does its work.

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
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path("src/turnwise/engine/native")
LIBRARY = "_native.so"
FLAGS = ["-std=c++17", "-O3", "-fPIC", "-shared", "-pthread", "-fno-math-errno", "-fno-trapping-math"]
LINUX_FLAGS = ["-static-libstdc++", "-static-libgcc"]  # the wheel runs beside any C++ library


class CompileNative(BuildHookInterface[Any]):
    """Called by hatchling for every wheel, the editable one included."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; an editable install has the library beside its sources, a wheel gets it packed."""
        self._beside = Path(self.root) / FOLDER
        if version == "editable":
            (self._beside / LIBRARY).unlink(missing_ok=True)
            self._folder = self._beside
        else:
            self._folder = Path(tempfile.mkdtemp(prefix="turnwise-"))
        if os.environ.get("TURNWISE_NATIVE") == "0" or not self._compile():
            return
        if version != "editable":
            inside = (FOLDER / LIBRARY).relative_to("src").as_posix()
            build_data["force_include"][str(self._folder / LIBRARY)] = inside
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Tidy up."""
        if self._folder != self._beside:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _compile(self) -> bool:
        """Whether there is a library now."""
        compiler = (
            shlex.split(os.environ.get("CXX", ""))
            or [found for name in ("c++", "g++", "clang++") if (found := shutil.which(name))][:1]
        )
        arch = os.environ.get("TURNWISE_ARCH", "x86-64-v3" if platform.machine() in ("x86_64", "AMD64") else "")
        target = [f"-march={arch}"] if arch else []
        source = [f'-DTURNWISE_SOURCE="{self._source_hash()}"', str(self._beside / "decoder.cpp")]
        linux = LINUX_FLAGS if sys.platform == "linux" else []
        made = self._folder / f"_native.{os.getpid()}.so"
        try:
            if not compiler:
                raise OSError("there is no C++ compiler")
            command = [*compiler, *FLAGS, *linux, *target, *source, "-o", str(made)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
            if done.returncode:
                raise OSError(done.stderr.strip())
            made.replace(self._folder / LIBRARY)
        except OSError as error:
            self.app.display_warning(f"Turnwise will decode with torch, several times slower: {error}")
            return False
        finally:
            made.unlink(missing_ok=True)
        return True

    def _source_hash(self) -> str:
        """As `turnwise.engine.native.sources` has it, which cannot be imported before it is installed."""
        spec = importlib.util.spec_from_file_location("sources", self._beside / "sources.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return str(module.source_hash(self._beside))
