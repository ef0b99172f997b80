"""Metrics equal their reference implementations and definitions, and are computed from sums over dialogues."""

import itertools
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

ANSWERS = ["the cat sat on the mat", "a dog barks at the mailman in the rain", "yes", "where is it?"]
REFERENCES = [
    "the cat is on the mat",
    "the dog barks at the old mailman",
    "yes please",
    "it is over there, by the door",
]


def load_metric(name):
    return load_metrics([name])[0]


def make_samples(references, histories=None):
    histories = histories or [(Message("user", "?"),)] * len(references)
    return [
        Sample(str(index), (GenerationQuery(history),), reference=reference)
        for index, (history, reference) in enumerate(zip(histories, references, strict=True))
    ]


def answer_results(answers):
    return [SampleResult((GenerationOutput(answer),)) for answer in answers]


def value_of_answers(name, answers, references=None, histories=None):
    """The value of a metric of answers, one per dialogue."""
    metric, samples = load_metric(name), make_samples(references or ["-"] * len(answers), histories)
    return float(metric.value(metric.statistics(samples, answer_results(answers)).sum(axis=0)))


def value_of_loglikelihoods(name, *results):
    """The value of a metric of log-likelihoods, one tuple per dialogue."""
    metric, results = load_metric(name), [SampleResult(loglikelihoods=loglikelihoods) for loglikelihoods in results]
    return float(metric.value(metric.statistics([None] * len(results), results).sum(axis=0)))


class TestReferenceImplementations:
    def test_chrf_equals_sacrebleu(self):
        from sacrebleu import corpus_chrf

        assert value_of_answers("chrf", ANSWERS, REFERENCES) == pytest.approx(
            corpus_chrf(ANSWERS, [REFERENCES]).score, rel=1e-9
        )

    def test_bleu_equals_sacrebleu(self):
        from sacrebleu import corpus_bleu

        expected = corpus_bleu(ANSWERS, [REFERENCES]).score
        assert value_of_answers("bleu", ANSWERS, REFERENCES) == pytest.approx(expected, rel=1e-9)

    def test_chinese_is_tokenized_like_in_sacrebleu(self):
        from sacrebleu import corpus_bleu

        answers, references = ["您好,请问有什么可以帮您的吗?"], ["您好,请问我能帮您什么?"]
        expected = corpus_bleu(answers, [references], tokenize="zh").score
        assert value_of_answers("bleu", answers, references) == pytest.approx(expected, rel=1e-9)
        assert value_of_answers("rouge_l", answers, references) > 0.5

    @given(
        st.lists(
            st.tuples(*[st.lists(st.sampled_from(["ab", "cd", "efg", "the", "a"]), max_size=9).map(" ".join)] * 2),
            min_size=1,
            max_size=6,
        )
    )
    def test_bleu_and_chrf_equal_sacrebleu_for_all_texts(self, pairs):
        from sacrebleu import corpus_bleu, corpus_chrf

        answers, references = map(list, zip(*pairs, strict=True))
        expected = corpus_chrf(answers, [references]).score
        assert value_of_answers("chrf", answers, references) == pytest.approx(expected, abs=1e-6)
        expected = corpus_bleu(answers, [references], force=True).score
        assert value_of_answers("bleu", answers, references) == pytest.approx(expected, abs=1e-6)

    def test_rouge_l_equals_rouge_score(self):
        from rouge_score.rouge_scorer import RougeScorer

        scorer, pairs = RougeScorer(["rougeL"]), zip(REFERENCES, ANSWERS, strict=True)
        expected = [scorer.score(reference, answer)["rougeL"].fmeasure for reference, answer in pairs]
        assert value_of_answers("rouge_l", ANSWERS, REFERENCES) == pytest.approx(np.mean(expected))

    def test_self_bleu_equals_the_mean_sacrebleu_of_every_answer_against_the_others(self):
        from sacrebleu import sentence_bleu

        expected = [
            sentence_bleu(answer, ANSWERS[:index] + ANSWERS[index + 1 :]).score for index, answer in enumerate(ANSWERS)
        ]
        assert value_of_answers("self_bleu", ANSWERS) == pytest.approx(np.mean(expected))


