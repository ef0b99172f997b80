"""Metrics are what their papers and libraries say, and sums over dialogues."""

import random
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import Conversation, Message
from turnwise.evaluation.metrics import load_metrics
from turnwise.evaluation.samples import GenerationOutput, GenerationQuery, Loglikelihood, Sample, SampleResult
from turnwise.text.word_tokens import split_words

SAID = ["the cat sat on the mat", "a dog barks at the mailman in the rain", "yes", "where is it?"]
WANTED = ["the cat is on the mat", "the dog barks at the old mailman", "yes please", "it is over there, by the door"]


def metric(name):
    return load_metrics([name])[0]


def of(name, said, wanted=None, histories=None):
    """A metric's value of answers, as if they had been given to dialogues with these replies."""
    wanted = wanted or ["-"] * len(said)
    histories = histories or [(Message("user", "?"),)] * len(said)
    items = [
        Sample(str(at), (GenerationQuery(history),), reference=reply)
        for at, (history, reply) in enumerate(zip(histories, wanted, strict=True))
    ]
    found = [SampleResult((GenerationOutput(text),)) for text in said]
    chosen = metric(name)
    return float(chosen.value(chosen.statistics(items, found).sum(axis=0)))


def scored(name, *groups):
    chosen = metric(name)
    sums = chosen.statistics([None] * len(groups), [SampleResult(loglikelihoods=group) for group in groups]).sum(axis=0)
    return float(chosen.value(sums))


class TestAgainstLibraries:
    def test_chrf_is_sacrebleus(self):
        from sacrebleu import corpus_chrf

        assert of("chrf", SAID, WANTED) == pytest.approx(corpus_chrf(SAID, [WANTED]).score, rel=1e-9)

    def test_bleu_is_sacrebleus(self):
        from sacrebleu import corpus_bleu

        assert of("bleu", SAID, WANTED) == pytest.approx(corpus_bleu(SAID, [WANTED]).score, rel=1e-9)

    def test_chinese_is_cut_as_sacrebleu_cuts_it(self):
        from sacrebleu import corpus_bleu

        said, wanted = ["您好,请问有什么可以帮您的吗?"], ["您好,请问我能帮您什么?"]
        assert of("bleu", said, wanted) == pytest.approx(corpus_bleu(said, [wanted], tokenize="zh").score, rel=1e-9)
        assert of("rouge_l", said, wanted) > 0.5

    @given(
        st.lists(
            st.tuples(*[st.lists(st.sampled_from(["ab", "cd", "efg", "the", "a"]), max_size=9).map(" ".join)] * 2),
            min_size=1,
            max_size=6,
        )
    )
    def test_both_are_sacrebleus_whatever_is_said(self, pairs):
        from sacrebleu import corpus_bleu, corpus_chrf

        said, wanted = map(list, zip(*pairs, strict=True))
        assert of("chrf", said, wanted) == pytest.approx(corpus_chrf(said, [wanted]).score, abs=1e-6)
        expected = corpus_bleu(said, [wanted], force=True).score
        assert of("bleu", said, wanted) == pytest.approx(expected, abs=1e-6)

    def test_rouge_l_is_rouge_scores(self):
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer(["rougeL"])
        expected = [scorer.score(w, s)["rougeL"].fmeasure for s, w in zip(SAID, WANTED, strict=True)]
        assert of("rouge_l", SAID, WANTED) == pytest.approx(np.mean(expected))

    def test_self_bleu_is_sacrebleus_of_each_against_the_others(self):
        from sacrebleu import sentence_bleu

        expected = [sentence_bleu(text, SAID[:at] + SAID[at + 1 :]).score for at, text in enumerate(SAID)]
        assert of("self_bleu", SAID) == pytest.approx(np.mean(expected))


