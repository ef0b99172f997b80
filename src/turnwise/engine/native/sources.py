"""Sources and variants of the compiled library. A hash of the sources identifies a library that is out of date."""

import hashlib
from pathlib import Path

FOLDER = Path(__file__).parent

# Compiler flags of each variant, the best instruction set first. "custom" is compiled for TURNWISE_ARCH, and is the
# only variant on processors other than x86-64.
VARIANTS = {
    "custom": (),
    "v4_vnni": ("-march=x86-64-v4", "-mavx512vnni"),
    "v4": ("-march=x86-64-v4",),
    "v3": ("-march=x86-64-v3",),
}
PYTHON_SOURCES = ("library.py", "sources.py", "structs.py")  # must agree with the C++


def file_name(variant: str) -> str:
    """File name of a variant's library in this folder."""
    return f"_native_{variant}.so"


def source_hash(folder: Path = FOLDER) -> str:
    """A short hash of all C++ files, of the Python files that mirror them, and of the flags."""
    digest = hashlib.sha256()
    python_paths = (folder / name for name in PYTHON_SOURCES)
    for path in sorted([*folder.glob("*.cpp"), *folder.glob("*.hpp"), *python_paths]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
