"""The measuring half of the adversarial experiment: parts of the data, gates, evaluators, and the comparison."""

import importlib
import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.errors import InvalidData, UserError
from turnwise.core.messages import Conversation, Message
from turnwise.data.jsonl_writer import write_jsonl
from turnwise.data.sources import read_source
from turnwise.evaluation.metric import MetricDefinition
from turnwise.evaluation.samples import GenerationOutput, SampleResult
from turnwise.evaluation.statistics import ConfidenceInterval

FOLDER = Path(__file__).parents[2] / "recipes" / "adversarial"
SCRIPTS = tuple(path.stem for path in sorted(FOLDER.glob("*.py")))
CITIES = ("Paris", "Oslo", "Rome", "Lima", "Cairo", "Delhi", "Quito", "Tunis", "Minsk", "Seoul")
WORDS = ("table", "room", "car", "ticket", "doctor", "film", "bus", "song", "flat", "bank")
COUNTS = {"test": 10, "evaluator_valid": 5, "evaluator_train": 15, "generator_valid": 5}


@pytest.fixture(scope="module")
def scripts():
    """The scripts of the folder by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        for name in SCRIPTS:
            patch.delitem(sys.modules, name, raising=False)
        yield {name: importlib.import_module(name) for name in SCRIPTS}
        for name in SCRIPTS:
            sys.modules.pop(name, None)


def dialogue(*texts, **meta):
    roles = ("user", "assistant")
    return Conversation(tuple(Message(roles[index % 2], text) for index, text in enumerate(texts)), meta)


def booking(index):
    """A dialogue whose replies repeat what the user names."""
    city, word = CITIES[index % 10], WORDS[index // 10 % 10]
    return dialogue(
        f"I need a {word} in {city}, number {index}", f"Which {word} in {city} do you want?",
        "The cheapest", f"I have booked the {word} for you.", "Thanks", "Have a nice day!",
    )  # fmt: skip


class TestParts:
    @pytest.fixture
    def dialogues(self):
        """Fifty dialogues; ten of them open as an earlier one does, but for case and punctuation."""
        return [booking(index) for index in range(40)] + [
            dialogue(f"i need a {WORDS[index // 10 % 10]} in {CITIES[index % 10]} number {index}!", "Hello again")
            for index in range(10)
        ]

    def test_no_opening_is_in_two_parts(self, scripts, dialogues):
        prepare = scripts["prepare"]
        parts = prepare.split_dialogues(dialogues, COUNTS)
        openings = {name: {prepare.opening(item) for item in items} for name, items in parts.items()}
        assert sum(map(len, openings.values())) == len(set().union(*openings.values())) == 40
        assert {name: len(items) for name, items in parts.items() if name in COUNTS} == COUNTS

    def test_the_order_of_the_rows_does_not_matter(self, scripts, dialogues):
        shuffled = random.Random(1).sample(dialogues, len(dialogues))
        assert scripts["prepare"].split_dialogues(shuffled, COUNTS) == scripts["prepare"].split_dialogues(
            dialogues, COUNTS
        )

    def test_a_context_is_the_beginning_of_a_dialogue_and_ends_with_a_reply(self, scripts):
        long = dialogue(*(f"text {index}" for index in range(12)), services=["Hotels_1"], id="7")
        start = scripts["prepare"].beginning(long)
        assert start.messages == long.messages[:6]
        assert start.meta == {"intent": "Hotels_1", "id": "7"}
        cut = scripts["prepare"].cut_at_reply(start)
        assert cut.messages == long.messages[: len(cut.messages)]
        assert cut.messages[-1].role == "assistant"

    def test_replies_at_every_depth_are_drawn(self, scripts):
        assert {len(scripts["prepare"].cut_at_reply(booking(index)).messages) for index in range(30)} == {2, 4, 6}

    def test_a_dialogue_without_a_reply_is_left_out(self, scripts, tmp_path):
        write_jsonl(tmp_path / "talks.jsonl", [dialogue("hello"), booking(1)])
        assert [item.messages for item in scripts["prepare"].read_dialogues(tmp_path)] == [booking(1).messages]

    def test_equal_data_gives_equal_files(self, scripts, dialogues, tmp_path):
        write_jsonl(tmp_path / "talks.jsonl", dialogues)
        for name in ("first", "second"):
            scripts["prepare"].main(tmp_path / "talks.jsonl", tmp_path / name, COUNTS)
        first, second = (
            {path.name: path.read_text() for path in (tmp_path / name).iterdir()} for name in ("first", "second")
        )
        assert first == second
        assert {name.removesuffix(".jsonl") for name in first} == {
            *COUNTS,
            "generator_train",
            "generator_contexts",
        }
        train = list(read_source(tmp_path / "first" / "generator_train.jsonl"))
        contexts = list(read_source(tmp_path / "first" / "generator_contexts.jsonl"))
        for complete, cut in zip(train, contexts, strict=True):
            assert cut.messages == complete.messages[: len(cut.messages)]

    def test_too_few_dialogues_are_an_error(self, scripts, dialogues):
        with pytest.raises(InvalidData, match="40 different openings; the parts need more than 600"):
            scripts["prepare"].split_dialogues(dialogues, {"test": 600})


class TestGates:
    @pytest.mark.parametrize(
        ("output", "is_passed"),
        [
            (GenerationOutput("Your table for 4 is booked at 7:30 pm."), 1.0),
            (GenerationOutput("Your table for 4 is booked at 8:30 pm."), 0.0),
            (GenerationOutput("Your table for 4 is booked at 7:30 pm.", finish_reason="length"), 0.0),
        ],
    )
    def test_the_metric_has_the_outcome_of_the_gates_of_training(self, scripts, output, is_passed):
        messages = (
            Message("user", "A table for 4 at 7:30 pm"),
            Message("assistant", "I will book a table for 4 at 7:30 pm."),
        )
        metric = scripts["reply_gates"].GateMetric()
        samples = metric.samples([Conversation(messages)], seed=0)
        ((passed, count, *gates),) = metric.statistics(samples, [SampleResult((output,))]).tolist()
        assert (passed, count, len(gates)) == (is_passed, 1.0, 4)
        assert passed == min(gates)


class TestInterpolation:
    @given(
        points=st.lists(
            st.tuples(st.integers(0, 100), st.floats(-10, 10)), min_size=1, max_size=6, unique_by=lambda point: point[0]
        ),
        targets=st.lists(st.floats(-20, 120), min_size=1, max_size=4),
    )
    def test_it_is_linear_between_points_and_constant_beyond_them(self, scripts, points, targets):
        x, y = np.array(points).T
        values = scripts["equal_diversity"].interpolate(x[None], y[None], np.array(targets)[None])[0]
        order = np.argsort(x)
        np.testing.assert_allclose(values, np.interp(targets, x[order], y[order]), atol=1e-9)

    def test_each_row_has_its_points(self, scripts):
        x_XT, y_XT = np.array([[0.0, 1.0], [1.0, 3.0]]), np.array([[0.0, 10.0], [0.0, 10.0]])
        values_XQ = scripts["equal_diversity"].interpolate(x_XT, y_XT, np.array([[0.5, 1.0], [2.0, 9.0]]))
        np.testing.assert_allclose(values_XQ, [[5, 10], [5, 10]])


class MeanMetric(MetricDefinition):
    """The mean of a score."""


def curve_sums(scripts, points, *, num_dialogues=60, noise=0.0, seed=0, difficulty=None):
    """Sums of an arm whose points are (distinct-2, quality); dialogues differ in difficulty and by noise."""
    rng = np.random.default_rng(seed)
    ones_G = np.ones(num_dialogues)
    difficulty_G = np.zeros(num_dialogues) if difficulty is None else difficulty
    return scripts["equal_diversity"].CurveSums(
        [np.stack([10 * diversity * ones_G, 10 * ones_G], axis=1) for diversity, _ in points],
        [
            np.stack([quality + difficulty_G + noise * rng.standard_normal(num_dialogues), ones_G], axis=1)
            for _, quality in points
        ],
        MeanMetric(),
    )


class TestEqualDiversity:
    REFERENCE = ((0.1, 50.0), (0.2, 40.0), (0.3, 30.0))

    def compare(self, scripts, arm, reference=None, **options):
        reference = curve_sums(scripts, self.REFERENCE) if reference is None else reference
        return scripts["equal_diversity"].compare_at_equal_diversity(
            arm, reference, **({"is_relative": True, "resamples": 199} | options)
        )

    def test_another_point_of_the_same_curve_is_no_gain(self, scripts):
        """An arm that is only less diverse has a higher quality at every temperature."""
        difference = self.compare(scripts, curve_sums(scripts, ((0.05, 55.0), (0.15, 45.0), (0.25, 35.0))))
        assert difference.value == pytest.approx(0)
        assert difference.num_points == 2, "0.3 is beyond the most diverse point of the arm"

    def test_a_gain_is_relative_to_the_reference(self, scripts):
        arm = curve_sums(scripts, tuple((diversity, 1.1 * quality) for diversity, quality in self.REFERENCE))
        assert self.compare(scripts, arm).value == pytest.approx(0.1)
        assert self.compare(scripts, arm, is_relative=False).value == pytest.approx(4)

    def test_arms_without_common_diversity_are_not_compared(self, scripts):
        difference = self.compare(scripts, curve_sums(scripts, ((0.6, 90.0), (0.7, 80.0))))
        assert np.isnan([difference.value, difference.interval.low, difference.interval.high]).all()
        assert difference.num_points == 0

    def test_the_bootstrap_is_paired_over_dialogues(self, scripts):
        """The difficulty of a dialogue is common to both arms, so it cancels, unless the dialogues are mixed up."""
        difficulty = 20 * np.random.default_rng(5).standard_normal(60)
        reference = curve_sums(scripts, self.REFERENCE, noise=1, seed=1, difficulty=difficulty)
        better = tuple((diversity, quality + 3) for diversity, quality in self.REFERENCE)
        paired = self.compare(scripts, curve_sums(scripts, better, noise=1, seed=2, difficulty=difficulty), reference)
        mixed = self.compare(
            scripts, curve_sums(scripts, better, noise=1, seed=2, difficulty=difficulty[::-1]), reference
        )
        assert paired.interval.low > 0.05
        assert mixed.interval.low < 0 < mixed.interval.high
        assert paired.value == pytest.approx(mixed.value, abs=0.01)

    def test_values_without_a_curve_are_compared_too(self, scripts):
        arm_GK, reference_GK = (np.stack([np.full(20, value), np.ones(20)], axis=1) for value in (3.0, 2.0))
        difference = scripts["equal_diversity"].compare_values(arm_GK, reference_GK, MeanMetric(), is_relative=True)
        assert difference.value == pytest.approx(0.5)
        assert difference.interval == ConfidenceInterval(pytest.approx(0.5), pytest.approx(0.5))


def human_items(scripts, count, seed):
    """Replies that repeat a word of the question, in words that all of them share."""
    rng = random.Random(seed)
    items = []
    for _ in range(count):
        city, word = rng.choice(CITIES), rng.choice(WORDS)
        frame = rng.choice(("Here is your {} in {} .", "The {} that I found in {} is free .", "A {} is left in {} ."))
        items.append(scripts["reply_features"].ContextReply((f"I want a {word} in {city}",), frame.format(word, city)))
    return items


class TestEvaluators:
    @pytest.fixture
    def human(self, scripts):
        counts = {"evaluator_train": 100, "evaluator_valid": 40, "test": 80}
        return {name: human_items(scripts, count, seed) for seed, (name, count) in enumerate(counts.items())}

    @pytest.fixture
    def kinds(self, scripts):
        return scripts["reply_features"].feature_kinds(None)

    def accuracy(self, scripts, make_features, human, change):
        pairs = [
            scripts["fresh_evaluator"].ReplyPairs(human[name], [change(item) for item in human[name]])
            for name in ("evaluator_train", "evaluator_valid", "test")
        ]
        return scripts["fresh_evaluator"].evaluator_credits(make_features, *pairs).mean()

    @pytest.mark.costly
    def test_the_checks_pass_for_evaluators_that_read_and_those_that_only_see_the_form(self, scripts, kinds, human):
        checks = scripts["evaluator_checks"].check_evaluators(kinds, human)
        assert len(checks) == 3 * len(kinds)
        assert all(check.passes for check in checks), checks

    def test_a_check_fails_for_an_evaluator_that_does_not_read_words(self, scripts, kinds, human):
        checks = scripts["evaluator_checks"].check_evaluators({"ngrams": kinds["length"]}, human)
        by_task = {check.task: check.passes for check in checks}
        assert by_task == {
            "human against human": True,
            "human against another context's reply": False,
            "human against random words": False,
        }

    def test_nobody_is_paired_with_itself(self, scripts, human):
        for make_pairs in scripts["evaluator_checks"].CHECKS.values():
            pairs = make_pairs(human["test"])
            assert list(pairs.right) == human["test"]
            assert len(pairs.wrong) == len(pairs.right)
        strangers = scripts["evaluator_checks"].human_against_human(human["test"]).wrong
        assert all(stranger is not item for stranger, item in zip(strangers, human["test"], strict=True))

    @pytest.mark.parametrize(
        ("name", "change", "low", "high"),
        [
            ("ngrams", str.upper, 0.5, 0.5),  # letter case is no feature
            ("ngrams", lambda text: text.replace("in", "inside"), 1, 1),
            ("length", lambda text: text + " and so on and on and on and on", 0.8, 1),
            ("length", lambda text: text[:-1] + "!", 0.5, 0.5),
            ("ending", lambda text: text[:-1] + "!", 1, 1),
            ("ending", lambda text: "Well " + text, 0.5, 0.5),
        ],
    )
    def test_each_evaluator_sees_its_own_features(self, scripts, kinds, human, name, change, low, high):
        accuracy = self.accuracy(scripts, kinds[name], human, lambda item: item._replace(reply=change(item.reply)))
        assert low <= accuracy <= high

    def test_equal_replies_count_half(self, scripts, kinds, human):
        assert self.accuracy(scripts, kinds["ngrams"], human, lambda item: item) == 0.5

    def test_sentence_vectors_tell_whether_a_reply_fits(self, scripts, human):
        kinds = scripts["reply_features"].feature_kinds(BagOfWordsEncoder())
        assert list(kinds) == ["ngrams", "encoder", "length", "ending"]
        pairs = scripts["evaluator_checks"].human_against_context
        credits_G = scripts["fresh_evaluator"].evaluator_credits(
            kinds["encoder"], *(pairs(human[name]) for name in ("evaluator_train", "evaluator_valid", "test"))
        )
        assert credits_G.mean() > 0.8


class BagOfWordsEncoder:
    """Vectors of word counts, of length 1."""

    def embed_passages(self, texts):
        vectors = np.array([[text.count(word) for word in (*CITIES, *WORDS)] for text in texts], dtype=np.float32)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1)


class TestModels:
    def test_folders_name_the_arm_and_the_seed(self, scripts, tmp_path):
        for name in ("sft-continued-1", "sft-continued-0", "adversarial-10", "notes", "data-x"):
            (tmp_path / name).mkdir()
        (tmp_path / "log-1").write_text("")
        models = scripts["experiment_arms"].find_models(tmp_path)
        assert [model.name for model in models] == ["adversarial-10", "sft-continued-0", "sft-continued-1"]
        assert list(scripts["experiment_arms"].group_by_arm(models)) == ["adversarial", "sft-continued"]

    def test_a_file_lists_the_models_of_each_arm(self, scripts, tmp_path):
        (tmp_path / "arms.yaml").write_text("arms:\n  sft: [box, runs/a]\n  spin: [runs/b]\n")
        models = scripts["experiment_arms"].find_models(tmp_path / "arms.yaml")
        assert [(model.name, model.model) for model in models] == [
            ("sft-0", "box"), ("sft-1", "runs/a"), ("spin-0", "runs/b"),
        ]  # fmt: skip

    def test_no_model_is_an_error(self, scripts, tmp_path):
        with pytest.raises(InvalidData, match="folders should be named ARM-SEED"):
            scripts["experiment_arms"].find_models(tmp_path)
        (tmp_path / "arms.yaml").write_text("arm: {}\n")
        with pytest.raises(UserError, match="unknown key 'arm'"):
            scripts["experiment_arms"].find_models(tmp_path / "arms.yaml")
        with pytest.raises(InvalidData, match="There is no folder"):
            scripts["experiment_arms"].find_models(tmp_path / "none")


class TestVerdict:
    def comparison(self, scripts, **changes):
        def difference(value, low, high, num_points=5):
            return scripts["equal_diversity"].Difference(value, ConfidenceInterval(low, high), num_points)

        figures = {
            "quality": (0.08, 0.02, 0.14), "gate_pass": (0.1, 0.05, 0.2), "evaluator": (-0.07, -0.1, -0.04),
            "perplexity": (0.03, 0.01, 0.05), "length": 0.04,
        } | changes  # fmt: skip
        return scripts["arm_comparison"].ArmComparison(
            "adversarial", difference(*figures["quality"]), difference(*figures["gate_pass"]), {},
            {"ngrams": difference(*figures["evaluator"])}, difference(*figures["perplexity"]), None, figures["length"],
        )  # fmt: skip

    def test_all_goals(self, scripts):
        verdict = self.comparison(scripts).verdict("sft")
        assert verdict == (
            "adversarial: better than sft, all goals are reached (chrF +8.0% (+2.0% to +14.0%), accuracy of the fresh "
            "evaluator -7.0 (-10.0 to -4.0) points, perplexity +3.0%, length +4.0%)."
        )

    @pytest.mark.parametrize(
        ("goal", "figures"),
        [
            ("quality", (0.04, 0.02, 0.06)),
            ("quality", (0.08, -0.01, 0.17)),
            ("evaluator", (-0.04, -0.05, -0.03)),
            ("evaluator", (-0.06, -0.13, 0.01)),
            ("evaluator", (0.1, 0.05, 0.2)),
            ("perplexity", (0.06, -0.1, 0.1)),
            ("length", -0.11),
        ],
    )
    def test_a_missed_goal(self, scripts, goal, figures):
        comparison = self.comparison(scripts, **{goal: figures})
        assert [name for name, is_reached in comparison.goals().items() if not is_reached] == [goal]
        assert "Missed: " in comparison.verdict("sft")

    def test_a_null_result_is_called_one(self, scripts):
        verdict = self.comparison(scripts, quality=(0.01, -0.03, 0.05)).verdict("sft")
        assert verdict.startswith("adversarial: not shown to be better than sft. Missed: chrF +1.0%")

    def test_arms_that_cannot_be_compared(self, scripts):
        nothing = (float("nan"), float("nan"), float("nan"), 0)
        comparison = self.comparison(scripts, quality=nothing, evaluator=nothing)
        assert "not comparable" in comparison.verdict("sft")
        assert not comparison.goals()["quality"]


@pytest.mark.costly
def test_two_models_are_measured_and_an_interrupted_run_continues(scripts, model_folder, tmp_path, monkeypatch):
    for number, name in enumerate(("test", "evaluator_train", "evaluator_valid", "generator_valid")):
        dialogues = [scripts["prepare"].cut_at_reply(booking(100 * number + index)) for index in range(24)]
        write_jsonl(tmp_path / "data" / f"{name}.jsonl", dialogues)
    (tmp_path / "arms.yaml").write_text(f"arms:\n  base: [{model_folder}]\n  again: [{model_folder}, {model_folder}]\n")
    monkeypatch.setattr(scripts["model_measurements"], "MAX_TOKENS", 6)

    def measure(reference="base"):
        scripts["measure"].main(
            scripts["measure"].parse_arguments([
                str(tmp_path / "arms.yaml"), "--data", str(tmp_path / "data"), "--reference", reference, "--out",
                str(tmp_path / "out"), "--encoder", "none", "--temperatures", "0.7", "1", "--threads", "1",
            ])
        )  # fmt: skip
        return json.loads((tmp_path / "out" / "results.json").read_text())

    results = measure()
    comparison = results["comparisons"]["again"]
    assert comparison["quality"]["value"] == 0, "two copies of the reference, on the same dialogues"
    assert comparison["evaluators"]["ngrams"]["value"] == 0
    assert comparison["length"] == 0
    assert results["human"]["chrf"] == pytest.approx(100)
    assert len(results["arms"]["again"]["models"]) == 2
    report = (tmp_path / "out" / "results.md").read_text()
    assert "- again: not shown to be better than base." in report
    assert "| human replies |" in report
    assert (tmp_path / "out" / "quality_diversity.png").read_bytes().startswith(b"\x89PNG")
    replies = [json.loads(line) for line in (tmp_path / "out" / "replies" / "again-1.jsonl").read_text().splitlines()]
    assert len(replies) == 2 * 3 * 24

    def no_jobs(engine, tokenizer, jobs, name):
        assert not jobs
        return iter(())

    monkeypatch.setattr("turnwise.evaluation.model_under_test.run_jobs", no_jobs)
    monkeypatch.setattr(scripts["measure"], "evaluator_credits", None)
    assert measure() == results
    with pytest.raises(UserError, match="no arm 'bas'"):
        measure("bas")
