"""Puts a trained model into the package: pack.py MODEL TARGET BOX

MODEL is the result of the last stage, TARGET the package's `box` folder, BOX the folder with `data/` and the runs of
the stages. Weights are stored in bfloat16; the tables of the card are measured on the stored model.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from compare import tables

from turnwise.models import checkpoint
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.training.export import export_model
from turnwise.training.loggers import METRICS_FILE, plot_loss

HERE = Path(__file__).parent
SAMPLING = {"do_sample": True, "temperature": 0.3, "top_p": 0.9}


def main(source: Path, target: Path, box: Path) -> None:
    """Write the package folder, the card and the loss curves."""
    model = checkpoint.load(source, dtype=torch.float32)
    export_model(target, model, Tokenizer.load(source), generation=SAMPLING, dtype=torch.bfloat16)
    decoder = model.decoder
    runs = json.loads((HERE / "stages.json").read_text())  # figures of stages that were not run again
    rerun = [name for name in runs if (box / name / "result.json").exists()]
    runs |= {name: json.loads((box / name / "result.json").read_text()) for name in rerun}
    values = {
        "parameters": f"{sum(p.numel() for p in decoder.parameters()):,}",
        "layers": decoder.config.num_layers,
        "hidden": decoder.config.hidden_size,
        "vocabulary": decoder.config.vocab_size,
        "context": decoder.config.context_length,
        "megabytes": f"{sum(f.stat().st_size for f in target.iterdir()) / 1e6:.1f}",
        "measured": "\n".join(tables(target, box)),
        **{f"{n}_tokens": f"{run['useful_tokens']:,}" for n, run in runs.items()},
        **{f"{n}_minutes": f"{run['seconds'] / 60:.0f}" for n, run in runs.items()},
        **{f"{n}_steps": run["steps"] for n, run in runs.items()},
    }
    card = (HERE / "card.md").read_text(encoding="utf-8")
    for name, value in values.items():
        card = card.replace(f"@{name}@", str(value))
    (target / "README.md").write_text(card, encoding="utf-8")
    for name in rerun:
        shutil.copy(box / name / METRICS_FILE, HERE / f"curve-{name}.jsonl")
        plot_loss(box / name / METRICS_FILE, HERE / f"curve-{name}.png", title=f"Bundled model: {name}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
