"""Written probes: whoever does not read what they tell is right by chance, and they fit a small context."""

from collections import Counter

import numpy as np
import pytest

from turnwise.app.model_names import resolve_model_folder
from turnwise.core.messages import ROLES, Message
from turnwise.evaluation.metric_runner import run_metrics
from turnwise.evaluation.metrics import load_metrics
from turnwise.evaluation.metrics.contradiction import NO, YES
from turnwise.evaluation.probes import read_probes
from turnwise.evaluation.samples import GenerationOutput, Loglikelihood, SampleResult
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.text.word_tokens import split_words

PROBES = ("contradiction", "recall", "knowledge")


def made(name, seed=0):
    (metric,) = load_metrics([name])
    return metric, metric.samples([], seed)


class ScriptedSystem:
    """Scores by a function of all messages, and answers by one of what was asked."""

    name = "scripted"

    def __init__(self, nats=None, says=None):
        self.nats, self.says = nats, says

    def generate(self, queries, on_done):
        return [GenerationOutput(self.says(ask.history)) for ask, _ in queries]

    def loglikelihood(self, queries, on_done):
        return [Loglikelihood(self.nats(score.messages), 1, 1) for score in queries]


def value(name, subject):
    metric, items = made(name)
    found = run_metrics(subject, [metric], {metric.NAME: items})[metric.NAME]
    return float(metric.value(found.sums_GK.sum(axis=0)))


def blind(taste):
    """Likes replies by themselves and after a question, and does not look at what was said before."""
    return ScriptedSystem(
        nats=lambda messages: float(np.random.default_rng([taste, *repr(messages[-2:]).encode()]).random())
    )


class TestAll:
    @pytest.mark.parametrize("name", PROBES)
    def test_there_are_some_whatever_the_data_is_and_a_seed_makes_the_same(self, name):
        assert made(name)[1] == made(name)[1]
        assert len(made(name)[1]) >= 20

    @pytest.mark.parametrize("name", PROBES)
    def test_every_place_is_filled_and_every_role_is_one(self, name):
        for item in made(name)[1]:
            for messages in (
                *(ask.history for ask in item.generation_queries),
                *(score.messages for score in item.loglikelihood_queries),
            ):
                assert all(message.role in ROLES for message in messages)
                assert not any(sign in message.content for message in messages for sign in "{}")

    @pytest.mark.parametrize("name", PROBES)
    def test_no_two_ask_the_same(self, name):
        asked = [(item.generation_queries, item.loglikelihood_queries) for item in made(name)[1]]
        assert len(set(asked)) == len(asked)


class TestContradiction:
    @pytest.mark.parametrize("taste", range(5))
    def test_whoever_does_not_look_at_the_fact_contradicts_half_of_the_time(self, taste):
        assert value("contradiction", blind(taste)) == 0.5

    def test_a_liking_for_yes_or_for_short_replies_does_not_pay(self):
        assert value("contradiction", ScriptedSystem(nats=lambda said: float(len(said[-1].content)))) >= 0.5
        assert value("contradiction", ScriptedSystem(nats=lambda said: -float(len(said[-1].content)))) >= 0.5

    def test_whoever_knows_the_right_reply_does_not(self):
        _, items = made("contradiction")
        right = {item.loglikelihood_queries[0].messages for item in items}
        assert value("contradiction", ScriptedSystem(nats=lambda said: float(said not in right))) == 0.0
        assert value("contradiction", ScriptedSystem(nats=lambda said: float(said in right))) == 1.0

    def test_replies_are_matched_in_length_and_wording(self):
        for item in made("contradiction")[1]:
            fits, contradicts = (split_words(score.messages[-1].content) for score in item.loglikelihood_queries)
            assert len(fits) == len(contradicts)
            changed = sum(one != other for one, other in zip(fits, contradicts, strict=True))
            assert changed == (2 if fits[0] in ("yes", "no") else 1)
            assert item.loglikelihood_queries[0].messages[:-1] == item.loglikelihood_queries[1].messages[:-1]

    def test_each_fact_asks_as_often_for_yes_as_for_no(self):
        said = Counter((item.group, item.reference) for item in made("contradiction")[1])
        for group in {group for group, _ in said}:
            assert said[group, YES] == said[group, NO] == 2

    def test_there_are_several_kinds(self):
        kinds = Counter(item.metadata["kind"] for item in made("contradiction")[1])
        assert len(kinds) >= 8
        assert len(set(kinds.values())) == 1

    @pytest.mark.parametrize(("nats", "rate"), [((1.0, 2.0), 0.0), ((2.0, 1.0), 1.0), ((1.0, 1.0), 1.0)])
    def test_ties_count_as_contradictions(self, nats, rate):
        metric, items = made("contradiction")
        found = [SampleResult(loglikelihoods=tuple(Loglikelihood(each, 1, 1) for each in nats))]
        assert metric.statistics(items[:1], found).tolist() == [[rate, 1.0]]

    def test_a_nan_is_no_sign_of_knowledge(self):
        metric, items = made("contradiction")
        found = [SampleResult(loglikelihoods=(Loglikelihood(float("nan"), 1, 1), Loglikelihood(1.0, 1, 1)))]
        assert metric.statistics(items[:1], found).tolist() == [[1.0, 1.0]]


