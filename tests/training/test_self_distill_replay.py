"""A run may mix in what its model would have said: in its own words, and as much of it as was asked for."""

import json
import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from hooks import KillingHook, RecordingHook
from method_runs import CPU, parameters
from training_dialogues import small_talk, write_chats

from turnwise.app.model_names import resolve_model_folder as bundled_model_folder
from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.core.messages import Conversation, Message
from turnwise.data.prompts import bundled_prompts
from turnwise.text.rendering.renderer import Renderer
from turnwise.training.examples.load_datasets import load_datasets
from turnwise.training.export import export_model
from turnwise.training.launch.base_model_loader import load_base_model
from turnwise.training.launch.reply_samples import generate_replies
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.launch.self_distill_replay import SelfDistillReplay, generate_replay
from turnwise.training.recipe import parse_recipe

pytestmark = pytest.mark.usefixtures("undrawn", "one_thread")


def unlearned(message):
    return replace(message, weight=0.0) if message.role == "assistant" else message


def of(data, **more):
    """A recipe from the model in the box, which ends its answers."""
    said = {
        "model": {"from": str(bundled_model_folder(None))},
        "data": data,
        "out": "none",
        "training": {"max_seq_len": 128},
    }
    return parse_recipe({**said, **more}, origin="test")


@pytest.fixture(scope="module")
def box():
    return load_base_model(of({"train": "none"}))


@pytest.fixture(scope="module")
def rehearsed(box):
    """Forty prompts and what the box says to them."""
    return list(SelfDistillReplay(of({"train": "none", "replay_ratio": 0.5}), box.model, box.renderer).dialogues(40))


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr("turnwise.training.launch.self_distill_replay.MIN_PROMPTS", 20)
    monkeypatch.setattr("turnwise.training.launch.self_distill_replay.TOKENS_PER_PROMPT", 1_000)


class TestAnswers:
    def test_are_the_models_own(self, box, rehearsed):
        """Half of them the likeliest ones, as they are told before and after a run."""
        learned = {talk.messages[:-1]: talk.messages[-1].content for talk in rehearsed}
        asked = [Conversation((*prompt, Message("assistant", ""))) for prompt in islice(bundled_prompts(0), 40)]
        found = 0
        for talk, text in zip(asked, generate_replies(box.model, box.renderer, asked), strict=True):
            history = tuple(unlearned(message) for message in talk.messages[:-1])
            if history in learned:  # those without an end are not there
                found += learned[history].startswith(text)  # cut off after sixty tokens
        assert 10 < found <= len(rehearsed)

    def test_are_the_same_again(self, box, rehearsed):
        recipe = of({"train": "none", "replay_ratio": 0.5})
        again = list(SelfDistillReplay(recipe, box.model, box.renderer).dialogues(40))
        assert again == rehearsed

    def test_alone_are_learned(self, box, rehearsed):
        assert any(message.role == "assistant" for talk in rehearsed for message in talk.messages[:-1])
        for talk in rehearsed:
            assert talk.messages[-1].weight == 1
            assert all(message.weight == 0 for message in talk.messages[:-1] if message.role == "assistant")

    def test_that_have_no_end_are_left_out(self, untrained, tokenizer):
        """A model of random weights never ends one, and there is nothing to learn from it."""
        recipe = of({"train": "none", "replay_ratio": 0.5}, training={"max_seq_len": 64})
        with pytest.raises(InvalidData, match="completed no reply to any of the prompts"):
            list(SelfDistillReplay(recipe, untrained, Renderer.from_tokenizer(tokenizer)).dialogues(10))

    def test_how_far_it_is_is_told(self, box):
        told = []
        recipe = of({"train": "none", "replay_ratio": 0.5})
        rehearsal = SelfDistillReplay(recipe, box.model, box.renderer, lambda *found: told.append(found))
        list(rehearsal.dialogues(6))
        assert told == [(done, 6) for done in range(1, 7)]

    def test_to_prompts_of_ones_own(self, box, tmp_path):
        said = [[f"Say {word}.", "No."] for word in ("one", "two", "three", "four")]
        path = write_chats(tmp_path / "prompts.jsonl", said)
        recipe = of({"train": "none", "replay_ratio": 0.5, "replay_prompts": str(path)})
        found = list(SelfDistillReplay(recipe, box.model, box.renderer).dialogues(40))
        assert 0 < len(found) <= 4
        assert {talk.messages[0].content for talk in found} <= {texts[0] for texts in said}

    def test_that_the_template_refuses_are_left_out(self, box, rehearsed, tmp_path):
        """What a model says may be what its own template does not take: the rest is learned."""
        picky = "{% if messages[-1].content == 'Zebra' %}{{ raise_exception('No zebras.') }}{% endif %}"
        renderer = replace(box.renderer, chat_template=picky + box.renderer.chat_template)
        recipe = of({"train": str(write_chats(tmp_path / "a.jsonl", small_talk(40))), "replay_ratio": 0.5})
        zebra = Conversation((Message("user", "Who?"), Message("assistant", "Zebra")))
        data = load_datasets(recipe, renderer, box.model, rehearses=lambda _: [zebra, *rehearsed[:4]])
        assert data.num_replayed == 4

    @pytest.mark.parametrize("method", ["full", {"name": "lora", "rank": 2}])
    def test_are_those_of_the_base_whatever_is_added_to_it(self, method, box, few):
        recipe = of({"train": "none", "replay_ratio": 0.5}, method=method)
        base = recipe.method.prepare(load_base_model(recipe), 0)
        with torch.no_grad():
            for name, parameter in base.model.module.named_parameters():
                if "lora_B" in name:
                    parameter.fill_(0.5)
        found = list(generate_replay(recipe, base, 0.0))
        assert found == list(SelfDistillReplay(recipe, box.model, box.renderer).dialogues(20))


