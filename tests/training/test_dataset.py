"""From data files to examples: held-out split, repeats, limits and errors."""

import json
import re

import pytest
from hooks import RecordingHook
from training_dialogues import small_talk, write_chats

from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.text.rendering.renderer import Renderer
from turnwise.training.examples.dialogue_windows import TruncationReport
from turnwise.training.examples.holdout import held_out_dialogues
from turnwise.training.examples.load_datasets import load_datasets
from turnwise.training.launch.base_model_loader import load_base_model
from turnwise.training.recipe import parse_recipe


@pytest.fixture
def load(tokenizer, untrained):
    """`load(data section, …)`: the datasets of a recipe."""

    def make(data, *, kind="sft", **training):
        recipe_values = {"objective": kind, "model": {"from": "none"}, "data": data, "out": "none"}
        recipe = parse_recipe({**recipe_values, "training": {"max_seq_len": 128, **training}}, origin="test")
        return load_datasets(recipe, Renderer.from_tokenizer(tokenizer), untrained)

    return make


@pytest.fixture
def texts(tokenizer):
    """The texts of a dataset, in order."""
    return lambda dataset: [tokenizer.decode(dataset.example(i).ids.tolist()) for i in range(len(dataset))]


class TestHeldOutSplit:
    def test_unusable_dialogues_do_not_reduce_the_number_of_held_out_dialogues(self, tmp_path):
        path = str(write_chats(tmp_path / "a.jsonl", small_talk(40)))
        recipe = parse_recipe(
            {"model": {"from": "none"}, "data": {"train": path, "valid": path}, "out": "o"}, origin="t"
        )
        assert len(held_out_dialogues(recipe, 10)) == 10
        odd = held_out_dialogues(recipe, 10, lambda talk: len(talk.messages) > 2)
        assert len(odd) == 10
        assert all(len(talk.messages) == 4 for talk in odd)

    @pytest.mark.costly
    def test_a_fraction_is_held_out_and_no_dialogue_is_lost(self, load, texts, tmp_path):
        path = write_chats(tmp_path / "a.jsonl", small_talk(300))
        data = load({"train": str(path), "valid_fraction": 0.2})
        assert 35 < len(data.valid) < 85
        assert len(data.train) + len(data.valid) == 300
        assert not set(texts(data.train)) & set(texts(data.valid))

    def test_the_split_depends_on_content_so_a_conversation_stays_as_files_grow(self, load, texts, tmp_path):
        talks = small_talk(100)
        before = load({"train": str(write_chats(tmp_path / "a.jsonl", talks[:60]))})
        after = load({"train": str(write_chats(tmp_path / "b.jsonl", talks[::-1]))})
        assert set(texts(before.valid)) <= set(texts(after.valid))
        assert set(texts(before.train)) <= set(texts(after.train))

    def test_conversations_that_differ_in_punctuation_are_in_the_same_split(self, load, texts, tmp_path):
        talks = small_talk(60)
        varied = [[text.upper().replace("?", " ?!") for text in talk] for talk in talks]
        paths = [
            write_chats(tmp_path / f"{name}.jsonl", dialogues) for name, dialogues in (("a", talks), ("b", varied))
        ]
        data = load({"train": [str(path) for path in paths], "valid_fraction": 0.3})
        held_out = [text.casefold().replace(" ?!", "?") for text in texts(data.valid)]
        assert sorted(held_out) == sorted(held_out[: len(held_out) // 2] * 2)

    def test_another_seed_holds_out_other_conversations(self, load, texts, chats):
        assert texts(load({"train": str(chats)}, seed=1).valid) != texts(load({"train": str(chats)}, seed=2).valid)

    def test_with_validation_data_no_training_data_is_held_out(self, load, chats, valid_chats):
        data = load({"train": str(chats), "valid": str(valid_chats)})
        assert (len(data.train), len(data.valid)) == (40, 8)


class TestSources:
    def test_repeat_applies_to_training_only(self, load, chats):
        once = load({"train": str(chats)})
        thrice = load({"train": [{"path": str(chats), "repeat": 3}]})
        assert sorted(thrice.train.epoch_indices(0)) == sorted([*range(len(once.train))] * 3)
        assert len(thrice.valid) == len(once.valid)

    def test_max_items_uses_the_first_items(self, load, texts, chats):
        data = load({"train": [{"path": str(chats), "max_items": 5}], "valid_fraction": 0})
        assert [f"number {i}?" in text for i, text in enumerate(texts(data.train))] == [True] * 5

    def test_every_conversation_is_reported_once(self, load, chats, valid_chats, tokenizer, untrained):
        hook = RecordingHook()
        values = {
            "model": {"from": "none"},
            "data": {"train": str(chats), "test": str(valid_chats)},
            "training": {"max_seq_len": 128},
            "out": "none",
        }
        recipe = parse_recipe(values, origin="test")
        load_datasets(recipe, Renderer.from_tokenizer(tokenizer), untrained, hooks=[hook])
        assert hook.num_rows == 48

    def test_long_dialogues_are_split_into_windows(self, load, tmp_path):
        talk = [text for talk in small_talk(12) for text in talk]
        data = load({"train": str(write_chats(tmp_path / "a.jsonl", [talk])), "valid_fraction": 0}, max_seq_len=64)
        assert len(data.train) > 5
        assert 32 < max(data.train.shards[0].lengths) <= 64
        assert sum(data.train.example(i).units for i in range(len(data.train))) == 16  # every reply counts once
        assert data.truncation == TruncationReport(dialogues=1)

    def test_samples_are_held_out_dialogues_with_a_reply(self, load, chats, valid_chats):
        assert [
            talk.messages[0].content for talk in load({"train": str(chats), "valid": str(valid_chats)}).sample_dialogues
        ] == [talk[0] for talk in small_talk(48)[40:43]]
        only_test = load({"train": str(chats), "valid_fraction": 0, "test": str(valid_chats)})
        assert len(only_test.sample_dialogues) == 3


class TestFingerprint:
    def test_the_fingerprint_changes_only_with_the_data(self, load, chats, valid_chats):
        one = load({"train": str(chats)}).fingerprint
        assert load({"train": str(chats)}, batch_size=2).fingerprint == one
        assert load({"train": str(chats), "valid": str(valid_chats)}).fingerprint != one
        assert load({"train": [{"path": str(chats), "max_items": 39}]}).fingerprint != one
        assert load({"train": str(chats)}, kind="clm").fingerprint != one


def refused(load, path, *says, kind="sft", **data):
    with pytest.raises(InvalidData) as caught:
        load({"train": str(path), **data}, kind=kind)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    for words in says:
        assert words in message


class TestErrors:
    @pytest.mark.parametrize("text", ["", "\n\n"])
    def test_an_empty_file_is_rejected(self, load, tmp_path, text):
        path = tmp_path / "a.jsonl"
        path.write_text(text)
        with pytest.raises(InvalidData, match=re.escape(str(path))):
            load({"train": str(path)})

    def test_a_missing_file_is_rejected(self, load, tmp_path):
        refused(load, tmp_path / "none.jsonl", "There is no file or folder")

    def test_data_without_assistant_messages_is_rejected(self, load, tmp_path):
        path = write_chats(tmp_path / "a.jsonl", [["Hello"], ["Anybody?"]])
        refused(load, path, "has no training example", "no conversation with an assistant turn")

    def test_an_empty_training_split_is_rejected(self, load, tmp_path):
        path = write_chats(tmp_path / "a.jsonl", small_talk(1))
        refused(load, path, "held out for validation", "valid_fraction", valid_fraction=0.999999)

    def test_documents_for_sft_are_rejected_with_line_and_advice(self, load, tmp_path):
        path = tmp_path / "a.jsonl"
        path.write_text('{"text": "The tide comes in twice a day."}\n' * 2)
        refused(load, path, f"{path}, line 1: ", "needs dialogues", "'clm'")
        assert len(load({"train": str(path), "valid_fraction": 0}, kind="clm").train) == 2

    def test_documents_among_dialogues_can_be_skipped_and_are_counted(self, load, tmp_path):
        path = write_chats(tmp_path / "a.jsonl", small_talk(3))
        with path.open("a") as file:
            file.write('{"text": "The tide comes in."}\n{"messages": []}\n')
        data = load({"train": str(path), "skip_bad_rows": True, "valid_fraction": 0})
        assert (len(data.train), data.num_bad_rows) == (3, 2)

    def test_a_bad_row_names_file_and_line(self, load, tmp_path):
        path = write_chats(tmp_path / "a.jsonl", small_talk(3))
        with path.open("a") as file:
            file.write('{"messages": [{"role": "user"}]}\n')
        refused(load, path, f"{path}, line 4: ", "--skip-bad-rows")

    def test_a_row_that_the_template_rejects_names_file_and_line(self, tokenizer, tmp_path, untrained):
        path = write_chats(tmp_path / "a.jsonl", [["Hello", "Hi"], ["Hello", "Hi", "Bye"]])
        template = "{% if messages|length > 2 %}{{ raise_exception('too long a talk') }}{% endif %}"
        template += "{% for m in messages %}{{ m['content'] }}<|end|>{% endfor %}"
        recipe_values = {
            "model": {"from": "x"},
            "data": {"train": str(path), "valid_fraction": 0},
            "training": {"max_seq_len": 64},
            "out": "x",
        }
        renderer = Renderer(tokenizer, template)
        with pytest.raises(InvalidData, match=r"a\.jsonl, line 2: .*too long a talk"):
            load_datasets(parse_recipe(recipe_values, origin="test"), renderer, untrained)
        recipe_values["data"]["skip_bad_rows"] = True
        data = load_datasets(parse_recipe(recipe_values, origin="test"), renderer, untrained)
        assert (len(data.train), data.num_bad_rows) == (1, 1)


class TestBaseModel:
    def test_a_sequence_length_above_the_context_is_rejected(self, recipe):
        with pytest.raises(InvalidParameter, match="'max_seq_len' is 129, but the model's context is 128 tokens"):
            load_base_model(recipe(max_seq_len=129))

    def test_a_tokenizer_with_a_larger_vocabulary_is_rejected(self, recipe, values, corpus, tmp_path):
        from turnwise.text.tokenization.bpe_training import train_bpe

        train_bpe([*corpus, *(" ".join(talk) for talk in small_talk(9))], vocab_size=700).save(tmp_path / "other")
        with pytest.raises(ValueError, match="do not belong together"):
            load_base_model(recipe(model={"from": values["model"]["from"], "tokenizer": str(tmp_path / "other")}))

    @pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3", "smollm3"])
    def test_a_new_model_of_any_family_can_be_saved_and_loaded(self, recipe, values, tmp_path, family):
        from turnwise.models import checkpoint

        shape = {"hidden_size": 32, "intermediate_size": 48, "num_layers": 4, "num_heads": 4, "context_length": 64}
        new = {"new": {"family": family, **shape}, "tokenizer": values["model"]["from"]}
        base = load_base_model(recipe(model=new))
        checkpoint.save(base.model, tmp_path / "saved")
        config = json.loads((tmp_path / "saved" / "config.json").read_text())
        assert config["model_type"] == family
        assert checkpoint.load(tmp_path / "saved").decoder.config == base.model.decoder.config