class TestByHand:
    def test_distinct_counts_each_n_gram_once(self):
        said = ["a b a b", "a b c"]  # pairs: ab ba ab, ab bc
        assert of("distinct_2", said) == pytest.approx(3 / 5)
        assert of("distinct_1", said) == pytest.approx(3 / 7)

    def test_distinct_of_many_answers_is_quick(self):
        said = [" ".join(f"{number}w{at}" for at in range(20)) for number in range(5000)]
        start = time.process_time()
        assert of("distinct_2", said) == 1
        assert time.process_time() - start < 5  # it took minutes where each answer copied all before it

    @given(st.lists(st.text("ab ", max_size=12), min_size=1, max_size=8))
    def test_distinct_is_the_size_of_the_set(self, said):
        runs = [tuple(split_words(text)[at : at + 2]) for text in said for at in range(len(split_words(text)) - 1)]
        if runs:
            assert of("distinct_2", said) == pytest.approx(len(set(runs)) / len(runs))

    def test_repetition_within_an_answer_and_of_earlier_ones(self):
        assert of("repetition", ["a b c d a b c d"]) == pytest.approx(1 / 5)
        history = (Message("user", "a b c d"), Message("assistant", "a b c d e"), Message("user", "?"))
        assert of("repetition", ["a b c d x"], histories=[history]) == pytest.approx(1 / 2)

    def test_length_ratio(self):
        assert of("length_ratio", ["one two three", "four"], ["one two", "one two"]) == pytest.approx(1)

    def test_bits_and_perplexity_are_the_same_surprise(self):
        one, other = (Loglikelihood(np.log(2) * 30, 10, 20),), (Loglikelihood(np.log(2) * 50, 10, 20),)
        assert scored("bits_per_byte", one, other) == pytest.approx(80 / 40)
        assert scored("perplexity", one, other) == pytest.approx(2 ** (80 / 20))
        assert scored("perplexity", (Loglikelihood(1e9, 10, 20),)) > 1e300

    def test_typos_cost_what_the_reply_becomes_less_likely(self):
        assert scored("typos", (Loglikelihood(10.0, 5, 9), Loglikelihood(11.0, 5, 9))) == pytest.approx(0.1)

    def test_nothing_said_is_no_number_or_nought(self):
        assert np.isnan(of("distinct_2", [""]))
        assert of("chrf", [""], ["yes"]) == of("bleu", [""], ["yes"]) == 0


class TestSuccess:
    TALK = (Message("user", "When?"), Message("assistant", "At 9 am, in Hall B, for two."))

    def samples(self, slots):
        return metric("success").samples([Conversation(self.TALK, {"slots": slots})], 0)

    def test_what_the_reply_names_is_needed(self):
        (item,) = self.samples({"time": "9 am", "place": ["Hall B", "Hall C"], "people": 2, "name": "Ada"})
        assert item.metadata["required"] == ["9 am", "Hall B"]

    @pytest.mark.parametrize(
        ("said", "right"),
        [("hall b at 9 AM!", 1), ("At 9 am.", 0), ("Hall B at 19 am", 0), ("", 0), ("In Hall B. It opens at 9 am", 1)],
    )
    def test_all_of_it_must_be_said(self, said, right):
        items = self.samples({"time": "9 am", "place": "Hall B"})
        assert metric("success").statistics(items, [SampleResult((GenerationOutput(said),))]).tolist() == [[right, 1]]

    @pytest.mark.parametrize("slots", [{}, None, "9 am", {"time": "10 pm"}, {"time": ""}])
    def test_without_slots_there_is_nothing_to_ask(self, slots):
        assert self.samples(slots) == []

    def test_null_and_true_are_no_values(self):
        talk = (Message("user", "Is that so?"), Message("assistant", "None of this is true, but 0 and 7 are."))
        slots = {"a": None, "b": True, "c": [None, True, 7], "d": " ", "e": {"none": 1}, "f": 0}
        (item,) = metric("success").samples([Conversation(talk, {"slots": slots})], 0)
        assert item.metadata["required"] == ["7", "0"]


class TestAll:
    def test_every_metric_says_what_it_is(self):
        for each in load_metrics():
            assert each.DESCRIPTION.endswith(".")
            assert each.BETTER in ("higher", "lower", "")
            assert f"{0.123:{each.VALUE_FORMAT}}"
            assert each.BETTER or not each.COUNTS_FOR_VERDICT
        assert len({each.SORT_ORDER for each in load_metrics()}) == len(load_metrics())

    def test_an_unknown_name_is_told_the_nearest(self):
        with pytest.raises(InvalidParameter, match="no metric 'chfr'; did you mean 'chrf'"):
            load_metrics(["chfr"])

    def test_sums_may_be_resampled_together(self):
        """Values of many sums at once are those of each alone."""
        rng = random.Random(0)
        said = [" ".join(rng.choices(["a", "b", "c", "d", "e"], k=9)) for _ in range(12)]
        wanted = [" ".join(rng.choices(["a", "b", "c", "d", "e"], k=9)) for _ in range(12)]
        items = [
            Sample(str(at), (GenerationQuery((Message("user", "?"),)),), reference=reply)
            for at, reply in enumerate(wanted)
        ]
        found = [SampleResult((GenerationOutput(text),)) for text in said]
        for each in load_metrics(["chrf", "bleu", "rouge_l", "distinct_2", "repetition"]):
            rows = each.statistics(items, found)
            picks = np.random.default_rng(0).multinomial(12, [1 / 12] * 12, 5) @ rows
            together = each.value(picks)
            assert together.shape == (5,)
            np.testing.assert_allclose(together, [float(each.value(one)) for one in picks])


def test_words_are_letters_and_figures_and_han_signs_one_by_one():
    assert split_words("Don't panic: 42 ÄPFEL, 你好 world") == ["don", "t", "panic", "42", "äpfel", "你", "好", "world"]