class TestShares:
    @pytest.fixture
    def load(self, box, rehearsed, tmp_path):
        def make(data, given=lambda tokens: None, **training):
            recipe = of({**data, "valid_fraction": 0.2}, training={"max_seq_len": 128, **training})

            def generate_replay(tokens):
                given(tokens)
                return rehearsed

            return load_datasets(recipe, box.renderer, box.model, generate_replay=generate_replay)

        return make

    @pytest.fixture
    def chats(self, tmp_path):
        return write_chats(tmp_path / "a.jsonl", small_talk(60))

    @pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
    def test_of_the_tokens_of_an_epoch(self, load, chats, share):
        data = load({"train": [{"path": str(chats), "repeat": 2}], "replay_ratio": share})
        lengths = torch.tensor([length for shard in data.train.shards for length in shard.lengths.tolist()])
        own = len(data.train) - data.num_replayed
        shown = torch.cat([torch.from_numpy(data.train.epoch_indices(epoch)) for epoch in range(8)])
        answered = lengths[shown[shown >= own]].sum() / lengths[shown].sum()
        assert answered == pytest.approx(share, abs=0.02)

    def test_beside_sources_with_weights(self, load, chats, tmp_path):
        other = write_chats(tmp_path / "b.jsonl", small_talk(200)[100:])
        sources = [{"path": str(chats), "weight": 1}, {"path": str(other), "weight": 1}]
        data = load({"train": sources, "replay_ratio": 0.5})
        per_epoch = [shard.tokens * times for shard, times in zip(data.train.shards, data.train.repeats, strict=True)]
        assert per_epoch[0] == pytest.approx(per_epoch[1])
        assert per_epoch[2] == pytest.approx(per_epoch[0] + per_epoch[1])

    def test_as_many_tokens_are_asked_for_as_the_run_learns(self, load, chats):
        told = []
        data = load({"train": str(chats), "replay_ratio": 0.5}, told.append, epochs=4)
        own = sum(shard.tokens for shard in data.train.shards[:-1])
        load({"train": str(chats), "replay_ratio": 0.5}, told.append, max_steps=10, batch_size=4)
        assert told == [4 * own, 0.5 * 10 * 4 * 128]

    def test_nothing_is_validated_on_them(self, load, chats):
        plain, mixed = load({"train": str(chats)}), load({"train": str(chats), "replay_ratio": 0.5})
        assert plain.num_replayed == 0
        assert mixed.num_replayed == mixed.train.shards[-1].lengths.size > 0
        assert mixed.valid.tokens == plain.valid.tokens
        assert mixed.sample_dialogues == plain.sample_dialogues

    def test_without_a_share_nobody_is_asked(self, load, chats):
        load({"train": str(chats)}, lambda _: pytest.fail("asked"))


