"""The model in the box beside what it should beat: compare.py DATA [--model FOLDER] [--limit N]

DATA is what `prepare.py` wrote. On every held-out set the model is compared with two baselines that learned from what
it was tuned on last (`short.jsonl`): an n-gram model of its tokens, and the answer to the most similar question. Prints
the tables of the model card; `pack.py` puts them there.
"""

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from turnwise.assemble import model_folder, subject
from turnwise.core.messages import Conversation
from turnwise.core.settings import Settings
from turnwise.data.sources import read_source
from turnwise.evaluation.baselines import open_baseline
from turnwise.evaluation.cache import Cache
from turnwise.evaluation.metric import Metric
from turnwise.evaluation.metrics import metrics
from turnwise.evaluation.run import Evaluation, evaluate
from turnwise.evaluation.scorecard import Line

HELD_OUT = {
    "valid_support.jsonl": "customer support (Bitext, validation split)",
    "valid_chat.jsonl": "open-domain talk (Self-dialogue, validation split)",
    "valid_small_talk.jsonl": "small talk (same grammar, another seed)",
    "valid_short.jsonl": "support in few words, and names it never saw (same grammars, another seed)",
}
PROBES = ("golden", "contradiction", "recall", "knowledge")  # ask the same whatever the data is
TOKENS = 128  # of an answer


def tables(folder: Path, data: Path, limit: int = 200) -> list[str]:
    """Markdown: the probes once, then a table for every held-out set."""
    asked = {"max_tokens": TOKENS}
    lines: list[str] = []
    cache = Cache(Settings.from_environment().home / "evaluations.db")
    try:
        model = partial(subject, str(folder), cache, asked=asked)
        for number, (file, name) in enumerate(HELD_OUT.items()):
            talks = [item for item in islice(read_source(data / file), limit) if isinstance(item, Conversation)]
            if not number:
                own = evaluate(model, None, talks, metrics(PROBES))
                lines += ["| written for every model | value | 95 % |", "| --- | --- | --- |"]
                lines += [f"| {line.label} | {shown(line)} | {ranged(line)} |" for line in own.card.lines] + [""]
            chosen = [metric for metric in metrics() if metric.NAME not in PROBES]
            lines += beside(name, model, data, folder, talks, chosen)
            print("\n".join(lines[-20:]), flush=True)
    finally:
        cache.close()
    return lines


def beside(
    name: str, model: Any, data: Path, folder: Path, talks: Sequence[Conversation], chosen: Sequence[Metric]
) -> list[str]:
    """One held-out set: the model, and each baseline with what the difference is."""
    found: dict[str, Evaluation] = {}
    for kind in ("ngram", "retrieval"):
        base = partial(open_baseline, kind, data / "short.jsonl", folder)
        found[kind] = evaluate(model, base, talks, chosen)
    rows: Mapping[str, Mapping[str, Line]] = {
        kind: {line.name: line for line in each.card.lines} for kind, each in found.items()
    }
    lines = [f"**{name}**, {len(talks)} dialogues, 3 answers to each.", ""]
    lines += ["| | model | 95 % | 4-gram | most similar question's answer |", "| --- | --- | --- | --- | --- |"]
    for metric in chosen:
        line = rows["ngram"].get(metric.NAME)
        if line is not None:
            lines.append(
                f"| {line.label} | {shown(line)} | {ranged(line)} | {other(rows['ngram'], metric.NAME)} "
                f"| {other(rows['retrieval'], metric.NAME)} |"
            )
    for kind, said in (("ngram", "the 4-gram model"), ("retrieval", "retrieval")):
        card = found[kind].card
        lines.append(f"\nAgainst {said}: {card.verdict}. {' '.join(card.reasons)}")
    return [*lines, ""]


def shown(line: Line) -> str:
    """The model's value."""
    return f"{line.value:{line.shown}}"


def ranged(line: Line) -> str:
    """Its interval."""
    return f"{line.interval.low:{line.shown}} to {line.interval.high:{line.shown}}"


def other(rows: Mapping[str, Line], name: str) -> str:
    """A baseline's value, and what the difference is where that is judged."""
    line = rows.get(name)
    if line is None or line.base is None:
        return "–"
    told = {"worse": " (model worse)"} if line.guard else {"better": " (model better)", "worse": " (model worse)"}
    mark = told.get(line.verdict, "") if line.judged else ""
    return f"{line.base:{line.shown}}{mark}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="box")
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--out", type=Path, help="a file for the tables")
    said = parser.parse_args()
    found = "\n".join(tables(model_folder(said.model), said.data, said.limit)) + "\n"
    if said.out:
        said.out.write_text(found)


if __name__ == "__main__":
    main()
