"""Evaluators that tell human replies from generated ones, and what each of them sees."""

import random

import numpy as np
import pytest
from booking_dialogues import CITIES, WORDS


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
