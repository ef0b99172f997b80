"""Discriminators score replies in evaluation and in serving as they did in training."""

import asyncio

import pytest
import torch

from annotated_data import write_encoder
from discriminator_samples import make_adapter, make_copy, make_encoder
from turnwise.app.discriminators import DiscriminatorRanker, open_discriminator, open_ranker
from turnwise.core.errors import UserError
from turnwise.core.messages import Message
from turnwise.core.reply_scoring import ScoredReply
from turnwise.models.classifier_config import ClassifierConfig
from turnwise.models.discriminator_folder import check_discriminator
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.bpe_training import train_bpe
from turnwise.training.rollouts.discriminator import RepliedPrompt

HISTORIES = [
    (Message("user", "Hello, the lamp is broken"),),
    (Message("user", "How do I reset it?"), Message("assistant", "Press the button. " * 30), Message("user", "Then?")),
]
REPLIES = ["hello world", "The lamp is broken again, and I'd like a new one.", "", "  how do i reset\n", "is it? " * 60]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=["copy", "adapter", "encoder", "encoder without end tokens"])
def trained(request, tiny_model, tokenizer, make_bert_folder, model_folder, tmp_path):
    """A discriminator as the training holds it."""
    if request.param == "adapter":
        return make_adapter(model_folder, tokenizer)
    if request.param == "copy":
        return make_copy(tiny_model, tokenizer)
    if request.param == "encoder":
        return make_encoder(make_bert_folder(), tokenizer)
    folder = write_encoder(tmp_path / "encoder", tokenizer, num_heads=3)  # the compiled library computes it
    return make_encoder(folder, tokenizer)


@pytest.fixture
def saved(trained, tmp_path):
    """Its folder, in a model folder."""
    trained.save(tmp_path / "model" / "discriminator")
    return tmp_path / "model" / "discriminator"


def training_scores(discriminator, tokenizer, history, replies):
    prompt_ids = Renderer.from_tokenizer(tokenizer).render(history, add_generation_prompt=True).ids
    prompt = tokenizer.decode(prompt_ids)
    return discriminator.scores([RepliedPrompt(prompt_ids, tokenizer.encode(r), prompt, r) for r in replies]).tolist()


@pytest.mark.parametrize("history", HISTORIES, ids=["short", "long"])
def test_the_score_of_a_saved_discriminator_is_that_of_training(trained, saved, tokenizer, history):
    expected = training_scores(trained, tokenizer, history, REPLIES)
    assert torch.tensor(expected).std() > 0.05
    opened = open_discriminator(saved)
    assert opened.score([ScoredReply(history, reply) for reply in REPLIES]) == pytest.approx(expected, abs=1e-4)
    prompt_ids = Renderer.from_tokenizer(tokenizer).render(history, add_generation_prompt=True).ids
    ranked = asyncio.run(DiscriminatorRanker(opened).score(prompt_ids, REPLIES, tenant="me"))
    assert ranked == pytest.approx(expected, abs=1e-4)


def test_histories_of_several_conversations_are_scored_in_order(trained, saved, tokenizer):
    replies = [ScoredReply(history, reply) for reply in REPLIES[:2] for history in HISTORIES]
    opened = open_discriminator(saved)
    assert opened.score(replies) == pytest.approx([opened.score([reply])[0] for reply in replies], abs=1e-5)


def test_the_score_depends_on_the_text_and_not_on_the_sampled_tokens(trained, tokenizer):
    text = "hello world"
    characters = [id for character in text for id in tokenizer.encode(character)]
    assert tokenizer.decode(characters) == text
    assert characters != tokenizer.encode(text)
    prompt_ids = tokenizer.encode("the lamp is broken")
    replies = [RepliedPrompt(prompt_ids, ids, "", text) for ids in (characters, tokenizer.encode(text))]
    scores = trained.scores(replies).tolist()
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def test_a_folder_without_a_discriminator_is_refused(model_folder, tmp_path):
    with pytest.raises(UserError, match="has no discriminator, which ranks the choices of 'best_of'"):
        open_ranker(model_folder, None)
    with pytest.raises(UserError, match="holds no discriminator"):
        open_discriminator(model_folder)
    ClassifierConfig("sequence_classification", ("good", "bad")).save(tmp_path)
    with pytest.raises(UserError, match="its only label must be 'human'"):
        check_discriminator(tmp_path)


def test_the_discriminator_of_a_model_with_another_vocabulary_is_refused(tiny_model, tokenizer, tmp_path, corpus):
    make_copy(tiny_model, tokenizer).save(tmp_path / "discriminator")
    assert open_ranker(tmp_path, tokenizer)
    with pytest.raises(UserError, match="another vocabulary"):
        open_ranker(tmp_path, train_bpe(corpus, vocab_size=400))