class TestRuns:
    @pytest.fixture
    def said(self, tmp_path):
        chats = write_chats(tmp_path / "a.jsonl", small_talk(40))
        return of(
            {"train": str(chats), "replay_ratio": 0.5},
            out=str(tmp_path / "out"),
            training={"max_seq_len": 128, "batch_size": 2, "max_steps": 2, "save_steps": 1, "eval_steps": 1},
        )

    def test_go_on_with_the_answers_that_there_are_to_the_same_weights(self, said, few, monkeypatch, tmp_path):
        whole = said.model_copy(update={"out": str(tmp_path / "whole")})
        run_recipe(whole, device=CPU)
        hook = RecordingHook()
        with pytest.raises(RuntimeError, match="killed"):
            run_recipe(said, device=CPU, hooks=[hook, KillingHook(at=2)])
        assert len(hook.replay) == 20
        monkeypatch.setattr(
            "turnwise.training.launch.self_distill_replay.build_engine", lambda *_: pytest.fail("asked again")
        )
        result = run_recipe(said, device=CPU)
        assert result.steps == 2
        expected, found = parameters(Path(whole.out)), parameters(Path(said.out))
        assert all(torch.equal(expected[name], found[name]) for name in expected)

    def test_ask_again_where_the_base_is_another_one(self, said, few, tmp_path):
        """It answers otherwise then, under the same name: killed before its first checkpoint, a run begins anew."""
        base = tmp_path / "base"
        shutil.copytree(bundled_model_folder(None), base)
        recipe = said.model_copy(update={"model": said.model.model_copy(update={"source": str(base)})})
        hook = RecordingHook()

        def killed():
            with pytest.raises(RuntimeError, match="killed"):
                run_recipe(recipe, device=CPU, hooks=[hook, KillingHook(at=1)])
            return len(hook.replay)

        assert killed() == 20
        assert killed() == 20
        model = load_base_model(recipe).model
        with torch.no_grad():
            next(model.module.parameters()).mul_(1.001)
        export_model(base, model, load_base_model(recipe).tokenizer)
        assert killed() == 40

    def test_are_told_what_they_rehearse(self, said, few):
        hook = RecordingHook()
        run_recipe(said, device=CPU, hooks=[hook])
        (data,) = hook.data
        assert 0 < data.num_replayed <= 20
        assert len(data.train) > data.num_replayed
        card = json.loads((Path(said.out) / "result.json").read_text())
        assert card["steps"] == 2


@pytest.mark.parametrize(
    ("data", "more", "told"),
    [
        ({"replay_ratio": 0.95}, {}, "less than or equal to 0.9"),
        ({"replay_prompts": "mine.jsonl"}, {}, "'replay_ratio' is 0"),
        ({"replay_ratio": 0.5, "replay_prompts": [{"path": "p", "repeat": 2}]}, {}, "uses every replay prompt once"),
        (
            {"replay_ratio": 0.5},
            {"objective": "clm"},
            "^test: 'data.replay_ratio' adds dialogues, which only the objective 'sft' trains on",
        ),
        (
            {"replay_ratio": 0.5},
            {"model": {"new": {"hidden_size": 32, "num_layers": 1, "num_heads": 2}, "tokenizer": "t"}},
            "a new model has none",
        ),
    ],
)
def test_what_cannot_be_rehearsed_is_refused(data, more, told):
    with pytest.raises(InvalidParameter, match=told):
        of({"train": "none", **data}, **more)


def test_a_prompt_learns_nothing_to_forget_for(tmp_path):
    chats = write_chats(tmp_path / "a.jsonl", small_talk(40))
    recipe = of({"train": str(chats), "replay_ratio": 0.5}, method="prompt", out=str(tmp_path / "out"))
    with pytest.raises(InvalidParameter, match=r"does not use 'data\.replay_ratio'"):
        run_recipe(recipe, device=CPU)


def test_prompts_without_a_question_are_named(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"messages": [{"role": "assistant", "content": "Hello."}]}\n')
    recipe = of({"train": "none", "replay_ratio": 0.5, "replay_prompts": str(path)})
    with pytest.raises(InvalidData, match="none has a user turn that fits"):
        list(generate_replay(recipe, load_base_model(recipe), 1_000.0))
