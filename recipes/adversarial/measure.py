"""Measures the models of the adversarial experiment: measure.py MODELS --data DATA --reference ARM --out OUT

MODELS is a folder with model folders named ARM-SEED, or a YAML file with models by arm (`experiment_arms.py`). DATA is
the folder that `prepare.py` wrote. Every arm is compared with the reference arm, SFT continued for as long.
OUT receives

    results.md, results.json, quality_diversity.png
    replies/ARM-SEED.jsonl    the generated replies, to read
    responses.db              replies and evaluations so far; an interrupted run continues from here
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from arm_comparison import MeasuredModel, compare_arms
from comparison_report import ExperimentResults, json_report, markdown_report
from evaluator_checks import check_evaluators
from experiment_arms import ExperimentModel, find_models, group_by_arm
from fresh_evaluator import ReplyPairs, evaluator_credits
from model_measurements import (
    ExperimentData,
    ModelMeasurements,
    human_replies,
    load_data,
    measure_human_replies,
    measure_model,
    plain_sampling,
)
from quality_figure import write_quality_figure
from reply_features import ContextReply, context_replies, feature_kinds

from turnwise.app.knowledge.encoder import ModelEncoder
from turnwise.app.systems_under_test import check_system_exists, open_model_under_test
from turnwise.core.errors import InvalidParameter, ModelNotFound, TurnwiseError, did_you_mean
from turnwise.core.files import atomic_write
from turnwise.core.response_cache import ResponseCache, cache_key
from turnwise.evaluation.metric import FloatArray
from turnwise.store.sqlite.response_cache import SqliteResponseCache

TEMPERATURES = (0.1, 0.3, 0.5, 0.7, 1.0)
TABLE_TEMPERATURE = 0.7
ENCODER = "minilm"
EVALUATOR_VERSION = 1  # increase it when features or training of the evaluators change
PROGRESS_STEP = 1_000  # requests

FeatureKinds = Mapping[str, Callable[[], Any]]


def main(options: argparse.Namespace) -> None:
    """Measure, compare and write."""
    models = find_models(options.models)
    arms = group_by_arm(models)
    reference = options.reference
    if reference not in arms:
        raise InvalidParameter("reference", f"There is no arm '{reference}': {did_you_mean(reference, list(arms))}")
    if options.table_temperature not in options.temperatures:
        raise InvalidParameter("table_temperature", "--table-temperature should be one of --temperatures.")
    for model in models:
        check_system_exists(model.model)
    data = load_data(options.data, options.limit)
    kinds = feature_kinds(open_encoder(options.encoder, options.threads))
    human = {name: context_replies(items, human_replies(items)) for name, items in data.contexts.items()}
    cache = SqliteResponseCache(options.out / "responses.db")
    try:
        checks = check_evaluators(kinds, human)
        for check in checks:
            outcome = "as expected" if check.passes else f"FAILED, expected {check.low:.0%} to {check.high:.0%}"
            print(f"{check.task}, {check.evaluator}: {check.accuracy:.1%}, {outcome}", flush=True)
        measured = {
            model.name: measure(model, data, human, kinds, cache, options.temperatures, options) for model in models
        }
    finally:
        cache.close()
    by_arm = {
        arm: [measured[model.name] for model in arms[arm]] for arm in sorted(arms, key=lambda arm: arm != reference)
    }
    results = ExperimentResults(
        by_arm,
        reference,
        measure_human_replies(data),
        checks,
        compare_arms(by_arm, reference, options.table_temperature),
        options.table_temperature,
    )
    report = markdown_report(results)
    print(report)
    atomic_write(options.out / "results.md", report)
    atomic_write(options.out / "results.json", json.dumps(json_report(results), indent=1, ensure_ascii=False) + "\n")
    write_quality_figure(results, options.out / "quality_diversity.png")


def measure(
    model: ExperimentModel,
    data: ExperimentData,
    human: Mapping[str, Sequence[ContextReply]],
    kinds: FeatureKinds,
    cache: ResponseCache,
    temperatures: Sequence[float],
    options: argparse.Namespace,
) -> MeasuredModel:
    """Generate the replies of one model, compute its metrics and train its evaluators."""

    def on_progress(kind: str, done: int, total: int) -> None:
        if done == total or done % PROGRESS_STEP == 0:
            print(f"{model.name}: {done:,} of {total:,} {kind}", flush=True)

    with open_model_under_test(model.model, cache, sampling=plain_sampling(), threads=options.threads) as system:
        measurements = measure_model(system, data, temperatures, on_progress)
    write_replies(options.out / "replies" / f"{model.name}.jsonl", measurements)
    credits: dict[str, dict[float, FloatArray]] = {}
    for name, make_features in kinds.items():
        for temperature in temperatures:
            generated = {
                file: context_replies(items, measurements.replies[file, temperature])
                for file, items in data.contexts.items()
            }
            credits_G = cached_credits(cache, f"{name} {options.encoder}", make_features, human, generated)
            credits.setdefault(name, {})[temperature] = np.stack([credits_G, np.ones_like(credits_G)], axis=1)
        print(f"{model.name}: evaluators of {name} are trained", flush=True)
    return MeasuredModel(model.seed, measurements, credits)


def cached_credits(
    cache: ResponseCache,
    evaluator: str,
    make_features: Callable[[], Any],
    human: Mapping[str, Sequence[ContextReply]],
    generated: Mapping[str, Sequence[ContextReply]],
) -> FloatArray:
    """Credits of an evaluator on the test contexts, `(G)`, from the cache or trained now."""
    files = ("evaluator_train", "evaluator_valid", "test")
    key = cache_key("fresh evaluator", EVALUATOR_VERSION, evaluator, [[human[file], generated[file]] for file in files])
    if (entry := cache.get([key]).get(key)) is not None:
        return np.array(entry["credits"])
    pairs = [ReplyPairs(human[file], generated[file]) for file in files]
    credits_G = evaluator_credits(make_features, *pairs)
    cache.put(key, {"credits": credits_G.tolist()})
    cache.write()
    return credits_G


def write_replies(path: Path, measurements: ModelMeasurements) -> None:
    """Write the generated replies as JSON lines, in the order of the contexts."""
    rows = (
        {"file": file, "index": index, "temperature": temperature, "reply": reply}
        for (file, temperature), replies in measurements.replies.items()
        for index, reply in enumerate(replies)
    )
    atomic_write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def open_encoder(name: str, threads: int | None) -> ModelEncoder | None:
    """The sentence encoder, or None for "none" and where the default one is not pulled."""
    if name == "none":
        return None
    try:
        return ModelEncoder(name, threads)
    except ModelNotFound:
        if name != ENCODER:
            raise
        print(f"Without the evaluator on sentence vectors: 'turnwise models pull {ENCODER}' adds it.")
        return None


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--reference", required=True, metavar="ARM", help="the arm to compare with: SFT continued")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--temperatures", type=float, nargs="+", default=list(TEMPERATURES))
    parser.add_argument("--table-temperature", type=float, default=TABLE_TEMPERATURE)
    parser.add_argument("--encoder", default=ENCODER, help=f"a sentence encoder, or none; default: {ENCODER}")
    parser.add_argument("--limit", type=int, help="only so many contexts of each file, for a quick look")
    parser.add_argument("--threads", type=int)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    try:
        main(parse_arguments())
    except TurnwiseError as error:
        raise SystemExit(f"Error: {error}") from error
