"""Baselines: probability distributions of n-grams, and retrieved answers."""

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
token_sequences = st.lists(st.lists(st.tuples(st.integers(0, VOCAB - 1), st.booleans()), max_size=20), max_size=6)
orders = st.integers(1, 4)


def ignore_progress(_):
    pass


def train_ngrams(sequences, order=4):
    """An n-gram model of sequences of `(token, is_learned)`."""
    texts = (([token for token, _ in sequence], [is_learned for _, is_learned in sequence]) for sequence in sequences)
    return KneserNey(texts, order=order, vocab_size=VOCAB)


def dialogue(*texts):
    return Conversation(tuple(Message(("user", "assistant")[index % 2], text) for index, text in enumerate(texts)))


def write_jsonl(path, conversation):
    path.write_text(json.dumps({"messages": [message.as_dict() for message in conversation.messages]}) + "\n")


class TestKneserNey:
    @given(token_sequences, st.lists(st.integers(0, VOCAB - 1), max_size=5), orders)
    @settings(max_examples=60, deadline=None)
    def test_a_distribution_sums_to_one_and_equals_the_probabilities_of_single_tokens(self, sequences, prefix, order):
        model = train_ngrams(sequences, order)
        distribution = model.distribution(prefix)
        assert distribution.min() > 0
        assert distribution.sum() == pytest.approx(1)
        probabilities = [model.probabilities([*prefix, token], [len(prefix)])[0] for token in range(VOCAB)]
        assert distribution.tolist() == pytest.approx(probabilities)

    @given(token_sequences, st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=5), st.integers(2, 4))
    @settings(max_examples=60, deadline=None)
    def test_a_probability_equals_the_recursive_formula(self, sequences, ids, order):
        """The definition of Chen & Goodman 1999, without precomputed counts."""
        ngram_counts = Counter()
        for sequence in sequences:
            padded = [START] * (order - 1) + [token for token, _ in sequence]
            ngram_counts.update(
                tuple(padded[index : index + order]) for index, (_, is_learned) in enumerate(sequence) if is_learned
            )

        def formula(ngram):
            if not ngram:
                return 1 / VOCAB
            counts = ngram_counts
            for _ in range(order - len(ngram)):
                counts = Counter(longer[1:] for longer in counts)
            follower_counts = [count for key, count in counts.items() if key[:-1] == ngram[:-1]]
            lower_order = formula(ngram[1:])
            if not follower_counts:
                return lower_order
            num_once, num_twice = (sum(count == times for count in counts.values()) for times in (1, 2))
            discount = (num_once + 1) / (num_once + 2 * num_twice + 2)
            discounted_count = max(counts[ngram] - discount, 0)
            return (discounted_count + discount * len(follower_counts) * lower_order) / sum(follower_counts)

        ngram = tuple(([START] * (order - 1) + ids)[-order:])
        assert train_ngrams(sequences, order).probability(ngram) == pytest.approx(formula(ngram))

    def test_a_token_that_follows_only_one_token_is_unlikely_in_other_contexts(self):
        frequent_after_one = [[(1, True), (2, True)]] * 8
        rare_after_several = [[(token, True), (3, True)] for token in (0, 4, 5, 6)]
        model = train_ngrams([*frequent_after_one, *rare_after_several], order=2)
        distribution = model.distribution([3])  # no sequence continues after 3
        assert distribution[3] > distribution[2]

    def test_tokens_that_are_not_learned_are_context_only(self):
        model = train_ngrams([[(1, False), (2, True)]] * 3)
        assert model.distribution([1])[2] > 0.5
        assert model.distribution([])[1] == pytest.approx(model.distribution([])[5])


class TestScoredSpan:
    def test_only_the_last_message_and_its_end_of_turn_token_are_scored(self, renderer):
        messages = dialogue("hi", "hello", "and?", "good bye").messages
        span = find_scored_span(renderer, LoglikelihoodQuery(messages), 1000)
        scored_ids = [span.token_ids[position] for position in span.positions]
        assert scored_ids == [*renderer.tokenizer.encode("good bye"), renderer.tokenizer.eos_token_id]
        assert span.num_bytes == len(b"good bye")

    def test_a_dialogue_that_is_too_long_is_cut_at_its_beginning(self, renderer):
        messages = dialogue("hi " * 50, "good bye").messages
        long, short = (find_scored_span(renderer, LoglikelihoodQuery(messages), limit) for limit in (1000, 20))
        assert len(short.token_ids) == 20
        scored_ids = [[span.token_ids[position] for position in span.positions] for span in (short, long)]
        assert scored_ids[0] == scored_ids[1]
        assert short.num_bytes == long.num_bytes

    def test_only_the_end_of_a_reply_that_is_too_long_is_scored(self, renderer):
        messages = dialogue("hi", "good bye " * 20).messages
        long, short = (find_scored_span(renderer, LoglikelihoodQuery(messages), limit) for limit in (1000, 16))
        assert len(short.positions) == 15
        assert short.num_bytes == round(long.num_bytes * 15 / len(long.positions))


