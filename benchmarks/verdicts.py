"""How often the verdict of a scorecard is right for models of known quality: equal ones and damaged ones.

    python benchmarks/verdicts.py DATA.jsonl                                 the default model
    python benchmarks/verdicts.py DATA.jsonl --model FOLDER --runs 100

Equal models are one model with different seeds: a pool of answers to each history is sampled once, and every run
compares three of them with three others. Metrics that do not depend on a seed, such as likelihoods, are then the same
on both sides. Damaged models have noise of 5 % of each matrix's standard deviation on the weights, a chat template with
other role names, or a context of 48 to 80 tokens.
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

NUM_SEEDS = 3  # answers per history in a comparison
POOL_SIZE = 24  # answers per history for the comparisons of equal models
METRIC_NAMES = ["golden", "selection", "chrf", "bits_per_byte", "repetition", "contradiction", "knowledge"]


def split_pool(pool: Mapping[str, MetricResult], rng: np.random.Generator) -> list[dict[str, MetricResult]]:
    """Results of two equal models: for every dialogue, two disjoint random samples of `NUM_SEEDS` answers."""
    pair: list[dict[str, MetricResult]] = [{}, {}]
    for name, result in pool.items():
        num_answers, num_dialogues = result.sums_SGK.shape[:2]
        if num_answers == 1:  # the metric does not depend on a seed
            for results in pair:
                results[name] = result
            continue
        # Drawn for each dialogue separately, because the pool has too few answers for independent runs otherwise.
        drawn_SG = np.argsort(rng.random((num_answers, num_dialogues)), axis=0)[: 2 * NUM_SEEDS]
        sums_SGK = result.sums_SGK[drawn_SG, np.arange(num_dialogues)]
        by_seed = result.results_by_seed[:NUM_SEEDS]
        pair[0][name] = replace(result, results_by_seed=by_seed, sums_SGK=sums_SGK[:NUM_SEEDS])
        pair[1][name] = replace(result, results_by_seed=by_seed, sums_SGK=sums_SGK[NUM_SEEDS:])
    return pair


def first_seeds(pool: Mapping[str, MetricResult]) -> dict[str, MetricResult]:
    """Results of the first `NUM_SEEDS` answers of the pool."""
    return {
        name: replace(result, results_by_seed=result.results_by_seed[:NUM_SEEDS], sums_SGK=result.sums_SGK[:NUM_SEEDS])
        for name, result in pool.items()
    }


def add_noise(source: Path, target: Path, seed: int, scale: float = 0.05) -> None:
    """Write a model with Gaussian noise on all matrices, `scale` times their standard deviation."""
    model = checkpoint.load(source, dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.decoder.parameters():
            if weight.dim() == 2:
                weight += scale * weight.std() * torch.randn(weight.shape, generator=generator)
    model.save(target, hf_config={})
    Tokenizer.load(source).save(target)
    shutil.copy(source / "generation_config.json", target)


def replace_template(source: Path, target: Path, seed: int) -> None:
    """Write a model with a chat template that it was not trained on; the role names depend on the seed."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    user, assistant = [("User", "Assistant"), ("Q", "A"), ("Human", "Bot"), ("###", "==>"), ("Client", "Agent")][
        seed % 5
    ]
    template = (
        "{% for m in messages %}{% if m['role'] == 'assistant' %}\n" + assistant + ": {{ m['content'] }}{{ eos_token }}"
        "{% else %}\n" + user + ": {{ m['content'] }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}\n" + assistant + ": {% endif %}"
    )
    (target / "chat_template.jinja").write_text(template)
    config = json.loads((target / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (target / "tokenizer_config.json").write_text(json.dumps(config))


def shorten_context(source: Path, target: Path, seed: int) -> None:
    """Write a model with a context of 48 to 80 tokens."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    config = json.loads((target / "config.json").read_text())
    config["max_position_embeddings"] = [48, 56, 64, 72, 80][seed % 5]
    (target / "config.json").write_text(json.dumps(config))


DAMAGES = {"noise on weights": add_noise, "other template": replace_template, "short context": shorten_context}


def create_damaged_models(source: Path, count: int, stack: ExitStack) -> Iterator[tuple[str, Path]]:
    """Yield kind and folder of damaged models, `count` of each kind; the stack deletes the folders."""
    for name, damage in DAMAGES.items():
        for seed in range(count):
            target = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            damage(source, target, seed)
            yield name, target


def measure(folder: Path, samples: Mapping[str, Sequence[Sample]], num_seeds: int) -> dict[str, MetricResult]:
    """Compute all metrics of a model."""
    with open_model_under_test(str(folder), SqliteResponseCache(None), sampling={"max_tokens": 64}) as model:
        return run_metrics(model, load_metrics(METRIC_NAMES), samples, seeds=range(num_seeds))


def print_row(name: str, scorecards: Sequence[Scorecard]) -> None:
    """Print the counts of verdicts, and of metrics that are worse."""
    verdicts = Counter(str(scorecard.verdict) for scorecard in scorecards)
    worse_metrics = Counter(
        row.name
        for scorecard in scorecards
        for row in scorecard.rows
        if row.counts_for_verdict and row.verdict == "worse"
    )
    verdict_counts = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
    metric_counts = ", ".join(f"{metric} {count}" for metric, count in worse_metrics.most_common())
    print(f"| {name} | {len(scorecards)} | {verdict_counts} | {metric_counts} |", flush=True)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a file of dialogues")
    parser.add_argument("--model", default="tiny", help="a model name or folder; default: tiny")
    parser.add_argument("--dialogues", type=int, default=100, help="maximum number of dialogues (default: 100)")
    parser.add_argument("--runs", type=int, default=100, help="comparisons of equal models (default: 100)")
    parser.add_argument("--damages", type=int, default=5, help="damaged models of each kind (default: 5)")
    args = parser.parse_args()
    source = resolve_model_folder(args.model)
    conversations = (item for item in read_source(args.data) if isinstance(item, Conversation))
    samples = plan_samples(load_metrics(METRIC_NAMES), list(itertools.islice(conversations, args.dialogues)), 0)
    start = time.perf_counter()
    pool = measure(source, samples, POOL_SIZE)
    print(
        f"{args.dialogues} dialogues, {NUM_SEEDS} answers to each; {time.perf_counter() - start:.0f} s for the pool\n"
    )
    print("| truth | runs | verdicts | worse on |\n| --- | --- | --- | --- |")
    rng = np.random.default_rng(0)
    equal_models = [build_scorecard(*split_pool(pool, rng), resamples=1999) for _ in range(args.runs)]
    print_row("equal models", equal_models)
    base = first_seeds(pool)
    with ExitStack() as stack:
        damaged_models: dict[str, list[Scorecard]] = {}
        for name, folder in create_damaged_models(source, args.damages, stack):
            scorecard = build_scorecard(measure(folder, samples, NUM_SEEDS), base, resamples=1999)
            damaged_models.setdefault(name, []).append(scorecard)
        for name, scorecards in damaged_models.items():
            print_row(name, scorecards)
    assert np.isfinite(equal_models[0].rows[0].value), "the data has no samples for the first metric"


if __name__ == "__main__":
    main()
