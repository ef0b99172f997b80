"""Baselines: true distributions over the model's own tokens, and answers that were given before."""

import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation, Message
from turnwise.evaluation.baselines import open_baseline
from turnwise.evaluation.baselines.ngram import NgramBaseline
from turnwise.evaluation.baselines.retrieval import RetrievalBaseline
from turnwise.evaluation.kneser_ney import START, KneserNey
from turnwise.evaluation.metric_runner import plan_samples, run_metrics
from turnwise.evaluation.metrics import load_metrics
from turnwise.evaluation.samples import GenerationQuery, LoglikelihoodQuery
from turnwise.evaluation.scored_span import find_scored_span
from turnwise.evaluation.system_under_test import EMPTY_GENERATION
from turnwise.models.adapters import save_adapter
from turnwise.text.rendering.renderer import Renderer

VOCAB = 7
texts = st.lists(st.lists(st.tuples(st.integers(0, VOCAB - 1), st.booleans()), max_size=20), max_size=6)
orders = st.integers(1, 4)


def ignore(count):
    pass


def learned(said, order=4):
    return KneserNey(([list(part) for part in zip(*text, strict=True)] or [[], []] for text in said),
                     order=order, vocab_size=VOCAB)  # fmt: skip


def talk(*said):
    return Conversation(tuple(Message(("user", "assistant")[at % 2], text) for at, text in enumerate(said)))


class TestKneserNey:
    @given(texts, st.lists(st.integers(0, VOCAB - 1), max_size=5), orders)
    @settings(max_examples=60, deadline=None)
    def test_a_distribution_sums_to_one_and_is_what_is_said_of_each_token(self, said, before, order):
        model = learned(said, order)
        found = model.distribution(before)
        assert found.min() > 0
        assert found.sum() == pytest.approx(1)
        each = [model.probabilities([*before, token], [len(before)])[0] for token in range(VOCAB)]
        assert found.tolist() == pytest.approx(each)

    @given(texts, st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=5), st.integers(2, 4))
    @settings(max_examples=60, deadline=None)
    def test_it_is_what_the_formula_says(self, said, ids, order):
        """Chen & Goodman 1999, written down as it stands there."""
        runs = Counter()
        for text in said:
            padded = [START] * (order - 1) + [token for token, _ in text]
            runs.update(tuple(padded[at : at + order]) for at, (_, wanted) in enumerate(text) if wanted)

        def by_formula(gram):
            if not gram:
                return 1 / VOCAB
            counts = runs
            for _ in range(order - len(gram)):
                counts = Counter(longer[1:] for longer in counts)
            followers = [count for other, count in counts.items() if other[:-1] == gram[:-1]]
            shorter = by_formula(gram[1:])
            if not followers:
                return shorter
            ones, twos = (sum(count == times for count in counts.values()) for times in (1, 2))
            discount = (ones + 1) / (ones + 2 * twos + 2)
            own = max(counts[gram] - discount, 0) + discount * len(followers) * shorter
            return own / sum(followers)

        gram = tuple(([START] * (order - 1) + ids)[-order:])
        assert learned(said, order).probability(gram) == pytest.approx(by_formula(gram))

    def test_what_follows_only_one_token_is_unlikely_elsewhere(self):
        often_after_one = [[(1, True), (2, True)]] * 8
        seldom_after_several = [[(other, True), (3, True)] for other in (0, 4, 5, 6)]
        found = learned([*often_after_one, *seldom_after_several], order=2).distribution([3])  # nothing came after 3
        assert found[3] > found[2]

    def test_what_is_not_learned_from_is_a_context_only(self):
        model = learned([[(1, False), (2, True)]] * 3)
        assert model.distribution([1])[2] > 0.5
        assert model.distribution([])[1] == pytest.approx(model.distribution([])[5])


class TestCounting:
    def test_a_last_message_counts_with_its_end_and_nothing_before_it(self, renderer):
        messages = talk("hi", "hello", "and?", "good bye").messages
        found = find_scored_span(renderer, LoglikelihoodQuery(messages), 1000)
        said = [found.token_ids[at] for at in found.positions]
        assert said == [*renderer.tokenizer.encode("good bye"), renderer.tokenizer.eos_token_id]
        assert found.num_bytes == len(b"good bye")

    def test_what_does_not_fit_is_cut_from_the_front(self, renderer):
        messages = talk("hi " * 50, "good bye").messages
        long, short = (find_scored_span(renderer, LoglikelihoodQuery(messages), limit) for limit in (1000, 20))
        assert len(short.token_ids) == 20
        assert [short.token_ids[at] for at in short.positions] == [long.token_ids[at] for at in long.positions]
        assert short.num_bytes == long.num_bytes

    def test_of_a_reply_that_is_too_long_itself_the_end_counts_for_as_much_as_it_is(self, renderer):
        messages = talk("hi", "good bye " * 20).messages
        long, short = (find_scored_span(renderer, LoglikelihoodQuery(messages), limit) for limit in (1000, 16))
        assert len(short.positions) == 15
        assert short.num_bytes == round(long.num_bytes * 15 / len(long.positions))


