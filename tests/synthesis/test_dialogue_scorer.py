"""Scores of dialogues: their definitions, and that only replies are scored, given their context."""

import asyncio
import math
from dataclasses import replace

import pytest
import torch

from turnwise.core.messages import Conversation, Message
from turnwise.core.ordered_results import iterate_sync
from turnwise.data.rows import Document
from turnwise.synthesis.dialogue_scorer import SCORER_KEY, SCORES_KEY, DialogueScorer, novelty

pytestmark = pytest.mark.usefixtures("one_thread")
SUPPORT = "I understand that you want to cancel an order. To assist you, please follow these simple steps:"


def dialogue(*texts, system=None, **meta):
    messages = [Message("assistant" if index % 2 else "user", text) for index, text in enumerate(texts)]
    return Conversation(((Message("system", system),) if system else ()) + tuple(messages), meta)


def scores(service, conversation):
    return asyncio.run(DialogueScorer(service).scores(conversation))


def test_likelihood_is_the_mean_logprob_of_the_reply_tokens(bundled_model):
    """Compared with one forward pass of the model over the complete dialogue."""
    from turnwise.app.model_names import resolve_model_folder
    from turnwise.models import checkpoint

    conversation = dialogue(
        "hello", "Hello! How can I help?", "tell me a joke", "I know none.", system="You are Turnwise."
    )
    rendered = bundled_model.renderer.render(conversation.messages)
    decoder = checkpoint.load(resolve_model_folder(None), dtype=torch.float32).decoder
    ids_BT = torch.tensor([rendered.ids])
    with torch.inference_mode():
        logprobs_TV = decoder.logits(decoder(ids_BT)).double().log_softmax(-1)[0]
    reply_logprobs = [
        logprobs_TV[index - 1, id].item()
        for index, (id, is_reply) in enumerate(zip(rendered.ids, rendered.assistant_mask, strict=True))
        if is_reply
    ]
    expected = sum(reply_logprobs) / len(reply_logprobs)
    assert scores(bundled_model, conversation)["likelihood"] == pytest.approx(expected, abs=1e-3)


def test_a_reply_to_the_question_is_more_relevant_than_a_reply_to_another_one(bundled_model):
    right = scores(bundled_model, dialogue("I want to cancel my order", SUPPORT))
    wrong = scores(bundled_model, dialogue("Tell me a joke, please.", SUPPORT))
    assert right["relevance"] > wrong["relevance"] + 0.1
    assert right["likelihood"] > wrong["likelihood"]


def test_relevance_of_a_reply_to_an_empty_message_is_zero(bundled_model):
    """The chat template of the bundled model renders empty messages."""
    conversation = dialogue("", "Hello! How can I help you today?")
    assert scores(bundled_model, conversation)["relevance"] == pytest.approx(0, abs=1e-4)


def test_all_replies_are_scored_and_no_user_message_is(bundled_model):
    likelihood = scores(bundled_model, dialogue("hello", "Hello!"))["likelihood"]
    with_question = dialogue("hello", "Hello!", "zxq vbn wrt")
    assert scores(bundled_model, with_question)["likelihood"] == pytest.approx(likelihood, abs=1e-3)
    with_unlikely_reply = dialogue("hello", "Hello!", "zxq vbn wrt", "qua qua zub")
    assert scores(bundled_model, with_unlikely_reply)["likelihood"] < likelihood


def test_replies_beyond_the_context_are_not_scored(bundled_model):
    short = ["hello", "Hello! How can I help you today?"]
    long_text = "word " * bundled_model.context_length
    likelihood = scores(bundled_model, dialogue(*short))["likelihood"]
    long_dialogue = dialogue(*short, long_text, "I see.")
    assert scores(bundled_model, long_dialogue)["likelihood"] == pytest.approx(likelihood, abs=1e-3)
    assert set(scores(bundled_model, dialogue(long_text, "I see."))) == {"novelty"}


def test_a_dialogue_without_a_reply_has_only_novelty(bundled_model):
    assert scores(bundled_model, dialogue("hello")) == {"novelty": 1.0}


def test_a_dialogue_that_the_template_rejects_has_only_novelty(bundled_model):
    renderer = replace(bundled_model.renderer, chat_template="{{ raise_exception('roles must alternate') }}")
    assert scores(replace(bundled_model, renderer=renderer), dialogue("hello", "Hello!")) == {"novelty": 1.0}


def test_novelty_is_the_fraction_of_new_word_trigrams():
    assert novelty(dialogue("hi", "yes")) == 1
    assert novelty(dialogue("a b c d", "A b c. x")) == pytest.approx(3 / 4)
    assert novelty(dialogue("go go go go go", "no")) == pytest.approx(1 / 3)
    assert novelty(dialogue("我想取消订单", "我想取消订单")) == pytest.approx(1 / 2)


def test_novelty_ignores_the_system_message():
    assert novelty(dialogue("a b c", "d e f", system="a b c a b c")) == 1


def test_scores_are_added_to_the_metadata_and_documents_are_unchanged(bundled_model):
    items = [dialogue("hello", "Hello!", topic="greeting"), Document("a text"), dialogue("bye", "Goodbye!")]
    first, document, last = iterate_sync(DialogueScorer(bundled_model).score_all(items, max_in_flight=2))
    assert first.meta["topic"] == "greeting"
    assert first.meta[SCORER_KEY] == "turnwise-box"
    assert set(first.meta[SCORES_KEY]) == {"likelihood", "relevance", "novelty"}
    assert all(math.isfinite(value) for value in last.meta[SCORES_KEY].values())
    assert document == items[1]
    assert first.messages == items[0].messages
