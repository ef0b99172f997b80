"""Recall and false alarms of the safety lines of a scenario, by phrases and by its classifier.

    python benchmarks/emergency_recall.py
    python benchmarks/emergency_recall.py --embeddings e5-small
    python benchmarks/emergency_recall.py --phrases-only
    python benchmarks/emergency_recall.py --harmless questions.jsonl.gz texts.csv.gz

Recall: share of the messages in `emergency_messages.yaml`, and of the emergencies in `emergency_prompts.yaml` (another
author), that some safety line matches, with a Wilson interval. False alarms: share of the ordinary health messages in
`emergency_prompts.yaml`, and of the first messages of dialogues (JSON lines with `messages`) or of the texts (CSV,
first column) in the files of `--harmless`, up to 400 characters, that some line matches; `--sample` draws some. A
few of the latter are emergencies.
"""

import argparse
import asyncio
import csv
import gzip
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from turnwise.app.embedding_services import open_embedding_service
from turnwise.app.scenario_folders import find_scenario
from turnwise.chat.service_path.scenario_resources import choose_safety_encoder
from turnwise.chat.service_path.text_encoders import EmbeddingEncoder
from turnwise.core.strict_yaml import read_yaml
from turnwise.evaluation.statistics import wilson_interval
from turnwise.scenarios.definition import ScenarioDefinition

MESSAGES = Path(__file__).with_name("emergency_messages.yaml")
PROMPTS = Path(__file__).with_name("emergency_prompts.yaml")
MAX_CHARS = 400
SEED = 20240607


def main() -> None:
    """Print one line per language and file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--scenario", default="health_information")
    parser.add_argument("--harmless", type=Path, nargs="*", default=[])
    parser.add_argument("--sample", type=int, help="number of texts of a harmless file, drawn at random")
    parser.add_argument("--embeddings", help="embedding model for the classifier; default: none")
    parser.add_argument("--phrases-only", action="store_true", help="leave the classifier out")
    parser.add_argument("--list", action="store_true", help="print the messages that are missed or falsely matched")
    options = parser.parse_args()
    scenario = find_scenario(options.scenario)
    match = matcher(scenario, options.embeddings, is_classified=not options.phrases_only)
    for language, messages in read_yaml(MESSAGES, "messages").items():
        report(match, f"recall {language}", messages, shows=False if options.list else None)
    prompts = read_yaml(PROMPTS, "prompts")
    for language, messages in prompts["emergency"].items():
        report(match, f"recall prompts {language}", messages, shows=False if options.list else None)
    for language, messages in prompts["ordinary"].items():
        report(match, f"false alarms prompts {language}", messages, shows=True if options.list else None)
    for path in options.harmless:
        texts = [text for text in read_texts(path) if len(text) <= MAX_CHARS]
        if options.sample is not None:
            texts = random.Random(SEED).sample(texts, min(options.sample, len(texts)))
        report(match, f"false alarms {path.parent.name}", texts, shows=True if options.list else None)


def matcher(scenario: ScenarioDefinition, embeddings: str | None, *, is_classified: bool) -> Callable[[str], bool]:
    """A function that tells whether a message gets a safety line."""
    encoder = None if embeddings is None else EmbeddingEncoder(open_embedding_service(embeddings))
    if encoder is not None and asyncio.run(choose_safety_encoder(scenario, encoder)) is None:
        raise SystemExit(f"The classifier was not trained on the embedding model {embeddings}.")

    def match(message: str) -> bool:
        if scenario.match_safety_phrases(message) is not None:
            return True
        if not is_classified:
            return False
        windows = scenario.safety_windows(message)
        vectors_WD = asyncio.run(encoder.encode(windows)) if encoder is not None and windows else None
        return scenario.classify_safety(message, vectors_WD)[0] is not None

    return match


def report(match: Callable[[str], bool], label: str, messages: list[str], *, shows: bool | None) -> None:
    """Print the share of messages that a safety line matches; list the matched or the other ones, or none."""
    is_matched_M = np.array([match(message) for message in messages])
    interval = wilson_interval(is_matched_M.astype(np.float64))
    print(
        f"{label}: {is_matched_M.sum()} of {len(messages)}, {is_matched_M.mean():.2%} "
        f"[{interval.low:.2%}, {interval.high:.2%}]"
    )
    if shows is not None:
        for message, is_matched in zip(messages, is_matched_M, strict=True):
            if is_matched == shows:
                print(f"  {message}")


def read_texts(path: Path) -> Iterator[str]:
    """Yield the texts of a file, see the module docstring."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        if path.name.endswith(".csv.gz"):
            rows = csv.reader(file)
            next(rows)
            yield from (row[0] for row in rows)
        else:
            for line in file:
                first = json.loads(line)["messages"][0]
                if first["role"] == "user":
                    yield first["content"]


if __name__ == "__main__":
    main()
