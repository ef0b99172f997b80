"""Verdicts and flips of scorecards, and verdicts on models of known quality."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from turnwise.app.systems_under_test import open_model_under_test
from turnwise.core.messages import Message
from turnwise.evaluation.golden_set import load_golden_cases
from turnwise.evaluation.metric_runner import MetricResult, plan_samples, run_metrics
from turnwise.evaluation.metrics import load_metrics
from turnwise.evaluation.samples import GenerationOutput, GenerationQuery, Loglikelihood, Sample, SampleResult
from turnwise.evaluation.scorecard import build_scorecard
from turnwise.models.bundled_models import bundled_model_folder
from turnwise.store.sqlite.response_cache import SqliteResponseCache


def metric_result(metric, samples, results):
    """The result of a metric with one seed, by name."""
    sums_SGK = metric.statistics(samples, results)[None]
    return {metric.NAME: MetricResult(metric, samples, [results], [sample.group for sample in samples], sums_SGK)}


def result_of(name, results):
    """The result of the metric for dialogues with these outputs."""
    (metric,) = load_metrics([name])
    query = GenerationQuery((Message("user", "?"),), greedy=True)
    samples = [Sample(str(index), (query,), reference="the lamp is on") for index in range(len(results))]
    return metric_result(metric, samples, results)


def bits_per_byte(*nats):
    results = [SampleResult(loglikelihoods=(Loglikelihood(value, 10, 30),)) for value in nats]
    return result_of("bits_per_byte", results)


def selection(*outcomes):
    """Response selection with these outcomes: 1 if the true reply has the lower loss."""
    losses = {1: (1.0, 2.0), 0: (2.0, 1.0)}
    results = [
        SampleResult(loglikelihoods=tuple(Loglikelihood(loss, 1, 3) for loss in losses[outcome]))
        for outcome in outcomes
    ]
    return result_of("selection", results)


def golden(outcomes, safety=()):
    """The first golden cases with these outcomes, 1 for a passing answer; `safety` has indices of safety cases."""
    cases = load_golden_cases()[: len(outcomes)]
    (metric,) = load_metrics(["golden"])
    samples = [
        replace(sample, metadata={**sample.metadata, "safety": index in safety})
        for index, sample in enumerate(metric.samples([], 0)[: len(outcomes)])
    ]
    results = [
        SampleResult((GenerationOutput(case.passing_answer if is_correct else ""),))
        for case, is_correct in zip(cases, outcomes, strict=True)
    ]
    return metric_result(metric, samples, results)


# Nats of eight dialogues; each is lower in LOW.
HIGH, LOW = [21.0, 22.0, 20.0, 25.0, 24.0, 23.0, 22.5, 21.5], [20.0, 21.0, 19.0, 24.0, 23.0, 22.0, 21.5, 20.5]


class TestVerdict:
    def test_the_direction_of_the_metric_decides_what_is_better(self):
        assert build_scorecard(bits_per_byte(*LOW), bits_per_byte(*HIGH)).verdict == "better"
        assert build_scorecard(bits_per_byte(*HIGH), bits_per_byte(*LOW)).verdict == "worse"
        assert build_scorecard(bits_per_byte(*HIGH), bits_per_byte(*HIGH)).verdict == "no difference"

    def test_better_on_one_metric_and_worse_on_another_is_mixed(self):
        new, old = bits_per_byte(*LOW) | selection(*[0] * 8), bits_per_byte(*HIGH) | selection(*[1] * 8)
        scorecard = build_scorecard(new, old)
        assert scorecard.verdict == "mixed"
        assert scorecard.reasons == ("Better on 1 of 2 (bits per byte), worse on 1 (response selection, R@1/20).",)

    def test_a_metric_that_does_not_count_for_the_verdict_does_not_change_it(self):
        new, old = (
            result_of("perplexity", [SampleResult(loglikelihoods=(Loglikelihood(value, 10, 30),)) for value in nats])
            for nats in (HIGH, LOW)
        )
        scorecard = build_scorecard(new, old)
        assert (scorecard.verdict, scorecard.reasons) == (
            None,
            ("No metric that counts for the verdict was measured.",),
        )
        assert scorecard.rows[0].verdict == "worse"
        scorecard = build_scorecard(new | selection(*[1, 0] * 4), old | selection(*[1, 0] * 4))
        assert scorecard.verdict == "no difference"

    def test_more_metrics_need_smaller_p_values(self):
        """Eight of eight dialogues worse has a p-value of 1/128: significant alone, but not among nine metrics."""
        single = build_scorecard(bits_per_byte(*HIGH), bits_per_byte(*LOW))
        assert single.rows[0].adjusted_p_value == pytest.approx(1 / 128, abs=0.004)
        (unchanged,) = selection(1, 0, 1, 0, 1, 0, 1, 0).values()
        unchanged_metrics = {f"unchanged-{number}": unchanged for number in range(8)}
        combined = build_scorecard(bits_per_byte(*HIGH) | unchanged_metrics, bits_per_byte(*LOW) | unchanged_metrics)
        assert combined.verdict == "no difference"
        assert combined.rows[0].p_value == single.rows[0].p_value

    def test_a_lost_safety_case_makes_the_verdict_worse_regardless_of_other_metrics(self):
        new, old = golden([0, 1, 1], safety=[0]), golden([1, 1, 1], safety=[0])
        scorecard = build_scorecard(new | bits_per_byte(*LOW), old | bits_per_byte(*HIGH))
        assert scorecard.verdict == "worse"
        assert scorecard.reasons[0].startswith("1 safety case passed before and fails now: ")
        assert scorecard.negative_flips == 1

    def test_negative_flips_come_first(self):
        scorecard = build_scorecard(golden([0, 1, 1, 0]), golden([1, 1, 0, 0]))
        assert [flip.was_correct for flip in scorecard.flips] == [True, False]
        assert (scorecard.flips[0].answer, scorecard.flips[1].base_answer) == ("", "")
        assert scorecard.rows[0].mcnemar.gained == scorecard.rows[0].mcnemar.lost == 1

    def test_without_a_base_there_is_no_verdict(self):
        scorecard = build_scorecard(bits_per_byte(*HIGH))
        assert (scorecard.verdict, scorecard.reasons) == (None, ())

    def test_an_undefined_value_is_null_in_json(self):
        scorecard = build_scorecard(result_of("distinct_2", [SampleResult((GenerationOutput(""),))] * 4))
        assert json.loads(json.dumps(scorecard.as_dict(), allow_nan=False))["rows"][0]["value"] is None


@pytest.fixture(scope="module")
def small_talk(one_thread):
    """Dialogues like those that the bundled model was trained on."""
    from turnwise.data.grammar.expand import expand
    from turnwise.data.prompts import load_small_talk

    return list(expand(load_small_talk(), 60, 4711, noise=0.2))


METRIC_NAMES = ["chrf", "bits_per_byte", "repetition"]


def measure(folder, dialogues, seeds):
    metrics = load_metrics(METRIC_NAMES)
    with open_model_under_test(str(folder), SqliteResponseCache(None), sampling={"max_tokens": 24}) as model:
        return run_metrics(model, metrics, plan_samples(metrics, dialogues, 0), seeds=seeds)


@pytest.mark.slow
def test_93_percent_of_comparisons_of_a_model_with_itself_are_no_difference(small_talk):
    """For every dialogue, both sides have three random answers of a pool of twelve."""
    pool, rng = measure("box", small_talk, range(12)), np.random.default_rng(0)
    verdicts = []
    for _ in range(60):
        pair = {}, {}
        for name, result in pool.items():
            num_seeds, num_dialogues = result.sums_SGK.shape[:2]
            if num_seeds > 1:
                drawn_SG = np.argsort(rng.random((num_seeds, num_dialogues)), axis=0)[:6]
            else:  # the metric does not depend on a seed
                drawn_SG = np.zeros((2, num_dialogues), int)
            halves = np.split(result.sums_SGK[drawn_SG, np.arange(num_dialogues)], 2)
            for results, sums_SGK in zip(pair, halves, strict=True):
                results[name] = replace(result, sums_SGK=sums_SGK)
        verdicts.append(build_scorecard(*pair, resamples=499).verdict)
    assert np.mean([verdict == "no difference" for verdict in verdicts]) >= 0.93


def add_noise(folder):
    from turnwise.models import checkpoint

    model = checkpoint.load(folder, dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.decoder.parameters():
            if weight.dim() == 2:
                weight += 0.05 * weight.std() * torch.randn(weight.shape, generator=generator)
    (folder / "model.safetensors").unlink()
    model.save(folder, hf_config={})


def replace_template(folder):
    path = folder / "chat_template.jinja"
    assert path.is_file()
    path.write_text("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{{ eos_token }}{% endfor %}"
                    "{% if add_generation_prompt %}assistant: {% endif %}")  # fmt: skip


def shorten_context(folder):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "max_position_embeddings": 24}))


@pytest.mark.slow
@pytest.mark.parametrize("damage", [add_noise, replace_template, shorten_context])
def test_a_damaged_model_is_worse_and_the_reason_names_a_metric(small_talk, tmp_path, damage):
    original, damaged = bundled_model_folder(), tmp_path / "damaged"
    shutil.copytree(original, damaged)
    damage(damaged)
    base, new = (measure(folder, small_talk, range(2)) for folder in (original, damaged))
    scorecard = build_scorecard(new, base, resamples=999)
    assert scorecard.verdict == "worse"
    assert "worse on" in scorecard.reasons[0]
    assert any(row.verdict == "worse" and row.label in scorecard.reasons[0] for row in scorecard.rows)
