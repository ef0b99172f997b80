"""Evaluates the bundled model: compare.py BOX [--model FOLDER] [--limit N]

BOX is the folder of its training, with `data/` and `pretrained/`. On every held-out set the model is compared with the
pretrained model, with the same generation parameters, and with two baselines built from the data of the last stage
(`short.jsonl`): an n-gram model of its tokens, and the answer to the most similar question. Prints the tables of the
model card, which `pack.py` adds to it.
"""

import argparse
import sys
from functools import partial
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from comparison_tables import comparison, probes

from turnwise.app.generation_defaults import load_generation_defaults
from turnwise.app.model_names import resolve_model_folder
from turnwise.app.systems_under_test import open_model_under_test
from turnwise.core.messages import Conversation
from turnwise.core.settings import Settings
from turnwise.data.sources import read_source
from turnwise.evaluation.baselines import open_baseline
from turnwise.evaluation.evaluate import OpenSystem, evaluate
from turnwise.evaluation.metrics import load_metrics
from turnwise.store.sqlite.response_cache import SqliteResponseCache

HELD_OUT = {
    "valid_support.jsonl": "customer support (Bitext, validation split)",
    "valid_chat.jsonl": "open-domain dialogue (Self-dialogue, validation split)",
    "valid_small_talk.jsonl": "small talk (same grammar, another seed)",
    "valid_short.jsonl": "support in few words, and unseen names (same grammars, another seed)",
}
PROBES = ("golden", "contradiction", "recall", "knowledge")  # independent of the data
MAX_TOKENS = 128  # per answer
COLUMNS = ("untuned", "4-gram", "most similar question's answer")


def tables(folder: Path, box: Path, limit: int = 200) -> list[str]:
    """Markdown: a table of the probes, then a table for every held-out set."""
    sampling = {**load_generation_defaults(folder), "max_tokens": MAX_TOKENS}
    data = box / "data"
    lines: list[str] = []
    cache = SqliteResponseCache(Settings.from_environment().home / "evaluations.db")
    try:
        model, untuned = (
            partial(open_model_under_test, str(path), cache, sampling=sampling) for path in (folder, box / "pretrained")
        )
        references: dict[str, OpenSystem] = {
            "the untuned model": untuned,
            "the 4-gram model": partial(open_baseline, "ngram", data / "short.jsonl", folder),
            "retrieval": partial(open_baseline, "retrieval", data / "short.jsonl", folder),
        }
        lines += probes(evaluate(model, untuned, [], load_metrics(PROBES)).scorecard)
        data_metrics = [metric for metric in load_metrics() if metric.NAME not in PROBES]
        for file, title in HELD_OUT.items():
            dialogues = [item for item in islice(read_source(data / file), limit) if isinstance(item, Conversation)]
            cards = {
                name: evaluate(model, reference, dialogues, data_metrics).scorecard
                for name, reference in references.items()
            }
            lines += [f"**{title}**, {len(dialogues)} dialogues, 3 answers to each.", "", *comparison(cards, COLUMNS)]
            print("\n".join(lines[-30:]), flush=True)
    finally:
        cache.close()
    return lines


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("box", type=Path)
    parser.add_argument("--model", default="box")
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--out", type=Path, help="file for the tables")
    options = parser.parse_args()
    markdown = "\n".join(tables(resolve_model_folder(options.model), options.box, options.limit)) + "\n"
    if options.out:
        options.out.write_text(markdown)


if __name__ == "__main__":
    main()
