"""What the compiled library is made of, named by a hash, so that a stale library is never used."""

import hashlib
from pathlib import Path

FOLDER = Path(__file__).parent


def source_hash(folder: Path = FOLDER) -> str:
    """A short hash of all C++ files and of the structures that mirror theirs."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.cpp"), *folder.glob("*.hpp"), folder / "library.py"]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
