"""The system fingerprint of a served model: equal fingerprints mean equal answers to equal requests."""

import hashlib
from functools import cache
from pathlib import Path

from turnwise import __version__

CODE_PACKAGES = ("engine", "models", "text")  # a change in their code may change the answers
# Files beside the weights that decide which tokens a request becomes, and with which parameters it is answered.
PROMPT_FILES = (
    "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "demonstrations.json", "generation_config.json",
)  # fmt: skip
CODE_SUFFIXES = (".py", ".cpp", ".hpp")


def system_fingerprint(folder: Path, decoding_settings: str) -> str:
    """Digest of the weights, the adapter's base, the tokenizer, the chat template, the settings and the code."""
    import torch

    from turnwise.models.model_folders import weights_digest
    from turnwise.models.model_kind import full_model_folder

    digest = hashlib.sha256(f"{__version__} {torch.__version__} {decoding_settings} {weights_digest(folder)}".encode())
    base = full_model_folder(folder)
    digest.update(weights_digest(base).encode())
    for path in [source / name for source in (folder, base) for name in PROMPT_FILES]:
        digest.update(path.read_bytes() if path.is_file() else b"-")
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
