"""What the compiled library is made of, named by a hash, so that a stale library is never used; and its variants."""

import hashlib
from pathlib import Path

FOLDER = Path(__file__).parent

# One library for every set of instructions, the best first: the compiler's flags. "own" is what TURNWISE_ARCH names,
# and the only one on processors that are no x86.
VARIANTS = {
    "own": (),
    "v4_vnni": ("-march=x86-64-v4", "-mavx512vnni"),
    "v4": ("-march=x86-64-v4",),
    "v3": ("-march=x86-64-v3",),
}


def file_name(variant: str) -> str:
    """Of a variant's library, beside this file."""
    return f"_native_{variant}.so"


def source_hash(folder: Path = FOLDER) -> str:
    """A short hash of all C++ files, of the structures that mirror theirs, and of the flags."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.cpp"), *folder.glob("*.hpp"), folder / "library.py", folder / "sources.py"]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
