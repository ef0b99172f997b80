"""The system fingerprint of a served model: equal fingerprints mean equal answers to equal requests."""

import hashlib
from functools import cache
from pathlib import Path

from turnwise import __version__

CODE_PACKAGES = ("engine", "models", "text")  # a change in their code may change the answers
CODE_SUFFIXES = (".py", ".cpp", ".hpp")


def system_fingerprint(folder: Path, decoding_settings: str) -> str:
    """Return a digest of the weights, the adapter's base, the tokenizer, the decoding settings and the code."""
    import torch

    from turnwise.models.adapter_config import adapter_base_folder, is_adapter
    from turnwise.models.model_folders import weights_digest

    digest = hashlib.sha256(f"{__version__} {torch.__version__} {decoding_settings} {weights_digest(folder)}".encode())
    if is_adapter(folder):
        digest.update(weights_digest(adapter_base_folder(folder)).encode())
    tokenizer = folder / "tokenizer.json"
    if tokenizer.is_file():
        digest.update(tokenizer.read_bytes())
    digest.update(_code_digest().encode())
    return f"fp_{digest.hexdigest()[:12]}"


@cache
def _code_digest() -> str:
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for package in CODE_PACKAGES:
        for path in sorted(file for file in (root / package).rglob("*") if file.suffix in CODE_SUFFIXES):
            digest.update(path.read_bytes())
    return digest.hexdigest()
