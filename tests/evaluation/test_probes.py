"""Bundled probes: a system that ignores the stated facts is at chance level, and the dialogues fit a small context."""

from collections import Counter

import numpy as np
import pytest

from turnwise.core.messages import ROLES, Message
from turnwise.evaluation.metric_runner import run_metrics
from turnwise.evaluation.metrics import load_metrics
from turnwise.evaluation.metrics.contradiction import NO, YES
from turnwise.evaluation.probes import fill_dialogue, read_probes
from turnwise.evaluation.samples import GenerationOutput, Loglikelihood, SampleResult
from turnwise.models.bundled_models import bundled_model_folder
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.text.word_tokens import split_words

PROBES = ("contradiction", "recall", "knowledge")


def load_metric(name):
    return load_metrics([name])[0]


def samples_of(name, seed=0):
    return load_metric(name).samples([], seed)


class ScriptedSystem:
    """Scores a dialogue with `nll(messages)` and answers a history with `answer(history)`."""

    name = "scripted"

    def __init__(self, nll=None, answer=None):
        self._nll, self._answer = nll, answer

    def generate(self, queries, on_done):
        return [GenerationOutput(self._answer(query.history)) for query, _ in queries]

    def loglikelihood(self, queries, on_done):
        return [Loglikelihood(self._nll(query.messages), 1, 1) for query in queries]


def value_of(name, system):
    """The value of a metric for a system."""
    metric = load_metric(name)
    result = run_metrics(system, [metric], {name: metric.samples([], 0)})[name]
    return float(metric.value(result.sums_GK.sum(axis=0)))


def system_without_history(seed):
    """A system with random preferences that depend only on the question and the reply, not on earlier messages."""
    return ScriptedSystem(
        nll=lambda messages: float(np.random.default_rng([seed, *repr(messages[-2:]).encode()]).random())
    )


def loglikelihoods(*nlls):
    """The result of a sample with these negative log-likelihoods, one token each."""
    return SampleResult(loglikelihoods=tuple(Loglikelihood(nll, 1, 1) for nll in nlls))


class TestAll:
    @pytest.mark.parametrize("name", PROBES)
    def test_without_dialogues_there_are_at_least_twenty_reproducible_samples(self, name):
        assert samples_of(name) == samples_of(name)
        assert len(samples_of(name)) >= 20

    @pytest.mark.parametrize("name", PROBES)
    def test_every_placeholder_is_filled_and_every_role_is_valid(self, name):
        for sample in samples_of(name):
            for messages in (
                *(query.history for query in sample.generation_queries),
                *(query.messages for query in sample.loglikelihood_queries),
            ):
                assert all(message.role in ROLES for message in messages)
                assert not any(brace in message.content for message in messages for brace in "{}")

    @pytest.mark.parametrize("name", PROBES)
    def test_no_two_samples_have_the_same_queries(self, name):
        queries = [(sample.generation_queries, sample.loglikelihood_queries) for sample in samples_of(name)]
        assert len(set(queries)) == len(queries)

    def test_a_placeholder_without_a_value_is_an_error(self):
        with pytest.raises(KeyError):
            fill_dialogue([{"user": "I am {value}."}])
        assert fill_dialogue([{"user": "I am {value}."}], value="here") == (Message("user", "I am here."),)


class TestContradiction:
    @pytest.mark.parametrize("seed", range(5))
    def test_a_system_that_ignores_the_fact_contradicts_half_of_the_time(self, seed):
        assert value_of("contradiction", system_without_history(seed)) == 0.5

    def test_a_preference_for_short_or_long_replies_gives_no_advantage(self):
        prefers_short = ScriptedSystem(nll=lambda messages: float(len(messages[-1].content)))
        prefers_long = ScriptedSystem(nll=lambda messages: -float(len(messages[-1].content)))
        assert value_of("contradiction", prefers_short) >= 0.5
        assert value_of("contradiction", prefers_long) >= 0.5

    def test_a_system_that_prefers_the_consistent_reply_never_contradicts(self):
        consistent = {sample.loglikelihood_queries[0].messages for sample in samples_of("contradiction")}
        always_right = ScriptedSystem(nll=lambda messages: float(messages not in consistent))
        always_wrong = ScriptedSystem(nll=lambda messages: float(messages in consistent))
        assert value_of("contradiction", always_right) == 0.0
        assert value_of("contradiction", always_wrong) == 1.0

    def test_both_replies_follow_the_same_history_and_have_the_same_length(self):
        for sample in samples_of("contradiction"):
            consistent, contradicting = sample.loglikelihood_queries
            assert consistent.messages[:-1] == contradicting.messages[:-1]
            words, other_words = (split_words(query.messages[-1].content) for query in (consistent, contradicting))
            assert len(words) == len(other_words)
            num_different = sum(word != other_word for word, other_word in zip(words, other_words, strict=True))
            assert num_different == (2 if words[0] in ("yes", "no") else 1)

    def test_every_fact_has_two_questions_with_the_answer_yes_and_two_with_no(self):
        counts = Counter((sample.group, sample.reference) for sample in samples_of("contradiction"))
        for group in {group for group, _ in counts}:
            assert counts[group, YES] == counts[group, NO] == 2

    def test_there_are_at_least_eight_kinds_with_equally_many_samples(self):
        counts = Counter(sample.metadata["kind"] for sample in samples_of("contradiction"))
        assert len(counts) >= 8
        assert len(set(counts.values())) == 1

    @pytest.mark.parametrize(("nlls", "is_contradiction"), [((1.0, 2.0), 0), ((2.0, 1.0), 1), ((1.0, 1.0), 1)])
    def test_a_tie_counts_as_a_contradiction(self, nlls, is_contradiction):
        statistics = load_metric("contradiction").statistics(samples_of("contradiction")[:1], [loglikelihoods(*nlls)])
        assert statistics.tolist() == [[is_contradiction, 1]]

    def test_nan_counts_as_a_contradiction(self):
        result = loglikelihoods(float("nan"), 1.0)
        statistics = load_metric("contradiction").statistics(samples_of("contradiction")[:1], [result])
        assert statistics.tolist() == [[1, 1]]