class TestDefinitions:
    def test_distinct_n_divides_different_n_grams_by_all_n_grams(self):
        answers = ["a b a b", "a b c"]  # bigrams: ab ba ab, ab bc
        assert value_of_answers("distinct_2", answers) == pytest.approx(3 / 5)
        assert value_of_answers("distinct_1", answers) == pytest.approx(3 / 7)

    @pytest.mark.costly
    def test_distinct_n_takes_linear_time(self):
        answers = [" ".join(f"{number}w{index}" for index in range(20)) for number in range(5000)]
        start = time.process_time()
        assert value_of_answers("distinct_2", answers) == 1
        assert time.process_time() - start < 5  # minutes if the time is quadratic

    @given(st.lists(st.text("ab ", max_size=12), min_size=1, max_size=8))
    def test_distinct_2_equals_the_share_computed_with_a_set(self, answers):
        bigrams = [pair for answer in answers for pair in itertools.pairwise(split_words(answer))]
        if bigrams:
            assert value_of_answers("distinct_2", answers) == pytest.approx(len(set(bigrams)) / len(bigrams))

    def test_repetition_counts_4_grams_of_the_answer_and_of_earlier_answers(self):
        assert value_of_answers("repetition", ["a b c d a b c d"]) == pytest.approx(1 / 5)
        history = (Message("user", "a b c d"), Message("assistant", "a b c d e"), Message("user", "?"))
        assert value_of_answers("repetition", ["a b c d x"], histories=[history]) == pytest.approx(1 / 2)

    def test_length_ratio_divides_the_total_numbers_of_words(self):
        answers, references = ["one two three", "four"], ["one two", "one two"]
        assert value_of_answers("length_ratio", answers, references) == pytest.approx(1)

    def test_bits_per_byte_and_perplexity_are_consistent(self):
        results = [(Loglikelihood(np.log(2) * bits, 10, 20),) for bits in (30, 50)]
        assert value_of_loglikelihoods("bits_per_byte", *results) == pytest.approx(80 / 40)
        assert value_of_loglikelihoods("perplexity", *results) == pytest.approx(2 ** (80 / 20))
        assert value_of_loglikelihoods("perplexity", (Loglikelihood(1e9, 10, 20),)) > 1e300

    def test_typos_is_the_relative_increase_of_the_negative_log_likelihood(self):
        clean, with_typos = Loglikelihood(10.0, 5, 9), Loglikelihood(11.0, 5, 9)
        assert value_of_loglikelihoods("typos", (clean, with_typos)) == pytest.approx(0.1)

    def test_an_empty_answer_has_undefined_distinct_2_and_scores_0_in_chrf_and_bleu(self):
        assert np.isnan(value_of_answers("distinct_2", [""]))
        assert value_of_answers("chrf", [""], ["yes"]) == value_of_answers("bleu", [""], ["yes"]) == 0


class TestSuccess:
    MESSAGES = (Message("user", "When?"), Message("assistant", "At 9 am, in Hall B, for two."))

    def samples(self, slots):
        return load_metric("success").samples([Conversation(self.MESSAGES, {"slots": slots})], 0)

    def test_slot_values_that_the_reference_contains_are_required(self):
        (sample,) = self.samples({"time": "9 am", "place": ["Hall B", "Hall C"], "people": 2, "name": "Ada"})
        assert sample.metadata["required"] == ["9 am", "Hall B"]

    @pytest.mark.parametrize(
        ("answer", "is_success"),
        [("hall b at 9 AM!", 1), ("At 9 am.", 0), ("Hall B at 19 am", 0), ("", 0), ("In Hall B. It opens at 9 am", 1)],
    )
    def test_an_answer_needs_all_required_values_as_complete_words(self, answer, is_success):
        samples = self.samples({"time": "9 am", "place": "Hall B"})
        statistics = load_metric("success").statistics(samples, answer_results([answer]))
        assert statistics.tolist() == [[is_success, 1]]

    @pytest.mark.parametrize("slots", [{}, None, "9 am", {"time": "10 pm"}, {"time": ""}])
    def test_a_dialogue_without_slot_values_in_the_reference_has_no_sample(self, slots):
        assert self.samples(slots) == []

    def test_null_booleans_empty_strings_and_mappings_are_not_slot_values(self):
        messages = (Message("user", "Is that so?"), Message("assistant", "None of this is true, but 0 and 7 are."))
        slots = {"a": None, "b": True, "c": [None, True, 7], "d": " ", "e": {"none": 1}, "f": 0}
        (sample,) = load_metric("success").samples([Conversation(messages, {"slots": slots})], 0)
        assert sample.metadata["required"] == ["7", "0"]


class TestAll:
    def test_every_metric_has_valid_metadata(self):
        for metric in load_metrics():
            assert metric.DESCRIPTION.endswith(".")
            assert metric.BETTER in ("higher", "lower", "")
            assert f"{0.123:{metric.VALUE_FORMAT}}"
            assert metric.BETTER or not metric.COUNTS_FOR_VERDICT
        assert len({metric.SORT_ORDER for metric in load_metrics()}) == len(load_metrics())

    def test_an_unknown_name_is_rejected_with_the_nearest_name(self):
        with pytest.raises(InvalidParameter, match="no metric 'chfr'; did you mean 'chrf'"):
            load_metrics(["chfr"])

    def test_values_of_several_sums_equal_the_values_of_single_sums(self):
        rng = random.Random(0)
        answers, references = (
            [" ".join(rng.choices(["a", "b", "c", "d", "e"], k=9)) for _ in range(12)] for _ in range(2)
        )
        samples, results = make_samples(references), answer_results(answers)
        for metric in load_metrics(["chrf", "bleu", "rouge_l", "distinct_2", "repetition"]):
            statistics_GK = metric.statistics(samples, results)
            sums_XK = np.random.default_rng(0).multinomial(12, [1 / 12] * 12, 5) @ statistics_GK
            values_X = metric.value(sums_XK)
            assert values_X.shape == (5,)
            np.testing.assert_allclose(values_X, [float(metric.value(sums_K)) for sums_K in sums_XK])


def test_words_are_runs_of_letters_or_digits_and_single_han_characters():
    assert split_words("Don't panic: 42 ÄPFEL, 你好 world") == ["don", "t", "panic", "42", "äpfel", "你", "好", "world"]