class TestRecall:
    def test_the_answer_is_turn_forty_and_the_facts_are_told_in_the_first_five(self):
        for item in made("recall")[1]:
            history, fact = item.generation_queries[0].history, item.metadata["fact"]
            assert len(history) == 39
            assert [message.role for message in history] == ["user", "assistant"] * 19 + ["user"]
            telling = [
                at for at, message in enumerate(history, 1) if split_words(fact)[0] in split_words(message.content)
            ]
            assert len(telling) == 1
            assert telling[0] in (1, 3, 5)
            assert item.generation_queries[0].greedy

    def test_talks_differ_and_do_not_repeat_themselves(self):
        _, items = made("recall")
        assert len({item.generation_queries[0].history[:38] for item in items}) == len(items) == 20
        for item in items:
            assert len({message.content for message in item.generation_queries[0].history}) == 39

    def test_each_of_the_first_turns_is_asked_for(self):
        told = Counter()
        for item in made("recall")[1]:
            history, fact = item.generation_queries[0].history, item.metadata["fact"]
            told.update(
                at for at, message in enumerate(history, 1) if split_words(fact)[0] in split_words(message.content)
            )
        assert set(told) == {1, 3, 5}
        assert min(told.values()) >= 6

    def test_no_value_stands_anywhere_else(self):
        read = read_probes("recall")
        texts = [text for exchange in read["small_talk"] for text in exchange.values()]
        texts += [
            fact[key].replace("{value}", "") for fact in read["facts"] for key in ("statement", "answer", "question")
        ]
        elsewhere = {word for text in texts for word in split_words(text)}
        values = [value for fact in read["facts"] for value in fact["values"]]
        assert len(set(values)) == len(values)
        assert not elsewhere & {word for value in values for word in split_words(value)}

    def test_another_seed_tells_other_facts(self):
        facts = [[item.metadata["fact"] for item in made("recall", seed)[1]] for seed in (0, 1)]
        assert facts[0] != facts[1]

    def test_it_fits_a_context_of_1024_with_a_small_vocabulary(self):
        tokenizer = Tokenizer.load(resolve_model_folder("box"))
        assert tokenizer.vocab_size == 4096
        renderer = Renderer.from_tokenizer(tokenizer)
        for seed in range(5):
            for item in made("recall", seed)[1]:
                assert len(renderer.render(item.generation_queries[0].history, add_generation_prompt=True).ids) < 900

    def test_an_answer_is_right_where_it_names_the_fact(self):
        metric, (item, *_) = made("recall")
        fact = item.metadata["fact"]
        for text, right in [(f"It was {fact.upper()}!", 1.0), (f"It was {fact}ish.", 0.0), ("", 0.0)]:
            assert metric.statistics([item], [SampleResult((GenerationOutput(text),))]).tolist() == [[right, 1.0]]

    def test_who_reads_the_beginning_recalls_all_and_who_reads_the_end_nothing(self):
        def say(messages):
            return " ".join(message.content for message in messages)

        assert value("recall", ScriptedSystem(says=lambda history: say(history[:6]))) == 1.0
        assert value("recall", ScriptedSystem(says=lambda history: say(history[6:]))) == 0.0


class TestKnowledge:
    @pytest.mark.parametrize("taste", range(5))
    def test_whoever_does_not_read_is_right_one_time_in_four(self, taste):
        assert value("knowledge", blind(taste)) == 0.25

    def test_four_replies_that_differ_in_one_value(self):
        for item in made("knowledge")[1]:
            replies = [split_words(score.messages[-1].content) for score in item.loglikelihood_queries]
            assert len(set(map(tuple, replies))) == 4
            assert len({len(reply) for reply in replies}) == 1
            assert sum(len(set(column)) > 1 for column in zip(*replies, strict=True)) == 1

    def test_each_value_is_right_once(self):
        for group, count in Counter(item.group for item in made("knowledge")[1]).items():
            right = {item.reference for item in made("knowledge")[1] if item.group == group}
            assert len(right) == count == 4

    def test_the_passage_says_the_right_value(self):
        for item in made("knowledge")[1]:
            system, question, _ = item.loglikelihood_queries[0].messages
            assert (system.role, question.role) == ("system", "user")
            replies = [set(split_words(score.messages[-1].content)) for score in item.loglikelihood_queries]
            (fact,) = replies[0] - replies[1]
            assert fact in split_words(system.content)
            assert fact not in split_words(question.content)

    def test_in_half_of_the_passages_other_values_stand_as_well(self):
        places = [sum(f"{{{place}}}" in each["passage"] for place in "abcd") for each in read_probes("knowledge")]
        assert sum(count > 1 for count in places) == sum(count == 1 for count in places)

    def test_ties_count_as_wrong(self):
        metric, items = made("knowledge")
        found = [SampleResult(loglikelihoods=tuple(Loglikelihood(each, 1, 1) for each in (1.0, 1.0, 2.0, 3.0)))]
        assert metric.statistics(items[:1], found).tolist() == [[0.0, 1.0]]


def test_a_missing_value_is_an_error():
    from turnwise.evaluation.probes import fill_dialogue

    with pytest.raises(KeyError):
        fill_dialogue([{"user": "I am {value}."}])
    assert fill_dialogue([{"user": "I am {value}."}], value="here") == (Message("user", "I am here."),)
