"""Scores: what they are, that context counts, and that only the replies are judged."""

import asyncio
import math
from dataclasses import replace

import pytest
import torch

from turnwise.core.messages import Conversation, Message
from turnwise.data.rows import Document
from turnwise.synthesis.dialogue_scorer import JUDGE, SCORES, DialogueScorer, novelty
from turnwise.synthesis.ordered_tasks import iterate_sync

pytestmark = pytest.mark.usefixtures("one_thread")
SUPPORT = "I understand that you want to cancel an order. To assist you, please follow these simple steps:"


def dialogue(*turns, system=None, **meta):
    said = [Message("assistant" if place % 2 else "user", text) for place, text in enumerate(turns)]
    return Conversation(((Message("system", system),) if system else ()) + tuple(said), meta)


def scores(box, conversation):
    return asyncio.run(DialogueScorer(box).scores(conversation))


def test_likelihood_is_the_mean_over_the_tokens_of_the_replies(box):
    """Against the model's own forward pass over the whole dialogue."""
    from turnwise.app.model_names import resolve_model_folder
    from turnwise.models import checkpoint

    made = dialogue("hello", "Hello! How can I help?", "tell me a joke", "I know none.", system="You are Turnwise.")
    rendered = box.renderer.render(made.messages)
    decoder = checkpoint.load(resolve_model_folder(None), dtype=torch.float32).decoder
    ids = torch.tensor([rendered.ids])
    with torch.inference_mode():
        logprobs = decoder.logits(decoder(ids)).double().log_softmax(-1)[0]
    told = [
        logprobs[at - 1, id].item()
        for at, (id, said) in enumerate(zip(rendered.ids, rendered.loss_mask, strict=True))
        if said
    ]
    assert scores(box, made)["likelihood"] == pytest.approx(sum(told) / len(told), abs=1e-3)


def test_a_reply_to_what_was_asked_is_more_relevant_than_one_to_something_else(box):
    right = scores(box, dialogue("I want to cancel my order", SUPPORT))
    wrong = scores(box, dialogue("Tell me a joke, please.", SUPPORT))
    assert right["relevance"] > wrong["relevance"] + 0.1
    assert right["likelihood"] > wrong["likelihood"]


def test_relevance_is_what_the_talk_adds_to_an_empty_turn(box):
    """A reply to nothing has exactly none; the template of the model in the box can write an empty turn."""
    assert scores(box, dialogue("", "Hello! How can I help you today?"))["relevance"] == pytest.approx(0, abs=1e-4)


def test_all_replies_count_and_no_user_turn_does(box):
    one, two = dialogue("hello", "Hello!"), dialogue("hello", "Hello!", "zxq vbn wrt")
    assert scores(box, one)["likelihood"] == pytest.approx(scores(box, two)["likelihood"], abs=1e-3)
    three = dialogue("hello", "Hello!", "zxq vbn wrt", "qua qua zub")
    assert scores(box, three)["likelihood"] < scores(box, one)["likelihood"]


def test_replies_beyond_the_context_are_left_out_and_the_rest_is_judged(box):
    short = ["hello", "Hello! How can I help you today?"]
    long = dialogue(*short, "word " * box.context_length, "I see.")
    assert scores(box, long)["likelihood"] == pytest.approx(scores(box, dialogue(*short))["likelihood"], abs=1e-3)
    assert set(scores(box, dialogue("word " * box.context_length, "I see."))) == {"novelty"}


def test_a_dialogue_without_a_reply_has_none_of_its_scores(box):
    assert scores(box, dialogue("hello")) == {"novelty": 1.0}


def test_a_dialogue_that_the_template_refuses_has_none_either(box):
    strict = replace(box, renderer=replace(box.renderer, chat_template="{{ raise_exception('roles must alternate') }}"))
    assert scores(strict, dialogue("hello", "Hello!")) == {"novelty": 1.0}


def test_novelty_is_the_share_of_new_runs_of_three_words():
    assert novelty(dialogue("hi", "yes")) == 1
    assert novelty(dialogue("a b c d", "A b c. x")) == pytest.approx(3 / 4)
    assert novelty(dialogue("go go go go go", "no")) == pytest.approx(1 / 3)
    assert novelty(dialogue("我想取消订单", "我想取消订单")) == pytest.approx(1 / 2)


def test_the_system_prompt_is_no_turn():
    assert novelty(dialogue("a b c", "d e f", system="a b c a b c")) == 1


def test_scores_go_beside_what_is_known_and_documents_pass(box):
    items = [dialogue("hello", "Hello!", topic="greeting"), Document("a text"), dialogue("bye", "Goodbye!")]
    first, text, last = iterate_sync(DialogueScorer(box).score_all(items, at_once=2))
    assert first.meta["topic"] == "greeting"
    assert first.meta[JUDGE] == "turnwise-box"
    assert set(first.meta[SCORES]) == {"likelihood", "relevance", "novelty"}
    assert all(math.isfinite(value) for value in last.meta[SCORES].values())
    assert text == items[1]
    assert first.messages == items[0].messages
