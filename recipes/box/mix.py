"""Interpolates the weights of two models: mix.py BASE TUNED ALPHA OUT

OUT gets (1−ALPHA)·BASE + ALPHA·TUNED (WiSE-FT, Wortsman et al. 2022), which keeps most of the gain of a stage and
reduces forgetting.
"""

import sys
from pathlib import Path

import torch

from turnwise.models import checkpoint
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.training.export import export_model


def main(base: Path, tuned: Path, alpha: float, out: Path) -> None:
    """Write the interpolated model."""
    model, tuned_model = (checkpoint.load(folder, dtype=torch.float32) for folder in (base, tuned))
    weights = dict(tuned_model.decoder.named_parameters())
    with torch.no_grad():
        for name, parameter in model.decoder.named_parameters():
            parameter.lerp_(weights[name], alpha)
    export_model(out, model, Tokenizer.load(base))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
