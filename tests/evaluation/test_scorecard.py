"""Verdicts are right where the truth is known; damages are seen, and where."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from turnwise.app.model_names import resolve_model_folder as bundled_model_folder
from turnwise.app.systems_under_test import open_model_under_test
from turnwise.core.messages import Message
from turnwise.evaluation.metric_runner import MetricResult, plan_samples, run_metrics
from turnwise.evaluation.metrics import load_metrics
from turnwise.evaluation.samples import GenerationOutput, GenerationQuery, Loglikelihood, Sample, SampleResult
from turnwise.evaluation.scorecard import build_scorecard
from turnwise.store.sqlite.response_cache import SqliteResponseCache


def of(name, found, about=None):
    """Measured by one metric: what came back by dialogue."""
    (metric,) = load_metrics([name])
    ask = GenerationQuery((Message("user", "?"),), greedy=True)
    items = [
        Sample(str(at), (ask,), reference="the lamp is on", metadata=(about or {}).get(at, {}))
        for at in range(len(found))
    ]
    return {
        name: MetricResult(
            metric, items, [found], [item.group for item in items], metric.statistics(items, found)[None]
        )
    }


def surprise(*nats):
    return of("bits_per_byte", [SampleResult(loglikelihoods=(Loglikelihood(value, 10, 30),)) for value in nats])


def ranked(*right):
    losses = {True: (1.0, 2.0), False: (2.0, 1.0)}
    return of(
        "selection",
        [SampleResult(loglikelihoods=tuple(Loglikelihood(loss, 1, 3) for loss in losses[bool(one)])) for one in right],
    )


def golden(right, safety=()):
    """Golden cases that are asked for a word, with the answers of a model that says it or not."""
    from turnwise.evaluation.golden_set import load_golden_cases

    cases = load_golden_cases()[: len(right)]
    (metric,) = load_metrics(["golden"])
    items = list(metric.samples([], 0))[: len(right)]
    items = [replace(item, metadata={**item.metadata, "safety": at in safety}) for at, item in enumerate(items)]
    found = [
        SampleResult((GenerationOutput(case.passing_answer if good else ""),))
        for case, good in zip(cases, right, strict=True)
    ]
    sums = metric.statistics(items, found)[None]
    return {"golden": MetricResult(metric, items, [found], [item.group for item in items], sums)}


HIGH, LOW = [21.0, 22.0, 20.0, 25.0, 24.0, 23.0, 22.5, 21.5], [20.0, 21.0, 19.0, 24.0, 23.0, 22.0, 21.5, 20.5]


class TestVerdict:
    def test_lower_is_better_where_the_metric_says_so(self):
        assert build_scorecard(surprise(*LOW), surprise(*HIGH)).verdict == "better"
        assert build_scorecard(surprise(*HIGH), surprise(*LOW)).verdict == "worse"
        assert build_scorecard(surprise(*HIGH), surprise(*HIGH)).verdict == "no difference"

    def test_better_here_and_worse_there_is_mixed(self):
        new, old = surprise(*LOW) | ranked(*[0] * 8), surprise(*HIGH) | ranked(*[1] * 8)
        card = build_scorecard(new, old)
        assert card.verdict == "mixed"
        assert card.reasons == ("Better on 1 of 2 (bits per byte), worse on 1 (response selection, R@1/20).",)

    def test_what_is_not_judged_decides_nothing(self):
        new, old = (
            of("perplexity", [SampleResult(loglikelihoods=(Loglikelihood(n, 10, 30),)) for n in nats])
            for nats in (HIGH, LOW)
        )
        card = build_scorecard(new, old)
        assert (card.verdict, card.reasons) == (None, ("No metric that counts for the verdict was measured.",))
        assert card.rows[0].verdict == "worse"
        card = build_scorecard(new | ranked(*[1, 0] * 4), old | ranked(*[1, 0] * 4))
        assert card.verdict == "no difference"

    def test_of_many_metrics_each_has_to_be_surer(self):
        """Eight dialogues that all got worse are one in 128; among eight metrics that is not enough."""
        alone = build_scorecard(surprise(*HIGH), surprise(*LOW))
        assert alone.rows[0].adjusted_p_value == pytest.approx(1 / 128, abs=0.004)
        names = [metric.NAME for metric in load_metrics() if metric.COUNTS_FOR_VERDICT][:8]
        (same,) = ranked(1, 0, 1, 0, 1, 0, 1, 0).values()
        others = {f"{name}-same": same for name in names}
        among = build_scorecard(surprise(*HIGH) | others, surprise(*LOW) | others)
        assert among.verdict == "no difference"
        assert among.rows[0].p_value == alone.rows[0].p_value

    def test_one_safety_case_that_was_lost_is_worse_whatever_else(self):
        new, old = golden([0, 1, 1], safety=[0]), golden([1, 1, 1], safety=[0])
        card = build_scorecard(new | surprise(*LOW), old | surprise(*HIGH))
        assert card.verdict == "worse"
        assert card.reasons[0].startswith("1 safety case passed before and fails now: ")
        assert card.negative_flips == 1

    def test_flips_are_told_the_lost_ones_first(self):
        card = build_scorecard(golden([0, 1, 1, 0]), golden([1, 1, 0, 0]))
        assert [flip.was_correct for flip in card.flips] == [True, False]
        assert (card.flips[0].answer, card.flips[1].base_answer) == ("", "")
        assert card.rows[0].mcnemar.gained == card.rows[0].mcnemar.lost == 1

    def test_without_a_base_there_is_none(self):
        card = build_scorecard(surprise(*HIGH))
        assert (card.verdict, card.reasons) == (None, ())

    def test_it_is_plain_json_also_where_there_is_no_number(self):
        card = build_scorecard(of("distinct_2", [SampleResult((GenerationOutput(""),))] * 4))
        assert json.loads(json.dumps(card.as_dict(), allow_nan=False))["rows"][0]["value"] is None


@pytest.fixture(scope="module")
def talks(one_thread):
    """Dialogues of the kind that the model in the box is good at."""
    from turnwise.data.grammar.expand import expand
    from turnwise.data.prompts import load_small_talk

    return list(expand(load_small_talk(), 60, 4711, noise=0.2))


CHOSEN = ["chrf", "bits_per_byte", "repetition"]


def measured(folder, talks, seeds):
    chosen = load_metrics(CHOSEN)
    with open_model_under_test(str(folder), SqliteResponseCache(None), sampling={"max_tokens": 24}) as opened:
        return run_metrics(opened, chosen, plan_samples(chosen, talks, 0), seeds=seeds)


@pytest.mark.slow
def test_equals_with_other_dice_are_no_difference_19_times_of_20(talks):
    """To every dialogue each has three answers out of a pool."""
    pool, dice = measured("box", talks, range(12)), np.random.default_rng(0)
    verdicts = []
    for _ in range(60):
        pair = {}, {}
        for name, each in pool.items():
            seeds, dialogues = each.sums_SGK.shape[:2]
            drawn = (
                np.argsort(dice.random((seeds, dialogues)), axis=0)[:6] if seeds > 1 else np.zeros((2, dialogues), int)
            )
            for one, part in zip(pair, np.split(each.sums_SGK[drawn, np.arange(dialogues)], 2), strict=True):
                one[name] = replace(each, sums_SGK=part)
        verdicts.append(build_scorecard(*pair, resamples=499).verdict)
    assert np.mean([verdict == "no difference" for verdict in verdicts]) >= 0.93


def noise(folder):
    from turnwise.models import checkpoint

    model = checkpoint.load(folder, dtype=torch.float32)
    dice = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.decoder.parameters():
            if weight.dim() == 2:
                weight += 0.05 * weight.std() * torch.randn(weight.shape, generator=dice)
    (folder / "model.safetensors").unlink()
    model.save(folder, hf_config={})


def other_template(folder):
    path = folder / "chat_template.jinja"
    assert path.is_file()
    path.write_text("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{{ eos_token }}{% endfor %}"
                    "{% if add_generation_prompt %}assistant: {% endif %}")  # fmt: skip


def short_context(folder):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "max_position_embeddings": 24}))


@pytest.mark.slow
@pytest.mark.parametrize("damage", [noise, other_template, short_context])
def test_a_damaged_model_is_worse_and_the_reasons_name_where(talks, tmp_path, damage):
    shutil.copytree(bundled_model_folder("box"), tmp_path / "damaged")
    damage(tmp_path / "damaged")
    base, new = (measured(folder, talks, range(2)) for folder in (bundled_model_folder("box"), tmp_path / "damaged"))
    card = build_scorecard(new, base, resamples=999)
    assert card.verdict == "worse"
    assert "worse on" in card.reasons[0]
    assert any(line.verdict == "worse" and line.label in card.reasons[0] for line in card.rows)
