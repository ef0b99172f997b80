"""How often a scorecard's verdict is right where the truth is known: equals, and models that were damaged.

    python benchmarks/verdicts.py DATA.jsonl                                 the model in the box
    python benchmarks/verdicts.py DATA.jsonl --model FOLDER --runs 100

Equals are the same model with other dice: for every run three answers to each history against three others, out of a
pool that is drawn once. What has no dice, such as likelihoods, is then the same. Damages: noise of 5 % of each matrix's
spread on the weights, a template that marks turns with other words, and a context cut to a few dozen tokens.
"""

import argparse
import itertools
import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from turnwise.app.model_names import resolve_model_folder
from turnwise.app.systems_under_test import open_model_under_test
from turnwise.core.messages import Conversation
from turnwise.data.sources import read_source
from turnwise.evaluation.metric_runner import MetricResult, plan_samples, run_metrics
from turnwise.evaluation.metrics import load_metrics
from turnwise.evaluation.samples import Sample
from turnwise.evaluation.scorecard import Scorecard, build_scorecard
from turnwise.models import checkpoint
from turnwise.store.sqlite.response_cache import SqliteResponseCache
from turnwise.text.tokenization.tokenizer import Tokenizer

SEEDS = 3
POOL = 24  # answers to every history, of which each run of equals takes twice three
CHOSEN = ["golden", "selection", "chrf", "bits_per_byte", "repetition", "contradiction", "knowledge"]


def other_dice(measured: Mapping[str, MetricResult], dice: np.random.Generator) -> list[dict[str, MetricResult]]:
    """Two models that are one: to every dialogue three of the pool's answers each, drawn for that dialogue alone."""
    pair: list[dict[str, MetricResult]] = [{}, {}]
    for name, each in measured.items():
        seeds, dialogues = each.sums_SGK.shape[:2]
        if seeds == 1:
            for one in pair:
                one[name] = each
            continue
        drawn_SG = np.argsort(dice.random((seeds, dialogues)), axis=0)[: 2 * SEEDS]
        sums_SGK = each.sums_SGK[drawn_SG, np.arange(dialogues)]
        pair[0][name] = replace(each, results_by_seed=each.results_by_seed[:SEEDS], sums_SGK=sums_SGK[:SEEDS])
        pair[1][name] = replace(each, results_by_seed=each.results_by_seed[:SEEDS], sums_SGK=sums_SGK[SEEDS:])
    return pair


def first_seeds(measured: Mapping[str, MetricResult]) -> dict[str, MetricResult]:
    """As if only these answers had been given."""
    return {
        name: replace(each, results_by_seed=each.results_by_seed[:SEEDS], sums_SGK=each.sums_SGK[:SEEDS])
        for name, each in measured.items()
    }


def noisy(source: Path, target: Path, seed: int, share: float = 0.05) -> None:
    """A model whose matrices have noise of a share of their spread."""
    model = checkpoint.load(source, dtype=torch.float32)
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.decoder.parameters():
            if weight.dim() == 2:
                weight += share * weight.std() * torch.randn(weight.shape, generator=dice)
    model.save(target, hf_config={})
    Tokenizer.load(source).save(target)
    shutil.copy(source / "generation_config.json", target)


def other_template(source: Path, target: Path, seed: int) -> None:
    """A model that is spoken to with marks it never saw; the reader of turns has other words in each of the runs."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    first, second = [("User", "Assistant"), ("Q", "A"), ("Human", "Bot"), ("###", "==>"), ("Client", "Agent")][seed % 5]
    template = (
        "{% for m in messages %}{% if m['role'] == 'assistant' %}\n" + second + ": {{ m['content'] }}{{ eos_token }}"
        "{% else %}\n" + first + ": {{ m['content'] }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}\n" + second + ": {% endif %}"
    )
    (target / "chat_template.jinja").write_text(template)
    config = json.loads((target / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (target / "tokenizer_config.json").write_text(json.dumps(config))


def short_context(source: Path, target: Path, seed: int) -> None:
    """A model that sees a few dozen tokens."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    config = json.loads((target / "config.json").read_text())
    config["max_position_embeddings"] = [48, 56, 64, 72, 80][seed % 5]
    (target / "config.json").write_text(json.dumps(config))


DAMAGES = {"noise on weights": noisy, "other template": other_template, "short context": short_context}


def damaged(source: Path, runs: int, stack: ExitStack) -> Iterator[tuple[str, Path]]:
    """Folders of damaged models, a few of each kind."""
    for name, damage in DAMAGES.items():
        for seed in range(runs):
            target = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            damage(source, target, seed)
            yield name, target


def measured(folder: Path, items: Mapping[str, Sequence[Sample]], seeds: int) -> dict[str, MetricResult]:
    """All metrics of a model."""
    with open_model_under_test(str(folder), SqliteResponseCache(None), sampling={"max_tokens": 64}) as opened:
        return run_metrics(opened, load_metrics(CHOSEN), items, seeds=range(seeds))


def tell(name: str, cards: Sequence[Scorecard]) -> None:
    """A line of the table."""
    verdicts = Counter(str(card.verdict) for card in cards)
    lines = Counter(
        line.name for card in cards for line in card.rows if line.counts_for_verdict and line.verdict == "worse"
    )
    told = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
    print(
        f"| {name} | {len(cards)} | {told} | {', '.join(f'{each} {n}' for each, n in lines.most_common())} |",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", help="a model folder; left out: the one in the box")
    parser.add_argument("--dialogues", type=int, default=100)
    parser.add_argument("--runs", type=int, default=100, help="of equals")
    parser.add_argument("--damages", type=int, default=5, help="of each kind")
    said = parser.parse_args()
    source = resolve_model_folder(said.model)
    talks = itertools.islice((one for one in read_source(said.data) if isinstance(one, Conversation)), said.dialogues)
    items = plan_samples(load_metrics(CHOSEN), list(talks), 0)
    began = time.perf_counter()
    pool = measured(source, items, POOL)
    print(f"{said.dialogues} dialogues, {SEEDS} answers to each; {time.perf_counter() - began:.0f} s for the pool\n")
    print("| truth | runs | verdicts | worse on |\n| --- | --- | --- | --- |")
    dice = np.random.default_rng(0)
    cards = [build_scorecard(*other_dice(pool, dice), resamples=1999) for _ in range(said.runs)]
    tell("equals", cards)
    whole = first_seeds(pool)
    with ExitStack() as stack:
        by_name: dict[str, list[Scorecard]] = {}
        for name, folder in damaged(source, said.damages, stack):
            by_name.setdefault(name, []).append(build_scorecard(measured(folder, items, SEEDS), whole, resamples=1999))
        for name, found in by_name.items():
            tell(name, found)
    assert np.isfinite(cards[0].rows[0].value), "there was something to measure"


if __name__ == "__main__":
    main()
