"""Averages adapters of the same base model and shape: average.py TARGET ADAPTER=SHARE [ADAPTER=SHARE ...]

The average is taken factor by factor in float32 ("model soups", Wortsman et al. 2022, arXiv:2203.05482). That is
sensible only for adapters that were trained from one another or from a common one. Shares are divided by their sum. All
other files are those of the first adapter.
"""

import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from turnwise.core.errors import InvalidParameter
from turnwise.models.adapters import ADAPTER_WEIGHTS_FILE
from turnwise.models.safetensors_file import SafetensorsFile


def parse_shares(arguments: list[str]) -> list[tuple[Path, float]]:
    """Folders and their shares, which add up to 1."""
    pairs = [argument.rpartition("=") for argument in arguments]
    shares = [(Path(folder), float(share)) for folder, _, share in pairs]
    total = sum(share for _, share in shares)
    return [(folder, share / total) for folder, share in shares]


def average(shares: list[tuple[Path, float]]) -> dict[str, torch.Tensor]:
    """The averaged tensors, in the type of the first adapter. Raises `InvalidParameter` if names or shapes differ."""
    files = [SafetensorsFile(folder / ADAPTER_WEIGHTS_FILE) for folder, _ in shares]
    averaged = {}
    for name in files[0].tensors:
        if any(name not in file.tensors for file in files):
            raise InvalidParameter("ADAPTER", f"not every adapter has the tensor {name}.")
        parts = [file.read(name) for file in files]
        if len({part.shape for part in parts}) > 1:
            raise InvalidParameter("ADAPTER", f"{name} has several shapes.")
        mean = sum(share * part.to(torch.float32) for part, (_, share) in zip(parts, shares, strict=True))
        averaged[name] = torch.as_tensor(mean).to(parts[0].dtype)
    return averaged


def main(target: Path, shares: list[tuple[Path, float]]) -> None:
    """Write the averaged adapter."""
    tensors = average(shares)
    shutil.copytree(shares[0][0], target, dirs_exist_ok=True)
    save_file(tensors, str(target / ADAPTER_WEIGHTS_FILE), metadata={"format": "pt"})
    (target / ADAPTER_WEIGHTS_FILE).chmod(0o644)


if __name__ == "__main__":
    main(Path(sys.argv[1]), parse_shares(sys.argv[2:]))