@pytest.fixture(scope="module")
def ngram(renderer, desk):
    return NgramBaseline(desk, renderer, context_length=128)


class TestNgram:
    def test_it_counts_what_a_model_counts(self, ngram, renderer, desk):
        score = LoglikelihoodQuery(desk[3].messages)
        (found,) = ngram.loglikelihood([score], ignore)
        read = find_scored_span(renderer, score, 128)
        assert (found.num_tokens, found.num_bytes) == (len(read.positions), read.num_bytes)
        chances = ngram.model.probabilities(read.token_ids, read.positions)
        assert found.nll == pytest.approx(-sum(map(math.log, chances)))

    def test_what_it_read_is_likelier_than_what_it_did_not(self, ngram, desk):
        read, other = ngram.loglikelihood(
            [LoglikelihoodQuery(desk[3].messages), LoglikelihoodQuery(talk("order 03?", "Nobody knows.").messages)],
            ignore,
        )
        assert read.nll / read.num_tokens < 2 < other.nll / other.num_tokens

    def test_it_says_what_it_read_up_to_the_end_of_a_turn(self, ngram, desk):
        asks = [(GenerationQuery(desk[0].messages[:1]), seed) for seed in range(20)]
        answers = ngram.generate(asks, ignore)
        read = {dialogue.messages[-1].content for dialogue in desk}
        assert all(answer.finish_reason == "stop" for answer in answers)
        assert sum(answer.text in read for answer in answers) >= 10

    def test_answers_differ_by_seed_and_history_and_are_the_same_again(self, ngram, desk):
        asks = [(GenerationQuery(dialogue.messages[:1]), seed) for seed in range(5) for dialogue in desk[:5]]
        first = ngram.generate(asks, ignore)
        assert first == ngram.generate(asks, ignore)
        assert len({answer.text for answer in first}) > 5
        assert len({answer.text for answer in first[:5]}) > 1

    def test_a_greedy_answer_is_always_the_same(self, ngram, desk):
        asks = [(GenerationQuery(desk[0].messages[:1], greedy=True), seed) for seed in range(3)]
        assert len({answer.text for answer in ngram.generate(asks, ignore)}) == 1

    def test_an_answer_without_an_end_is_cut_off(self, renderer, desk):
        (answer,) = NgramBaseline([], renderer, context_length=128).generate(
            [(GenerationQuery(desk[0].messages[:1], greedy=True), 0)], ignore
        )
        assert (answer.finish_reason, answer.num_tokens) == ("length", 256)

    def test_draws_follow_the_distribution(self, ngram, renderer, desk):
        history = desk[0].messages[:1]
        before = renderer.render(history, add_generation_prompt=True).ids
        answers = ngram.generate([(GenerationQuery(history), seed) for seed in range(300)], ignore)
        first = Counter(renderer.tokenizer.encode(answer.text)[0] for answer in answers)
        token, count = first.most_common(1)[0]
        assert count / 300 == pytest.approx(ngram.model.distribution(before)[token], abs=0.1)

    def test_an_answer_is_as_long_as_was_asked_for(self, renderer, desk):
        subject = NgramBaseline([], renderer, context_length=128, max_tokens=7)
        (answer,) = subject.generate([(GenerationQuery(desk[0].messages[:1], greedy=True), 0)], ignore)
        assert (answer.finish_reason, answer.num_tokens) == ("length", 7)

    def test_what_the_template_refuses_it_has_no_opinion_of(self, tokenizer, desk):
        strict = (
            "{% for message in messages %}"
            "{% if message.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
            "{{ message.content }}{{ eos_token }}{% endfor %}"
        )
        refused = (Message("system", "Be brief."), *desk[0].messages)
        subject = NgramBaseline([Conversation(refused), *desk], Renderer(tokenizer, strict), context_length=128)
        answers = subject.generate(
            [(GenerationQuery(refused[:2]), 0), (GenerationQuery(desk[0].messages[:1]), 0)], ignore
        )
        assert answers[0] == EMPTY_GENERATION
        assert answers[1].text
        no, yes = subject.loglikelihood([LoglikelihoodQuery(refused), LoglikelihoodQuery(desk[0].messages)], ignore)
        assert (no.nll, no.num_tokens, no.num_bytes) == (0, 0, 0)
        assert yes.num_tokens

    def test_against_an_adapter_it_reads_as_that_does(self, model_folder, tmp_path, tokenizer):
        adapter = tmp_path / "adapter"
        adapter.mkdir()
        save_adapter(adapter, {}, base=model_folder, rank=2, alpha=2, dropout=0, task_type="CAUSAL_LM")
        file = tmp_path / "train.jsonl"
        file.write_text(json.dumps({"messages": [each.as_dict() for each in talk("hi", "hello").messages]}) + "\n")
        with open_baseline("ngram", file, adapter) as subject:  # neither a config nor a tokenizer of its own
            assert subject.renderer.tokenizer.vocab_size == tokenizer.vocab_size
        tokenizer.save(adapter)
        with open_baseline("ngram", file, adapter, 5) as subject:
            assert subject.max_tokens == 5


