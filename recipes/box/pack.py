"""Put a trained model into the package: pack.py MODEL TARGET BOX

MODEL is the folder that the last stage made, TARGET the package's `box` folder, BOX the folder with `data/` and the
stages' runs. Weights are stored in bfloat16; the card's figures are measured here, on what was stored.
"""

import json
import shutil
import sys
from itertools import islice
from pathlib import Path

import torch

from turnwise.core.messages import Conversation
from turnwise.data.sources import read_source
from turnwise.evaluation.perplexity import measure_perplexity
from turnwise.evaluation.selection import measure_selection, questions
from turnwise.models import checkpoint
from turnwise.text.render import Renderer
from turnwise.text.tokenizer import Tokenizer
from turnwise.training.artefact import save_artefact
from turnwise.training.watch import METRICS, draw_loss

HERE = Path(__file__).parent
QUESTIONS = 100  # of a set in response selection; each asks for twenty readings of a dialogue
SAMPLING = {"do_sample": True, "temperature": 0.3, "top_p": 0.9}
HELD_OUT = {
    "valid_support.jsonl": "customer support (Bitext, validation split)",
    "valid_chat.jsonl": "open-domain talk (Self-dialogue, validation split)",
    "valid_small_talk.jsonl": "small talk (same grammar, another seed)",
    "valid_short.jsonl": "support in few words, and names it never saw (same grammars, another seed)",
}


def dialogues(path: Path) -> list[Conversation]:
    """At most 300 dialogues."""
    return [item for item in islice(read_source(path), 300) if isinstance(item, Conversation)]


def measured(folder: Path, data: Path) -> list[str]:
    """A table row for every held-out set."""
    decoder = checkpoint.load(folder, dtype=torch.float32).decoder
    renderer = Renderer.of(Tokenizer.load(folder))
    rows = []
    for file, name in HELD_OUT.items():
        talks = dialogues(data / file)
        surprise = measure_perplexity(decoder, renderer, talks)
        chosen = measure_selection(decoder, renderer, questions(talks[:QUESTIONS], candidates=20, seed=0))
        rows.append(
            f"| {name} | {len(talks)} | {surprise.per_token:.2f} | {surprise.per_byte:.3f} | "
            f"{surprise.bits_per_byte:.3f} | {chosen.recall_at_1:.1%} |"
        )
        print(rows[-1], flush=True)
    return rows


def main(source: Path, target: Path, box: Path) -> None:
    """Write the package folder, its card and the curves."""
    model = checkpoint.load(source, dtype=torch.float32)
    save_artefact(target, model, Tokenizer.load(source), generation=SAMPLING, dtype=torch.bfloat16)
    decoder = model.decoder
    runs = json.loads((HERE / "stages.json").read_text())  # a stage that was not run again is told as it was then
    here = [name for name in runs if (box / name / "result.json").exists()]
    runs |= {name: json.loads((box / name / "result.json").read_text()) for name in here}
    values = {
        "parameters": f"{sum(p.numel() for p in decoder.parameters()):,}",
        "layers": decoder.config.num_layers,
        "hidden": decoder.config.hidden_size,
        "vocabulary": decoder.config.vocab_size,
        "context": decoder.config.context_length,
        "megabytes": f"{sum(f.stat().st_size for f in target.iterdir()) / 1e6:.1f}",
        "measured": "\n".join(measured(target, box / "data")),
        **{f"{n}_tokens": f"{run['useful_tokens']:,}" for n, run in runs.items()},
        **{f"{n}_minutes": f"{run['seconds'] / 60:.0f}" for n, run in runs.items()},
        **{f"{n}_steps": run["steps"] for n, run in runs.items()},
    }
    card = (HERE / "card.md").read_text(encoding="utf-8")
    for name, value in values.items():
        card = card.replace(f"@{name}@", str(value))
    (target / "README.md").write_text(card, encoding="utf-8")
    for name in here:
        shutil.copy(box / name / METRICS, HERE / f"curve-{name}.jsonl")
        draw_loss(box / name / METRICS, HERE / f"curve-{name}.png", title=f"The model in the box: {name}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
