"""Self-distillation replay: replies of the base model as training data."""

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
from turnwise.training.launch.self_distill_replay import ReplayTeacher, SelfDistillReplay
from turnwise.training.recipe import parse_recipe

pytestmark = pytest.mark.usefixtures("no_loss_plot", "one_thread")


def unlearned(message):
    return replace(message, weight=0.0) if message.role == "assistant" else message


class ScriptedTeacher:
    """Has prepared dialogues, and labels nothing."""

    def __init__(self, dialogues, on_request=lambda tokens: None):
        self._dialogues, self._on_request = dialogues, on_request

    def dialogues(self, tokens):
        self._on_request(tokens)
        return self._dialogues

    def label(self, examples):
        return examples


def make_recipe(data, **more):
    """A recipe with the bundled model, whose replies end."""
    recipe_values = {
        "model": {"from": str(bundled_model_folder(None))},
        "data": data,
        "out": "none",
        "training": {"max_seq_len": 128},
    }
    return parse_recipe({**recipe_values, **more}, origin="test")


@pytest.fixture(scope="module")
def box():
    return load_base_model(make_recipe({"train": "none"}))


@pytest.fixture(scope="module")
def replay_dialogues(box):
    """Forty prompts with the bundled model's replies."""
    return list(
        SelfDistillReplay(make_recipe({"train": "none", "replay_ratio": 0.5}), box.model, box.renderer).dialogues(40)
    )


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr("turnwise.training.launch.self_distill_replay.MIN_PROMPTS", 20)
    monkeypatch.setattr("turnwise.training.launch.self_distill_replay.TOKENS_PER_PROMPT", 1_000)


class TestReplies:
    @pytest.mark.costly
    def test_replies_are_the_models_own(self, box, replay_dialogues):
        """Half of them are greedy, like the samples of a run."""
        learned = {talk.messages[:-1]: talk.messages[-1].content for talk in replay_dialogues}
        placeholder = Message("assistant", "Any reply.")
        prompts = [Conversation((*prompt, placeholder)) for prompt in islice(bundled_prompts(0), 40)]
        num_equal = 0
        for talk, text in zip(prompts, generate_replies(box.model, box.renderer, prompts), strict=True):
            history = tuple(unlearned(message) for message in talk.messages[:-1])
            if history in learned:  # replies without an end were dropped
                num_equal += learned[history].startswith(text)  # cut off after sixty tokens
        assert 10 < num_equal <= len(replay_dialogues)

    @pytest.mark.costly
    def test_replies_are_reproducible(self, box, replay_dialogues):
        recipe = make_recipe({"train": "none", "replay_ratio": 0.5})
        again = list(SelfDistillReplay(recipe, box.model, box.renderer).dialogues(40))
        assert again == replay_dialogues

    @pytest.mark.costly
    def test_only_generated_replies_are_targets(self, box, replay_dialogues):
        assert any(message.role == "assistant" for talk in replay_dialogues for message in talk.messages[:-1])
        for talk in replay_dialogues:
            assert talk.messages[-1].weight == 1
            assert all(message.weight == 0 for message in talk.messages[:-1] if message.role == "assistant")

    @pytest.mark.costly
    def test_replies_without_an_end_are_dropped(self, untrained, tokenizer):
        """A model with random weights never ends a reply."""
        recipe = make_recipe({"train": "none", "replay_ratio": 0.5}, training={"max_seq_len": 64})
        with pytest.raises(InvalidData, match="The base model finished no replay reply"):
            list(SelfDistillReplay(recipe, untrained, Renderer.from_tokenizer(tokenizer)).dialogues(10))

    @pytest.mark.costly
    def test_progress_is_reported(self, box):
        hook = RecordingHook()
        recipe = make_recipe({"train": "none", "replay_ratio": 0.5})
        list(SelfDistillReplay(recipe, box.model, box.renderer, [hook]).dialogues(6))
        assert hook.replay == [(count, 6) for count in range(1, 7)]

    def test_replay_prompts_replace_the_bundled_prompts(self, box, tmp_path):
        prompt_texts = [[f"Say {word}.", "No."] for word in ("one", "two", "three", "four")]
        path = write_chats(tmp_path / "prompts.jsonl", prompt_texts)
        recipe = make_recipe({"train": "none", "replay_ratio": 0.5, "replay_prompts": str(path)})
        dialogues = list(SelfDistillReplay(recipe, box.model, box.renderer).dialogues(40))
        assert 0 < len(dialogues) <= 4
        assert {talk.messages[0].content for talk in dialogues} <= {texts[0] for texts in prompt_texts}

    def test_prompts_that_the_template_rejects_are_dropped(self, box, replay_dialogues, tmp_path):
        """A reply may contain what the template rejects; the other dialogues are used."""
        picky = "{% if messages[-1].content == 'Zebra' %}{{ raise_exception('No zebras.') }}{% endif %}"
        renderer = replace(box.renderer, chat_template=picky + box.renderer.chat_template)
        recipe = make_recipe({"train": str(write_chats(tmp_path / "a.jsonl", small_talk(40))), "replay_ratio": 0.5})
        zebra = Conversation((Message("user", "Who?"), Message("assistant", "Zebra")))
        data = load_datasets(recipe, renderer, box.model, teacher=ScriptedTeacher([zebra, *replay_dialogues[:4]]))
        assert data.num_replayed == 4

    @pytest.mark.costly
    @pytest.mark.parametrize("method", ["full", {"name": "lora", "rank": 2}])
    def test_replies_come_from_the_base_without_the_adapter(self, method, box, few):
        recipe = make_recipe({"train": "none", "replay_ratio": 0.5}, method=method)
        base = recipe.method.prepare(load_base_model(recipe), 0)
        with torch.no_grad():
            for name, parameter in base.model.module.named_parameters():
                if "lora_B" in name:
                    parameter.fill_(0.5)
        dialogues = list(ReplayTeacher(recipe, base).dialogues(0.0))
        assert dialogues == list(SelfDistillReplay(recipe, box.model, box.renderer).dialogues(20))

    @pytest.mark.costly
    def test_replies_come_from_the_adapter_whose_training_continues(self, few, tmp_path):
        first = make_recipe({"train": "none"}, method={"name": "lora", "rank": 2})
        bundle = first.method.prepare(load_base_model(first), 0)
        with torch.no_grad():
            for name, parameter in bundle.model.module.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.02)
        first.method.save(tmp_path / "adapter", bundle, {})
        recipe = make_recipe(
            {"train": "none", "replay_ratio": 0.5},
            method={"name": "lora", "rank": 2},
            model={"from": str(tmp_path / "adapter")},
        )
        base = recipe.method.prepare(load_base_model(recipe), 0)
        dialogues = list(ReplayTeacher(recipe, base).dialogues(0.0))
        merged = first.method.plain(bundle.model)
        assert dialogues == list(SelfDistillReplay(recipe, merged, bundle.renderer).dialogues(20))
        assert dialogues != list(SelfDistillReplay(recipe, load_base_model(first).model, bundle.renderer).dialogues(20))


