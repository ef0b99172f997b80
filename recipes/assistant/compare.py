"""Evaluates an adapter of the default model: compare.py DATA --model ADAPTER [--limit N] [--out FILE]

DATA is the folder that `prepare.py` wrote. On every held-out set the adapter is compared with its base model, with the
small bundled model, and with two baselines built from the adapter's training data: an n-gram model of its tokens, and
the answer to the most similar question. All answer as they are served, with the generation parameters of the adapter.
Prints the tables of the model card.
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

BASE = "smollm2"
HELD_OUT = {
    "valid_support.jsonl": "customer support (Bitext, validation split)",
    "valid_small_talk.jsonl": "small talk (same grammar, another seed)",
    "valid_oasst.jsonl": "questions and answers (OASST1, validation split)",
    "valid_open_talk.jsonl": "open-domain dialogue (Self-dialogue, validation split)",
    "valid_math.jsonl": "word problems (GSM8K, test split)",
}
PROBES = ("golden", "contradiction", "recall", "knowledge")  # independent of the data
METRICS = ("chrf", "bits_per_byte", "repetition", "perplexity", "bleu", "rouge_l", "length_ratio")
MAX_TOKENS = 256  # per answer: as long as the longest held-out support answer
COLUMNS = ("base", "tiny", "4-gram", "most similar question's answer")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--limit", type=int, default=200, help="dialogues of each set")
    parser.add_argument("--sets", nargs="*", default=list(HELD_OUT), choices=HELD_OUT)
    parser.add_argument("--probes", nargs="*", default=list(PROBES), choices=PROBES)
    parser.add_argument("--metrics", nargs="+", default=METRICS, help="metrics of the held-out sets")
    parser.add_argument("--out", type=Path, help="file for the tables")
    options = parser.parse_args()
    folder = resolve_model_folder(options.model)
    sampling = {**load_generation_defaults(folder), "max_tokens": MAX_TOKENS}
    train = options.data / "train.jsonl"
    lines: list[str] = []
    cache = SqliteResponseCache(Settings.from_environment().home / "evaluations.db")
    try:
        model, base, tiny = (
            partial(open_model_under_test, name, cache, sampling=sampling) for name in (options.model, BASE, "tiny")
        )
        references: dict[str, OpenSystem] = {
            "the base model": base,
            "tiny": tiny,
            "the 4-gram model": partial(open_baseline, "ngram", train, folder),
            "retrieval": partial(open_baseline, "retrieval", train, folder),
        }
        if options.probes:
            lines += probes(evaluate(model, base, [], load_metrics(options.probes)).scorecard, "base")
            print("\n".join(lines), flush=True)
        data_metrics = load_metrics(options.metrics)
        for file in options.sets:
            items = islice(read_source(options.data / file), options.limit)
            dialogues = [item for item in items if isinstance(item, Conversation)]
            cards = {
                name: evaluate(model, reference, dialogues, data_metrics).scorecard
                for name, reference in references.items()
            }
            lines += [f"**{HELD_OUT[file]}**, {len(dialogues)} dialogues, 3 answers to each.", ""]
            lines += comparison(cards, COLUMNS)
            print("\n".join(lines[-30:]), flush=True)
    finally:
        cache.close()
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
