"""Weights between two stages: mix.py BASE TUNED SHARE OUT

OUT gets SHARE of TUNED and the rest of BASE (Wortsman et al. 2022, WiSE-FT): most of what a stage taught, and less of
what it cost.
"""

import sys
from pathlib import Path

import torch

from turnwise.models import checkpoint
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.training.export import export_model


def main(base: Path, tuned: Path, share: float, out: Path) -> None:
    """Write the folder."""
    model, other = (checkpoint.load(folder, dtype=torch.float32) for folder in (base, tuned))
    weights = dict(other.decoder.named_parameters())
    with torch.no_grad():
        for name, parameter in model.decoder.named_parameters():
            parameter.lerp_(weights[name], share)
    export_model(out, model, Tokenizer.load(base))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