@pytest.fixture(scope="module")
def ngram(renderer, intent_dialogues):
    return NgramBaseline(intent_dialogues, renderer, context_length=128)


class TestNgram:
    def test_the_scored_tokens_are_those_of_a_model(self, ngram, renderer, intent_dialogues):
        query = LoglikelihoodQuery(intent_dialogues[3].messages)
        (loglikelihood,) = ngram.loglikelihood([query], ignore_progress)
        span = find_scored_span(renderer, query, 128)
        assert (loglikelihood.num_tokens, loglikelihood.num_bytes) == (len(span.positions), span.num_bytes)
        probabilities = ngram.model.probabilities(span.token_ids, span.positions)
        assert loglikelihood.nll == pytest.approx(-sum(map(math.log, probabilities)))

    def test_a_training_reply_is_more_likely_than_an_unseen_reply(self, ngram, intent_dialogues):
        unseen_dialogue = dialogue("order 03?", "Nobody knows.")
        seen, unseen = ngram.loglikelihood(
            [LoglikelihoodQuery(intent_dialogues[3].messages), LoglikelihoodQuery(unseen_dialogue.messages)],
            ignore_progress,
        )
        assert seen.nll / seen.num_tokens < 2 < unseen.nll / unseen.num_tokens

    def test_answers_end_with_the_turn_and_many_are_training_replies(self, ngram, intent_dialogues):
        queries = [(GenerationQuery(intent_dialogues[0].messages[:1]), seed) for seed in range(20)]
        answers = ngram.generate(queries, ignore_progress)
        training_replies = {conversation.messages[-1].content for conversation in intent_dialogues}
        assert all(answer.finish_reason == "stop" for answer in answers)
        assert sum(answer.text in training_replies for answer in answers) >= 10

    def test_answers_depend_on_seed_and_history_and_are_reproducible(self, ngram, intent_dialogues):
        queries = [
            (GenerationQuery(conversation.messages[:1]), seed)
            for seed in range(5)
            for conversation in intent_dialogues[:5]
        ]
        answers = ngram.generate(queries, ignore_progress)
        assert answers == ngram.generate(queries, ignore_progress)
        assert len({answer.text for answer in answers}) > 5
        assert len({answer.text for answer in answers[:5]}) > 1

    def test_a_greedy_answer_does_not_depend_on_the_seed(self, ngram, intent_dialogues):
        queries = [(GenerationQuery(intent_dialogues[0].messages[:1], greedy=True), seed) for seed in range(3)]
        assert len({answer.text for answer in ngram.generate(queries, ignore_progress)}) == 1

    def test_an_answer_without_an_end_is_cut_at_the_default_maximum(self, renderer, intent_dialogues):
        (answer,) = NgramBaseline([], renderer, context_length=128).generate(
            [(GenerationQuery(intent_dialogues[0].messages[:1], greedy=True), 0)], ignore_progress
        )
        assert (answer.finish_reason, answer.num_tokens) == ("length", 256)

    def test_sampled_tokens_follow_the_distribution(self, ngram, renderer, intent_dialogues):
        history = intent_dialogues[0].messages[:1]
        prompt = renderer.render(history, add_generation_prompt=True).ids
        answers = ngram.generate([(GenerationQuery(history), seed) for seed in range(300)], ignore_progress)
        first_tokens = Counter(renderer.tokenizer.encode(answer.text)[0] for answer in answers)
        token, count = first_tokens.most_common(1)[0]
        assert count / 300 == pytest.approx(ngram.model.distribution(prompt)[token], abs=0.1)

    def test_max_tokens_limits_an_answer(self, renderer, intent_dialogues):
        baseline = NgramBaseline([], renderer, context_length=128, max_tokens=7)
        (answer,) = baseline.generate(
            [(GenerationQuery(intent_dialogues[0].messages[:1], greedy=True), 0)], ignore_progress
        )
        assert (answer.finish_reason, answer.num_tokens) == ("length", 7)

    def test_a_dialogue_that_the_template_rejects_is_neither_learned_nor_scored(self, tokenizer, intent_dialogues):
        strict_template = (
            "{% for message in messages %}"
            "{% if message.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
            "{{ message.content }}{{ eos_token }}{% endfor %}"
        )
        rejected, accepted = (
            (Message("system", "Be brief."), *intent_dialogues[0].messages),
            intent_dialogues[0].messages,
        )
        renderer = Renderer(tokenizer, strict_template)
        baseline = NgramBaseline([Conversation(rejected), *intent_dialogues], renderer, context_length=128)
        answers = baseline.generate(
            [(GenerationQuery(rejected[:2]), 0), (GenerationQuery(accepted[:1]), 0)], ignore_progress
        )
        assert answers[0] == EMPTY_GENERATION
        assert answers[1].text
        rejected_score, accepted_score = baseline.loglikelihood(
            [LoglikelihoodQuery(rejected), LoglikelihoodQuery(accepted)], ignore_progress
        )
        assert (rejected_score.nll, rejected_score.num_tokens, rejected_score.num_bytes) == (0, 0, 0)
        assert accepted_score.num_tokens

    def test_against_an_adapter_the_tokenizer_is_that_of_the_adapter_or_of_its_base(
        self, model_folder, tmp_path, tokenizer
    ):
        adapter = tmp_path / "adapter"
        adapter.mkdir()
        save_adapter(adapter, {}, base=model_folder, rank=2, alpha=2, dropout=0, task_type="CAUSAL_LM")
        file = tmp_path / "train.jsonl"
        write_jsonl(file, dialogue("hi", "hello"))
        with open_baseline("ngram", file, adapter) as baseline:  # the adapter folder has no tokenizer
            assert baseline.renderer.tokenizer.vocab_size == tokenizer.vocab_size
        tokenizer.save(adapter)
        with open_baseline("ngram", file, adapter, 5) as baseline:
            assert baseline.max_tokens == 5