class TestRetrieval:
    def test_it_is_opened_by_its_name_from_a_file_of_dialogues(self, model_folder, tmp_path):
        path = tmp_path / "train.jsonl"
        path.write_text(json.dumps({"messages": [m.as_dict() for m in talk("tea?", "Yes.").messages]}) + "\n")
        with open_baseline("retrieval", path, model_folder) as baseline:
            (answer,) = baseline.generate([(GenerationQuery((Message("user", "Is there tea?"),)), 0)], ignore)
        assert answer.text == "Yes."

    def test_the_answer_to_a_seen_question_is_found(self, desk):
        subject = RetrievalBaseline(desk)
        answers = subject.generate([(GenerationQuery(dialogue.messages[:1]), 0) for dialogue in desk], ignore)
        assert [answer.text for answer in answers] == [dialogue.messages[1].content for dialogue in desk]

    def test_every_answer_of_a_dialogue_is_remembered_and_the_last_question_counts(self):
        subject = RetrievalBaseline([talk("Where is the park?", "By the river.", "Is tea sold there?", "It is.")])
        asked = talk("Is tea sold there?", "It is.", "And the park?").messages
        assert subject.generate([(GenerationQuery(asked), 0)], ignore)[0].text == "By the river."

    def test_equally_similar_questions_get_the_first_answer_whatever_the_seed(self):
        subject = RetrievalBaseline([talk("tea or milk?", "Tea."), talk("tea or milk?", "Milk.")])
        asks = [(GenerationQuery((Message("user", "milk"),)), seed) for seed in range(5)]
        assert {answer.text for answer in subject.generate(asks, ignore)} == {"Tea."}

    @pytest.mark.parametrize(
        "history", [(Message("user", "zebra"),), (Message("user", "?!"),), (), (Message("system", "tea"),)]
    )
    def test_where_no_word_is_known_the_most_frequent_answer_is_given(self, history):
        subject = RetrievalBaseline([talk("tea?", "No."), talk("milk?", "Yes."), talk("bread?", "Yes.")])
        assert subject.generate([(GenerationQuery(history), 0)], ignore)[0].text == "Yes."

    def test_chinese_is_compared_by_characters(self):
        subject = RetrievalBaseline([talk("我的包裹在哪里?", "在路上。"), talk("今天天气怎么样?", "很好。")])
        assert subject.generate([(GenerationQuery((Message("user", "天气好吗"),)), 0)], ignore)[0].text == "很好。"

    @pytest.mark.parametrize("dialogues", [[], [talk("hi")], [talk("?!", "What?")], [talk("hi", " ")]])
    def test_nothing_to_remember_is_an_error(self, dialogues):
        with pytest.raises(InvalidData, match="nothing to retrieve"):
            RetrievalBaseline(dialogues)


class TestMeasured:
    def test_both_are_measured_as_models_are(self, ngram, desk):
        chosen = load_metrics(["selection", "chrf", "bits_per_byte"])
        items = plan_samples(chosen, desk, 0)
        found = run_metrics(ngram, chosen, items)
        assert set(found) == {"selection", "chrf", "bits_per_byte"}
        assert all(np.isfinite(each.metric.value(each.sums_GK.sum(axis=0))) for each in found.values())
        found = run_metrics(RetrievalBaseline(desk), chosen, items)
        assert set(found) == {"chrf"}
        assert found["chrf"].metric.value(found["chrf"].sums_GK.sum(axis=0)) == pytest.approx(100)