def turns_with_the_fact(sample):
    """Numbers of the turns that contain the first word of the fact, from 1."""
    history, fact = sample.generation_queries[0].history, sample.metadata["fact"]
    return [turn for turn, message in enumerate(history, 1) if split_words(fact)[0] in split_words(message.content)]


class TestRecall:
    def test_the_fact_is_stated_once_in_the_first_five_turns_and_the_reply_is_turn_40(self):
        for sample in samples_of("recall"):
            history = sample.generation_queries[0].history
            assert len(history) == 39
            assert [message.role for message in history] == ["user", "assistant"] * 19 + ["user"]
            (turn,) = turns_with_the_fact(sample)
            assert turn in (1, 3, 5)
            assert sample.generation_queries[0].greedy

    def test_dialogues_are_different_and_repeat_no_message(self):
        samples = samples_of("recall")
        assert len({sample.generation_queries[0].history[:38] for sample in samples}) == len(samples) == 20
        for sample in samples:
            assert len({message.content for message in sample.generation_queries[0].history}) == 39

    def test_each_of_the_turns_1_3_and_5_has_the_fact_in_at_least_six_dialogues(self):
        counts = Counter(turn for sample in samples_of("recall") for turn in turns_with_the_fact(sample))
        assert set(counts) == {1, 3, 5}
        assert min(counts.values()) >= 6

    def test_values_are_unique_and_occur_in_no_other_text(self):
        probes = read_probes("recall")
        texts = [text for exchange in probes["small_talk"] for text in exchange.values()]
        texts += [
            fact[key].replace("{value}", "") for fact in probes["facts"] for key in ("statement", "answer", "question")
        ]
        values = [value for fact in probes["facts"] for value in fact["values"]]
        assert len(set(values)) == len(values)
        value_words = {word for value in values for word in split_words(value)}
        assert not value_words & {word for text in texts for word in split_words(text)}

    def test_the_seed_determines_the_facts(self):
        facts = [[sample.metadata["fact"] for sample in samples_of("recall", seed)] for seed in (0, 1)]
        assert facts[0] != facts[1]

    @pytest.mark.costly
    def test_a_prompt_has_fewer_than_900_tokens_with_a_vocabulary_of_4096(self):
        tokenizer = Tokenizer.load(bundled_model_folder())
        assert tokenizer.vocab_size == 4096
        renderer = Renderer.from_tokenizer(tokenizer)
        for seed in range(5):
            for sample in samples_of("recall", seed):
                history = sample.generation_queries[0].history
                assert len(renderer.render(history, add_generation_prompt=True).ids) < 900

    def test_an_answer_is_correct_if_it_contains_the_fact_as_complete_words(self):
        sample = samples_of("recall")[0]
        fact = sample.metadata["fact"]
        for answer, is_correct in [(f"It was {fact.upper()}!", 1), (f"It was {fact}ish.", 0), ("", 0)]:
            statistics = load_metric("recall").statistics([sample], [SampleResult((GenerationOutput(answer),))])
            assert statistics.tolist() == [[is_correct, 1]]

    def test_the_first_turns_are_sufficient_and_necessary(self):
        def join(messages):
            return " ".join(message.content for message in messages)

        assert value_of("recall", ScriptedSystem(answer=lambda history: join(history[:6]))) == 1.0
        assert value_of("recall", ScriptedSystem(answer=lambda history: join(history[6:]))) == 0.0


class TestKnowledge:
    @pytest.mark.parametrize("seed", range(5))
    def test_a_system_that_ignores_the_passage_is_correct_in_a_quarter_of_the_cases(self, seed):
        assert value_of("knowledge", system_without_history(seed)) == 0.25

    def test_the_four_replies_differ_in_one_word(self):
        for sample in samples_of("knowledge"):
            replies = [split_words(query.messages[-1].content) for query in sample.loglikelihood_queries]
            assert len(set(map(tuple, replies))) == 4
            assert len({len(reply) for reply in replies}) == 1
            assert sum(len(set(words)) > 1 for words in zip(*replies, strict=True)) == 1

    def test_each_of_the_four_values_is_correct_once(self):
        samples = samples_of("knowledge")
        for group, count in Counter(sample.group for sample in samples).items():
            references = {sample.reference for sample in samples if sample.group == group}
            assert len(references) == count == 4

    def test_the_passage_contains_the_correct_value_and_the_question_does_not(self):
        for sample in samples_of("knowledge"):
            system, question, _ = sample.loglikelihood_queries[0].messages
            assert (system.role, question.role) == ("system", "user")
            replies = [set(split_words(query.messages[-1].content)) for query in sample.loglikelihood_queries]
            (value,) = replies[0] - replies[1]
            assert value in split_words(system.content)
            assert value not in split_words(question.content)

    def test_half_of_the_passages_contain_distractors(self):
        num_values = [
            sum(f"{{{placeholder}}}" in probe["passage"] for placeholder in "abcd")
            for probe in read_probes("knowledge")
        ]
        assert sum(count > 1 for count in num_values) == sum(count == 1 for count in num_values)

    def test_a_tie_counts_as_wrong(self):
        result = loglikelihoods(1.0, 1.0, 2.0, 3.0)
        statistics = load_metric("knowledge").statistics(samples_of("knowledge")[:1], [result])
        assert statistics.tolist() == [[0, 1]]
