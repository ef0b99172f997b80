"""Dialogues longer than the sequence length are truncated as in serving; every reply is a target once."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hooks import RecordingHook
from hypothesis import given, settings
from hypothesis import strategies as st
from training_dialogues import small_talk, write_chats

from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import Conversation, Message
from turnwise.text.rendering.renderer import Renderer
from turnwise.training.examples.dialogue_windows import TruncationReport
from turnwise.training.launch.auto_seq_len import with_max_seq_len
from turnwise.training.launch.base_model_loader import load_base_model
from turnwise.training.launch.dry_run import dry_run
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.objective import ExampleContext
from turnwise.training.objectives import OBJECTIVES

SYSTEM = Message("system", "Answer in French only.")
texts = st.text(st.sampled_from("ab .é好"), min_size=1, max_size=40).filter(str.strip)


def talk(exchanges, system=True):
    turns = [Message(("user", "assistant")[i % 2], text) for i, text in enumerate(exchanges)]
    return Conversation(((SYSTEM,) if system else ()) + tuple(turns))


def examples(dialogue, length, tokenizer, objective="sft"):
    frame = ExampleContext(Renderer.from_tokenizer(tokenizer), length, decoder_start_ids=(0,))
    return list(OBJECTIVES.parse_plugin(objective).examples(dialogue, frame)), frame.truncation


def shown(example, tokenizer):
    """The decoded text of an example and of its targets."""
    learned = example.targets[example.target_mask].tolist()
    return tokenizer.decode(example.ids, skip_special_tokens=False), tokenizer.decode(
        learned, skip_special_tokens=False
    )


@pytest.mark.costly
@settings(max_examples=60, deadline=None)
@given(
    exchanges=st.lists(st.tuples(texts, texts), min_size=1, max_size=8),
    system=st.booleans(),
    length=st.integers(24, 120),
)
def test_every_reply_is_a_target_once_after_its_question(tokenizer, exchanges, system, length):
    dialogue = talk([text for pair in exchanges for text in pair], system)
    renderer = Renderer.from_tokenizer(tokenizer)
    windows, lost = examples(dialogue, length, tokenizer)
    learned = 0
    for example in windows:
        assert example.size <= length
        starts = np.flatnonzero(example.target_mask & ~np.append(False, example.target_mask[:-1]))
        learned += len(starts)
        suffixes = [messages for messages in _suffixes(dialogue) if _is_prefix(renderer, messages, example)]
        assert suffixes  # the system message and complete exchanges, as in serving
    assert learned == len(exchanges) - lost.left_out_replies
    assert sum(example.units for example in windows) == learned
    longest = len(renderer.render(dialogue.messages).ids)
    assert lost.dialogues == (longest > length)
    if longest <= length:
        assert len(windows) == 1


def _suffixes(dialogue):
    """The dialogue without its 0, 1, 2 … oldest exchanges."""
    head = [m for m in dialogue.messages if m.role == "system"]
    turns = dialogue.messages[len(head) :]
    for first in range(0, len(turns), 2):
        for last in range(first + 2, len(turns) + 1, 2):
            yield [*head, *turns[first:last]]


def _is_prefix(renderer, messages, example):
    ids = renderer.render(messages).ids
    return len(ids) >= example.size and ids[: example.size] == example.ids.tolist()


def test_the_question_stays_before_its_answer(tokenizer):
    dialogue = talk(["word " * 100, "Word."], system=False)
    windows, lost = examples(dialogue, 64, tokenizer)
    assert not windows
    assert lost == TruncationReport(dialogues=1, left_out_replies=1, tokens=lost.tokens)
    assert lost.tokens > 1
    assert "1 reply left out" in " ".join(lost.sentences(64))


def test_a_reply_that_is_too_long_loses_its_end(tokenizer):
    windows, lost = examples(talk(["Tell me.", "word " * 100]), 64, tokenizer)
    (example,) = windows
    read, learned = shown(example, tokenizer)
    assert read.startswith("<|system|>Answer in French only.<|end|><|user|>Tell me.<|end|><|assistant|>word")
    assert learned.startswith("word word")
    assert "<|end|>" not in learned  # a cut reply has no end token
    assert (lost.cut_replies, lost.left_out_replies) == (1, 0)
    assert lost.tokens + int(example.target_mask.sum()) == 1 + len(tokenizer.encode("word " * 100))


@pytest.mark.parametrize("objective", ["dpo", "kto", "seq2seq"])
def test_all_dialogue_objectives_keep_the_question(tokenizer, objective):
    long = talk([text for number in range(12) for text in (f"Question {number}?", f"Answer {number}.")])
    long = replace(long, rating=True, rejected=(*long.messages[:-1], Message("assistant", "Bad.")))
    windows, lost = examples(long, 96, tokenizer, objective)
    assert lost.dialogues
    last = windows[-1]
    sizes = np.cumsum([0, *last.segment_lengths]) if last.segment_lengths else [0, last.size]
    reads = [tokenizer.decode(last.ids[a:b].tolist(), skip_special_tokens=False) for a, b in pairwise(sizes)]
    if last.encoder_ids is not None:
        reads = [tokenizer.decode(last.encoder_ids.tolist(), skip_special_tokens=False)]
    for read in reads:
        assert read.startswith("<|system|>Answer in French only.<|end|><|user|>Question ")
        assert "Question 11?<|end|><|assistant|>" in read


class TestMaxSeqLen:
    @pytest.fixture
    def resolved_settings(self, values, tokenizer):
        from turnwise.training.recipe import parse_recipe

        def make(path, **training):
            recipe_values = {**values, "data": {"train": str(path)}, "training": training}
            recipe = parse_recipe(recipe_values, origin="test")
            base = load_base_model(recipe)
            return with_max_seq_len(recipe, base.renderer, base.model).training

        return make

    def test_the_default_is_limited_by_the_models_context(self, resolved_settings, chats):
        assert resolved_settings(chats).max_seq_len == 128

    def test_the_default_covers_the_dialogues(self, resolved_settings, tmp_path, monkeypatch):
        from turnwise.training.launch import auto_seq_len

        monkeypatch.setattr(auto_seq_len, "DEFAULT_MAX_SEQ_LEN", 32)
        short = write_chats(tmp_path / "short.jsonl", [["Where is it?", "Here."]] * 8)
        long = write_chats(tmp_path / "long.jsonl", [[f"{text} " * 2 for text in talk] for talk in small_talk(8)])
        assert resolved_settings(short).max_seq_len == 64
        settings = resolved_settings(long)
        assert (settings.max_seq_len, settings.batch_size, settings.micro_batch_size) == (
            128,
            2,
            2,
        )  # the same number of tokens per step

    def test_values_in_the_recipe_stay(self, resolved_settings, chats):
        settings = resolved_settings(chats, max_seq_len=40, batch_size=3)
        assert (settings.max_seq_len, settings.batch_size, settings.micro_batch_size) == (40, 3, 8)
        with pytest.raises(InvalidParameter, match="the model's context is 128"):
            resolved_settings(chats, max_seq_len=129)


@pytest.mark.costly
def test_truncation_is_reported_before_the_run_and_in_its_result(values, tmp_path, no_loss_plot):
    import torch

    from turnwise.training.recipe import parse_recipe

    path = write_chats(tmp_path / "long.jsonl", [[text for talk in small_talk(12) for text in talk]] * 2)
    recipe = parse_recipe({**values, "data": {"train": str(path), "valid_fraction": 0}}, origin="test")
    hook = RecordingHook()
    dry_run(recipe, hooks=[hook], device=torch.device("cpu"))
    run_recipe(recipe, hooks=[hook], device=torch.device("cpu"))
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert [data.truncation.dialogues for data in hook.data] == [2, 2]
    assert "2 dialogues longer than 64 tokens" in hook.data[0].truncation.sentences(64)[0]
    assert result["truncation"]["dialogues"] == 2
    assert result["max_seq_len"] == 64
