"""A dialogue longer than a row is shortened as in serving: whole exchanges go, every reply is learned once."""

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
    """What is read, and what is learned from it."""
    learned = example.targets[example.target_mask].tolist()
    return tokenizer.decode(example.ids, skip_special_tokens=False), tokenizer.decode(
        learned, skip_special_tokens=False
    )


@settings(max_examples=60, deadline=None)
@given(
    exchanges=st.lists(st.tuples(texts, texts), min_size=1, max_size=8),
    system=st.booleans(),
    length=st.integers(24, 120),
)
def test_every_reply_is_learned_once_after_its_question(tokenizer, exchanges, system, length):
    dialogue = talk([text for pair in exchanges for text in pair], system)
    renderer = Renderer.from_tokenizer(tokenizer)
    found, lost = examples(dialogue, length, tokenizer)
    learned = 0
    for example in found:
        assert example.size <= length
        starts = np.flatnonzero(example.target_mask & ~np.append(False, example.target_mask[:-1]))
        learned += len(starts)
        kept = [messages for messages in _suffixes(dialogue) if _is_prefix(renderer, messages, example)]
        assert kept  # the system message, and then whole exchanges, as serving shortens
    assert learned == len(exchanges) - lost.left_out_replies
    assert sum(example.units for example in found) == learned
    longest = len(renderer.render(dialogue.messages).ids)
    assert lost.dialogues == (longest > length)
    if longest <= length:
        assert len(found) == 1


def _suffixes(dialogue):
    """The dialogue without its oldest exchanges, none of them, one, and so on."""
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
    found, lost = examples(dialogue, 64, tokenizer)
    assert not found
    assert lost == TruncationReport(dialogues=1, left_out_replies=1, tokens=lost.tokens)
    assert lost.tokens > 1
    assert "1 reply left out" in " ".join(lost.sentences(64))


def test_a_reply_that_is_too_long_loses_its_end(tokenizer):
    found, lost = examples(talk(["Tell me.", "word " * 100]), 64, tokenizer)
    (example,) = found
    read, learned = shown(example, tokenizer)
    assert read.startswith("<|system|>Answer in French only.<|end|><|user|>Tell me.<|end|><|assistant|>word")
    assert learned.startswith("word word")
    assert "<|end|>" not in learned  # where it was cut it does not end
    assert (lost.cut_replies, lost.left_out_replies) == (1, 0)
    assert lost.tokens + int(example.target_mask.sum()) == 1 + len(tokenizer.encode("word " * 100))


@pytest.mark.parametrize("objective", ["dpo", "kto", "seq2seq"])
def test_other_objectives_keep_the_question_too(tokenizer, objective):
    long = talk([text for number in range(12) for text in (f"Question {number}?", f"Answer {number}.")])
    long = replace(long, rating=True, rejected=(*long.messages[:-1], Message("assistant", "Bad.")))
    found, lost = examples(long, 96, tokenizer, objective)
    assert lost.dialogues
    last = found[-1]
    sizes = np.cumsum([0, *last.segment_lengths]) if last.segment_lengths else [0, last.size]
    reads = [tokenizer.decode(last.ids[a:b].tolist(), skip_special_tokens=False) for a, b in pairwise(sizes)]
    if last.source is not None:
        reads = [tokenizer.decode(last.source.tolist(), skip_special_tokens=False)]
    for read in reads:
        assert read.startswith("<|system|>Answer in French only.<|end|><|user|>Question ")
        assert "Question 11?<|end|><|assistant|>" in read


class TestRowLength:
    @pytest.fixture
    def settled(self, values, tokenizer):
        from turnwise.training.recipe import parse_recipe

        def make(path, **training):
            said = {**values, "data": {"train": str(path)}, "training": training}
            recipe = parse_recipe(said, origin="test")
            base = load_base_model(recipe)
            return with_max_seq_len(recipe, base.renderer, base.model).training

        return make

    def test_it_follows_the_models_context(self, settled, chats):
        assert settled(chats).max_seq_len == 128

    def test_it_follows_the_dialogues(self, settled, tmp_path, monkeypatch):
        from turnwise.training.launch import auto_seq_len as row_length

        monkeypatch.setattr(row_length, "DEFAULT_MAX_SEQ_LEN", 32)
        short = write_chats(tmp_path / "short.jsonl", [["Where is it?", "Here."]] * 8)
        long = write_chats(tmp_path / "long.jsonl", [[f"{text} " * 2 for text in talk] for talk in small_talk(8)])
        assert settled(short).max_seq_len == 64
        found = settled(long)
        assert (found.max_seq_len, found.batch_size, found.micro_batch_size) == (128, 2, 2)  # as many tokens as ever

    def test_what_the_recipe_says_stays(self, settled, chats):
        found = settled(chats, max_seq_len=40, batch_size=3)
        assert (found.max_seq_len, found.batch_size, found.micro_batch_size) == (40, 3, 8)
        with pytest.raises(InvalidParameter, match="the model's context is 128"):
            settled(chats, max_seq_len=129)


def test_what_is_shortened_is_said_before_the_run_and_in_its_result(values, tmp_path, undrawn):
    import torch

    from turnwise.training.recipe import parse_recipe

    path = write_chats(tmp_path / "long.jsonl", [[text for talk in small_talk(12) for text in talk]] * 2)
    recipe = parse_recipe({**values, "data": {"train": str(path), "valid_fraction": 0}}, origin="test")
    hook = RecordingHook()
    dry_run(recipe, hooks=[hook], device=torch.device("cpu"))
    run_recipe(recipe, hooks=[hook], device=torch.device("cpu"))
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert [data.truncation.dialogues for data in hook.data] == [2, 2]
    assert "2 dialogues longer than a row of 64 tokens" in hook.data[0].truncation.sentences(64)[0]
    assert result["truncation"]["dialogues"] == 2
    assert result["max_seq_len"] == 64