class TestRetrieval:
    def test_the_name_and_a_file_of_dialogues_open_the_baseline(self, model_folder, tmp_path):
        path = tmp_path / "train.jsonl"
        write_jsonl(path, dialogue("tea?", "Yes."))
        with open_baseline("retrieval", path, model_folder) as baseline:
            (answer,) = baseline.generate([(GenerationQuery((Message("user", "Is there tea?"),)), 0)], ignore_progress)
        assert answer.text == "Yes."

    def test_a_training_question_gets_its_training_answer(self, intent_dialogues):
        baseline = RetrievalBaseline(intent_dialogues)
        queries = [(GenerationQuery(conversation.messages[:1]), 0) for conversation in intent_dialogues]
        answers = baseline.generate(queries, ignore_progress)
        assert [answer.text for answer in answers] == [
            conversation.messages[1].content for conversation in intent_dialogues
        ]

    def test_the_last_question_is_compared_with_all_questions_of_a_dialogue(self):
        baseline = RetrievalBaseline([dialogue("Where is the park?", "By the river.", "Is tea sold there?", "It is.")])
        history = dialogue("Is tea sold there?", "It is.", "And the park?").messages
        assert baseline.generate([(GenerationQuery(history), 0)], ignore_progress)[0].text == "By the river."

    def test_of_equally_similar_questions_the_first_is_used_for_every_seed(self):
        baseline = RetrievalBaseline([dialogue("tea or milk?", "Tea."), dialogue("tea or milk?", "Milk.")])
        queries = [(GenerationQuery((Message("user", "milk"),)), seed) for seed in range(5)]
        assert {answer.text for answer in baseline.generate(queries, ignore_progress)} == {"Tea."}

    @pytest.mark.parametrize(
        "history", [(Message("user", "zebra"),), (Message("user", "?!"),), (), (Message("system", "tea"),)]
    )
    def test_without_a_shared_word_the_answer_is_the_most_frequent_one(self, history):
        baseline = RetrievalBaseline([dialogue("tea?", "No."), dialogue("milk?", "Yes."), dialogue("bread?", "Yes.")])
        assert baseline.generate([(GenerationQuery(history), 0)], ignore_progress)[0].text == "Yes."

    def test_chinese_questions_are_compared_by_characters(self):
        baseline = RetrievalBaseline([dialogue("我的包裹在哪里?", "在路上。"), dialogue("今天天气怎么样?", "很好。")])
        assert (
            baseline.generate([(GenerationQuery((Message("user", "天气好吗"),)), 0)], ignore_progress)[0].text
            == "很好。"
        )

    @pytest.mark.parametrize("dialogues", [[], [dialogue("hi")], [dialogue("?!", "What?")], [dialogue("hi", " ")]])
    def test_data_without_a_usable_reply_is_rejected(self, dialogues):
        with pytest.raises(InvalidData, match="nothing to retrieve"):
            RetrievalBaseline(dialogues)


class TestMetrics:
    @pytest.fixture
    def metrics(self):
        return load_metrics(["selection", "chrf", "bits_per_byte"])

    def test_all_metrics_are_computed_for_the_ngram_baseline(self, ngram, intent_dialogues, metrics):
        results = run_metrics(ngram, metrics, plan_samples(metrics, intent_dialogues, 0))
        assert set(results) == {"selection", "chrf", "bits_per_byte"}
        assert all(np.isfinite(result.metric.value(result.sums_GK.sum(axis=0))) for result in results.values())

    def test_metrics_of_answers_are_computed_for_the_retrieval_baseline(self, intent_dialogues, metrics):
        results = run_metrics(RetrievalBaseline(intent_dialogues), metrics, plan_samples(metrics, intent_dialogues, 0))
        assert set(results) == {"chrf"}
        assert results["chrf"].metric.value(results["chrf"].sums_GK.sum(axis=0)) == pytest.approx(100)
