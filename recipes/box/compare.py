"""The model in the box beside what it should beat: compare.py BOX [--model FOLDER] [--limit N]

BOX is the folder of its making, with `data/` and `pretrained/`. On every held-out set the model is compared with what
it was before it was tuned, answering with the same parameters, and with two baselines that learned from what it was
tuned on last (`short.jsonl`): an n-gram model of its tokens, and the answer to the most similar question. Prints the
tables of the model card; `pack.py` puts them there.
"""

import argparse
from collections.abc import Mapping
from functools import partial
from itertools import islice
from pathlib import Path

from turnwise.app.generation_defaults import load_generation_defaults
from turnwise.app.model_names import resolve_model_folder
from turnwise.app.systems_under_test import open_model_under_test
from turnwise.core.messages import Conversation
from turnwise.core.settings import Settings
from turnwise.data.sources import read_source
from turnwise.evaluation.baselines import open_baseline
from turnwise.evaluation.evaluate import OpenSystem, evaluate
from turnwise.evaluation.metrics import load_metrics
from turnwise.evaluation.scorecard import Scorecard, ScorecardRow
from turnwise.store.sqlite.response_cache import SqliteResponseCache

HELD_OUT = {
    "valid_support.jsonl": "customer support (Bitext, validation split)",
    "valid_chat.jsonl": "open-domain talk (Self-dialogue, validation split)",
    "valid_small_talk.jsonl": "small talk (same grammar, another seed)",
    "valid_short.jsonl": "support in few words, and names it never saw (same grammars, another seed)",
}
PROBES = ("golden", "contradiction", "recall", "knowledge")  # ask the same whatever the data is
TOKENS = 128  # of an answer


def tables(folder: Path, box: Path, limit: int = 200) -> list[str]:
    """Markdown: the probes once, then a table for every held-out set."""
    asked = {**load_generation_defaults(folder), "max_tokens": TOKENS}
    data = box / "data"
    lines: list[str] = []
    cache = SqliteResponseCache(Settings.from_environment().home / "evaluations.db")
    try:
        model, untuned = (
            partial(open_model_under_test, str(each), cache, sampling=asked) for each in (folder, box / "pretrained")
        )
        others: dict[str, OpenSystem] = {
            "the untuned model": untuned,
            "the 4-gram model": partial(open_baseline, "ngram", data / "short.jsonl", folder),
            "retrieval": partial(open_baseline, "retrieval", data / "short.jsonl", folder),
        }
        lines += probes(evaluate(model, untuned, [], load_metrics(PROBES)).scorecard)
        chosen = [metric for metric in load_metrics() if metric.NAME not in PROBES]
        for file, name in HELD_OUT.items():
            talks = [item for item in islice(read_source(data / file), limit) if isinstance(item, Conversation)]
            cards = {said: evaluate(model, other, talks, chosen).scorecard for said, other in others.items()}
            lines += [f"**{name}**, {len(talks)} dialogues, 3 answers to each.", "", *beside(cards)]
            print("\n".join(lines[-30:]), flush=True)
    finally:
        cache.close()
    return lines


def probes(card: Scorecard) -> list[str]:
    """What was written for every model, and what tuning gained and lost of it."""
    gained = len(card.flips) - card.negative_flips
    unsafe = sum(flip.is_safety and flip.was_correct for flip in card.flips)
    return [
        "| written for every model | model | 95 % | untuned |",
        "| --- | --- | --- | --- |",
        *(f"| {line.label} | {shown(line)} | {ranged(line)} | {other(line)} |" for line in card.rows),
        f"\nOf the golden set tuning gained {gained} cases and lost {card.negative_flips}, {unsafe} of them of safety.",
        "",
    ]


def beside(cards: Mapping[str, Scorecard]) -> list[str]:
    """One held-out set: the model, and every other one with what the difference is."""
    rows = {said: {line.name: line for line in card.rows} for said, card in cards.items()}
    full = max(rows.values(), key=len)  # some have no likelihoods
    lines = [
        "| | model | 95 % | untuned | 4-gram | most similar question's answer |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, line in full.items():
        values = " | ".join(other(row.get(name)) for row in rows.values())
        lines.append(f"| {line.label} | {shown(line)} | {ranged(line)} | {values} |")
    for said, card in cards.items():
        lines.append(f"\nAgainst {said}: {card.verdict}. {' '.join(card.reasons)}")
    return [*lines, ""]


def shown(line: ScorecardRow) -> str:
    """The model's value."""
    return f"{line.value:{line.value_format}}"


def ranged(line: ScorecardRow) -> str:
    """Its interval."""
    return f"{line.interval.low:{line.value_format}} to {line.interval.high:{line.value_format}}"


def other(line: ScorecardRow | None) -> str:
    """The value of what it is compared with, and what the difference is where that is judged."""
    if line is None or line.base_value is None:
        return "–"
    told = {"worse": " (model worse)"} if line.one_sided else {"better": " (model better)", "worse": " (model worse)"}
    mark = told.get(line.verdict, "") if line.counts_for_verdict else ""
    return f"{line.base_value:{line.value_format}}{mark}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("box", type=Path)
    parser.add_argument("--model", default="box")
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--out", type=Path, help="a file for the tables")
    said = parser.parse_args()
    found = "\n".join(tables(resolve_model_folder(said.model), said.box, said.limit)) + "\n"
    if said.out:
        said.out.write_text(found)


if __name__ == "__main__":
    main()