class TestReplayRatio:
    @pytest.fixture
    def load(self, box, replay_dialogues, tmp_path):
        def make(data, on_request=lambda tokens: None, **training):
            recipe = make_recipe({**data, "valid_fraction": 0.2}, training={"max_seq_len": 128, **training})

            teacher = ScriptedTeacher(replay_dialogues, on_request)
            return load_datasets(recipe, box.renderer, box.model, teacher=teacher)

        return make

    @pytest.fixture
    def chats(self, tmp_path):
        return write_chats(tmp_path / "a.jsonl", small_talk(60))

    @pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
    def test_the_ratio_is_the_share_of_tokens_in_an_epoch(self, load, chats, share):
        data = load({"train": [{"path": str(chats), "repeat": 2}], "replay_ratio": share})
        lengths = torch.tensor([length for shard in data.train.shards for length in shard.lengths.tolist()])
        num_own = len(data.train) - data.num_replayed
        shown = torch.cat([torch.from_numpy(data.train.epoch_indices(epoch)) for epoch in range(8)])
        answered = lengths[shown[shown >= num_own]].sum() / lengths[shown].sum()
        assert answered == pytest.approx(share, abs=0.02)

    def test_the_ratio_holds_for_weighted_sources(self, load, chats, tmp_path):
        second_file = write_chats(tmp_path / "b.jsonl", small_talk(200)[100:])
        sources = [{"path": str(chats), "weight": 1}, {"path": str(second_file), "weight": 1}]
        data = load({"train": sources, "replay_ratio": 0.5})
        per_epoch = [shard.tokens * times for shard, times in zip(data.train.shards, data.train.repeats, strict=True)]
        assert per_epoch[0] == pytest.approx(per_epoch[1])
        assert per_epoch[2] == pytest.approx(per_epoch[0] + per_epoch[1])

    def test_the_number_of_requested_tokens_follows_the_length_of_the_run(self, load, chats):
        requested = []
        data = load({"train": str(chats), "replay_ratio": 0.5}, requested.append, epochs=4)
        num_own = sum(shard.tokens for shard in data.train.shards[:-1])
        load({"train": str(chats), "replay_ratio": 0.5}, requested.append, max_steps=10, batch_size=4)
        assert requested == [4 * num_own, 0.5 * 10 * 4 * 128]

    def test_replay_is_not_used_for_validation(self, load, chats):
        plain, mixed = load({"train": str(chats)}), load({"train": str(chats), "replay_ratio": 0.5})
        assert plain.num_replayed == 0
        assert mixed.num_replayed == mixed.train.shards[-1].lengths.size > 0
        assert mixed.valid.tokens == plain.valid.tokens
        assert mixed.sample_dialogues == plain.sample_dialogues

    def test_without_a_ratio_no_reply_is_generated(self, load, chats):
        load({"train": str(chats)}, lambda _: pytest.fail("asked"))


class TestReplayRuns:
    @pytest.fixture
    def replay_recipe(self, tmp_path):
        chats = write_chats(tmp_path / "a.jsonl", small_talk(40))
        return make_recipe(
            {"train": str(chats), "replay_ratio": 0.5},
            out=str(tmp_path / "out"),
            training={"max_seq_len": 128, "batch_size": 2, "max_steps": 2, "save_steps": 1, "eval_steps": 1},
        )

    @pytest.mark.costly
    def test_a_resumed_run_reuses_the_replies_and_has_the_same_weights(self, replay_recipe, few, monkeypatch, tmp_path):
        uninterrupted = replay_recipe.model_copy(update={"out": str(tmp_path / "whole")})
        run_recipe(uninterrupted, device=CPU)
        hook = RecordingHook()
        with pytest.raises(RuntimeError, match="killed"):
            run_recipe(replay_recipe, device=CPU, hooks=[hook, KillingHook(at=2)])
        assert len(hook.replay) == 20
        monkeypatch.setattr(
            "turnwise.training.launch.self_distill_replay.build_engine", lambda *_: pytest.fail("asked again")
        )
        result = run_recipe(replay_recipe, device=CPU)
        assert result.steps == 2
        expected, resumed = parameters(Path(uninterrupted.out)), parameters(Path(replay_recipe.out))
        assert all(torch.equal(expected[name], resumed[name]) for name in expected)

    @pytest.mark.costly
    def test_replies_are_generated_again_for_a_changed_base(self, replay_recipe, few, tmp_path):
        """The base has the same name and other weights; the run was killed before its first checkpoint."""
        base = tmp_path / "base"
        shutil.copytree(bundled_model_folder(None), base)
        recipe = replay_recipe.model_copy(
            update={"model": replay_recipe.model.model_copy(update={"source": str(base)})}
        )
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

    @pytest.mark.costly
    def test_hooks_receive_the_number_of_replayed_examples(self, replay_recipe, few):
        hook = RecordingHook()
        run_recipe(replay_recipe, device=CPU, hooks=[hook])
        (data,) = hook.data
        assert 0 < data.num_replayed <= 20
        assert len(data.train) > data.num_replayed
        card = json.loads((Path(replay_recipe.out) / "result.json").read_text())
        assert card["steps"] == 2


@pytest.mark.parametrize(
    ("data", "more", "message"),
    [
        ({"replay_ratio": 0.95}, {}, "less than or equal to 0.9"),
        ({"replay_prompts": "mine.jsonl"}, {}, "'replay_ratio' is 0"),
        ({"replay_targets": "distribution"}, {}, "has 'replay_targets', but 'replay_ratio' is 0"),
        ({"replay_ratio": 0.5, "replay_prompts": [{"path": "p", "repeat": 2}]}, {}, "of 'replay_prompts' once"),
        ({"replay_ratio": 0.5, "replay_replies": [{"path": "p", "weight": 2}]}, {}, "of 'replay_replies' once"),
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
def test_invalid_replay_settings_are_rejected(data, more, message):
    with pytest.raises(InvalidParameter, match=message):
        make_recipe({"train": "none", **data}, **more)


def test_the_method_prompt_rejects_replay(tmp_path):
    chats = write_chats(tmp_path / "a.jsonl", small_talk(40))
    recipe = make_recipe({"train": str(chats), "replay_ratio": 0.5}, method="prompt", out=str(tmp_path / "out"))
    with pytest.raises(InvalidParameter, match=r"does not use 'data\.replay_ratio'"):
        run_recipe(recipe, device=CPU)


def test_prompts_without_a_user_turn_are_rejected(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"messages": [{"role": "assistant", "content": "Hello."}]}\n')
    recipe = make_recipe({"train": "none", "replay_ratio": 0.5, "replay_prompts": str(path)})
    with pytest.raises(InvalidData, match="No replay prompt has a user turn that fits"):
        list(ReplayTeacher(recipe, load_base_model(recipe)).dialogues(1_000.0))
