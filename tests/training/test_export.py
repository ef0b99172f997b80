"""The exported model folder: complete, in Hugging Face format, and written atomically."""

import errno
import json

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import SafetensorError

from turnwise.core.errors import SaveFailed
from turnwise.core.messages import Message
from turnwise.models import checkpoint, checkpoint_writer
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.training import loggers as watch
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.recipe import load_recipe, parse_recipe

TALK = [Message("user", "Where is my lamp? 你好"), Message("assistant", "Your lamp is on its way.")]
CPU = torch.device("cpu")


def run(values, **more):
    return run_recipe(parse_recipe(values, origin="test"), device=CPU, **more)


@pytest.fixture(scope="module")
def finished(base_folder, chats, valid_chats, tmp_path_factory):
    """A finished run and its result."""
    out = tmp_path_factory.mktemp("runs") / "price in $ and $"
    training = {
        "max_seq_len": 128,
        "batch_size": 4,
        "max_steps": 12,
        "learning_rate": 0.01,
        "eval_steps": 4,
        "dtype": "float32",
    }
    data = {"train": str(chats), "test": str(valid_chats)}
    result = run({"model": {"from": str(base_folder)}, "data": data, "training": training, "out": str(out)})
    return out, result


class TestInTransformers:
    @pytest.mark.slow
    def test_transformers_has_equal_logits_and_ids(self, finished):
        import transformers

        out, _ = finished
        theirs = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
        tokenizer = transformers.AutoTokenizer.from_pretrained(out)
        messages = [message.as_dict() for message in TALK]
        ids = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True)["input_ids"]
        assert ids == Renderer.from_tokenizer(Tokenizer.load(out)).render(TALK).ids
        ours = checkpoint.load(out, dtype=torch.float32).decoder
        ids_BT = torch.tensor([ids])
        with torch.inference_mode():
            torch.testing.assert_close(ours.logits(ours(ids_BT)), theirs(ids_BT).logits, atol=1e-5, rtol=1e-5)
        assert theirs.config.eos_token_id == tokenizer.eos_token_id == Tokenizer.load(out).eos_token_id
        assert theirs.generation_config.top_k == 7


class TestModelFolder:
    @pytest.mark.costly
    def test_the_card_has_the_results_of_the_run(self, finished):
        card = (finished[0] / "README.md").read_text(encoding="utf-8")
        result = json.loads((finished[0] / "result.json").read_text(encoding="utf-8"))
        for split, when in (("valid", "before"), ("valid", "after")):
            assert f"{result['perplexity'][f'{split}_{when}']:.2f}" in card
        assert f"in {result['steps']} steps" in card
        for sample in result["samples"]:
            assert " ".join(sample["question"].split()).replace("*", "\\*") in card

    def test_the_folder_has_exactly_the_documented_files(self, finished):
        assert sorted(path.name for path in finished[0].iterdir()) == [
            "README.md",
            "chat_template.jinja",
            "config.json",
            "generation_config.json",
            "loss.png",
            "metrics.jsonl",
            "model.safetensors",
            "recipe.yaml",
            "result.json",
            "tensorboard",
            "tokenizer.json",
            "tokenizer_config.json",
        ]

    def test_the_generation_config_of_the_base_is_kept(self, finished, tokenizer):
        written = json.loads((finished[0] / "generation_config.json").read_text())
        assert written == {
            "do_sample": True,
            "top_k": 7,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        }

    @pytest.mark.costly
    def test_a_new_model_gets_the_default_generation_config(self, values):
        shape = {"hidden_size": 16, "intermediate_size": 16, "num_layers": 1, "context_length": 64}
        run({**values, "model": {"new": shape, "tokenizer": values["model"]["from"]}})
        written = json.loads(open_out(values, "generation_config.json"))
        assert (written["temperature"], written["top_p"]) == (0.7, 0.9)

    @pytest.mark.costly
    def test_the_saved_recipe_is_complete_and_reproduces_the_weights(self, finished, tmp_path):
        out, _ = finished
        recipe = load_recipe(out / "recipe.yaml")
        again = recipe.model_copy(update={"out": str(tmp_path / "again")})
        run_recipe(again, device=CPU)
        assert (tmp_path / "again" / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()

    def test_the_loss_plot_is_a_png(self, finished):
        picture = (finished[0] / "loss.png").read_bytes()
        assert picture.startswith(b"\x89PNG\r\n\x1a\n")
        assert len(picture) > 5000

    def test_tensorboard_loads_the_curves(self, finished):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(finished[0] / "tensorboard"))
        events.Reload()
        metrics = [line for line in watch.read_metrics(finished[0] / "metrics.jsonl") if "loss" in line]
        curve = events.Scalars("train/loss")
        assert [point.step for point in curve] == list(range(1, 13))
        np.testing.assert_allclose([point.value for point in curve], [line["loss"] for line in metrics], rtol=1e-6)
        assert [point.step for point in events.Scalars("valid/perplexity")] == [0, 4, 8, 12]

    def test_the_result_file_equals_the_returned_result(self, finished):
        out, result = finished
        written = json.loads((out / "result.json").read_text(encoding="utf-8"))
        assert written["steps"] == result.steps == 12
        assert written["loss"]["valid_after"] == result.valid_after < result.valid_before
        assert written["perplexity"]["test_before"] == pytest.approx(np.exp(result.test_before), rel=1e-3)

    def test_the_loss_of_the_saved_weights_is_the_one_reported(self, finished, valid_chats):
        """The perplexity over replies equals the objective's loss per target."""
        from torch_reference.perplexity import measure_perplexity
        from turnwise.data.sources import read_source

        out, result = finished
        model = checkpoint.load(out, dtype=torch.float32).decoder
        perplexity = measure_perplexity(
            model, Renderer.from_tokenizer(Tokenizer.load(out)), list(read_source(valid_chats))
        )
        assert perplexity.nats / perplexity.tokens == pytest.approx(result.test_after, rel=1e-5)


def open_out(values, name):
    from pathlib import Path

    return (Path(values["out"]) / name).read_text(encoding="utf-8")


class TestSamples:
    def test_held_out_dialogues_are_answered_before_and_after_training(self, finished, base_folder):
        out, result = finished
        assert len(result.samples) == 3
        written = json.loads((out / "result.json").read_text(encoding="utf-8"))["samples"]
        assert [sample["after"] for sample in written] == [sample.after for sample in result.samples]
        assert all(sample.question and sample.reply for sample in result.samples)
        assert any(sample.before != sample.after for sample in result.samples)

    @pytest.mark.costly
    def test_replies_are_greedy_and_independent_of_the_batch(self, finished, valid_chats):
        from turnwise.core.exchanges import last_reply
        from turnwise.data.sources import read_source
        from turnwise.training.launch.reply_samples import MAX_REPLY_TOKENS, generate_replies

        out, _ = finished
        loaded, renderer = checkpoint.load(out, dtype=torch.float32), Renderer.from_tokenizer(Tokenizer.load(out))
        dialogues, model = list(read_source(valid_chats))[:3], loaded.decoder
        replies = generate_replies(loaded, renderer, dialogues)
        for dialogue, answer in zip(dialogues, replies, strict=True):
            history, _ = last_reply(dialogue)
            ids = renderer.render(history, add_generation_prompt=True).ids
            single_replies = []
            while len(single_replies) < MAX_REPLY_TOKENS:
                with torch.inference_mode():
                    token = int(model.logits(model(torch.tensor([ids + single_replies])))[0, -1].argmax())
                if token in renderer.tokenizer.stop_ids:
                    break
                single_replies.append(token)
            assert answer == renderer.tokenizer.decode(single_replies)

    def test_the_reply_after_tool_results_is_the_one_that_evaluation_compares(self, tmp_path):
        from turnwise.core.messages import Conversation, ToolCall
        from turnwise.evaluation.last_replies import last_reply_samples
        from turnwise.training.launch.reply_samples import pair_samples, save_samples_before

        call = ToolCall("1", "find_order", '{"id": 7}')
        dialogue = Conversation((
            Message("user", "Hello"),
            Message("assistant", "Hi, how can I help?"),
            Message("user", "Where is my lamp?"),
            Message("assistant", "", tool_calls=(call,)),
            Message("tool", "in transit", tool_call_id="1"),
            Message("assistant", "It is on its way."),
        ))  # fmt: skip
        save_samples_before(tmp_path, ["before"])
        (sample,) = pair_samples(tmp_path, [dialogue], ["after"])
        (compared,) = last_reply_samples([dialogue])
        assert (sample.question, sample.reply) == ("Where is my lamp?", "It is on its way.")
        assert sample.reply == compared.reference
        assert compared.generation_queries[0].history == dialogue.messages[:-1]

    def test_a_prompt_longer_than_the_context_loses_its_beginning(self, tiny_model, tokenizer):
        from turnwise.core.messages import Conversation
        from turnwise.training.launch.reply_samples import generate_replies

        long = Conversation((Message("user", "Hello, how can I help you? " * 60), Message("assistant", "b")))
        assert len(generate_replies(tiny_model, Renderer.from_tokenizer(tokenizer), [long])) == 1

    @pytest.mark.costly
    @pytest.mark.usefixtures("no_loss_plot")
    def test_samples_do_not_change_the_weights(self, values, monkeypatch, tmp_path):
        from turnwise.training.launch import export_run, prepare

        run({**values, "out": str(tmp_path / "with")})
        for module in (prepare, export_run):
            monkeypatch.setattr(module, "generate_replies", lambda *_: [])
        run({**values, "out": str(tmp_path / "without")})
        with_samples, without_samples = (
            (tmp_path / name / "model.safetensors").read_bytes() for name in ("with", "without")
        )
        assert with_samples == without_samples


def no_space(*_args, **_more):
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.usefixtures("no_loss_plot")
class TestDiskFull:
    @pytest.mark.costly
    def test_a_failed_checkpoint_leaves_the_previous_one(self, values, monkeypatch, tmp_path):
        saved = []

        def full_at_the_third(tensors, path, metadata):
            saved.append(path)
            (real if len(saved) < 6 else no_space)(tensors, path, metadata)

        real = safetensors.torch.save_file
        monkeypatch.setattr(safetensors.torch, "save_file", full_at_the_third)
        with pytest.raises(SaveFailed, match="No space left") as caught:
            run(values)
        assert caught.value.exit_code == 1
        assert not (tmp_path / "out").exists()
        work = tmp_path / "out.partial"
        assert not list(work.rglob("*.part*"))
        assert json.loads((work / "checkpoint" / "state.json").read_text())["step"] == 2
        monkeypatch.setattr(safetensors.torch, "save_file", real)
        assert run(values).steps == 4

    @pytest.mark.costly
    def test_a_failed_export_leaves_only_the_work_folder(self, values, monkeypatch, tmp_path):
        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        real = checkpoint_writer.save_safetensors
        monkeypatch.setattr(checkpoint_writer, "save_safetensors", full)
        with pytest.raises(SaveFailed, match="No space left"):
            run(values)
        assert [path.name for path in tmp_path.iterdir()] == ["out.partial"]
        monkeypatch.setattr(checkpoint_writer, "save_safetensors", real)
        assert run(values).steps == 4
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    @pytest.mark.costly
    def test_a_failed_metrics_write_is_a_save_error(self, values, monkeypatch, tmp_path):
        def full(self, **_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(watch.MetricsFileHook, "_write", full)
        with pytest.raises(SaveFailed, match=r"out\.partial: No space left on device"):
            run(values)
        assert not (tmp_path / "out").exists()

    def test_an_output_folder_that_is_not_writable_is_rejected(self, values, tmp_path):
        (tmp_path / "file").write_text("not a folder")
        with pytest.raises(SaveFailed, match="Could not write"):
            run({**values, "out": str(tmp_path / "file" / "out")})


class TestMetrics:
    def test_an_incomplete_last_line_is_ignored(self, tmp_path):
        path = tmp_path / "metrics.jsonl"
        path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
        assert watch.read_metrics(path) == [{"step": 1, "loss": 2.0}]
        assert watch.read_metrics(tmp_path / "none") == []

    def test_the_smoothed_curve_follows_a_late_drop(self):
        smoothed = watch._smooth([4.0] * 500 + [1.0] * 100)
        assert smoothed[499] == pytest.approx(4.0)
        assert smoothed[-1] < 1.1

    @pytest.mark.parametrize("title", ["$x", "$a$b_", "模型"])
    def test_any_model_name_can_be_the_title_of_the_plot(self, tmp_path, title):
        path = tmp_path / "metrics.jsonl"
        path.write_text('{"step": 0, "valid_loss": 2.0, "best": true}\n{"step": 1, "loss": 2.0}\n')
        watch.plot_loss(path, tmp_path / "loss.png", title=title)
        assert (tmp_path / "loss.png").is_file()

    @pytest.mark.parametrize(
        ("more", "num_pictures"), [({}, 1), ({"reward": 3.0}, 1), ({"gate_pass": 0.5, "reward": 0.4, "kl": 0.1}, 2)]
    )
    def test_a_run_on_sampled_replies_has_a_second_picture(self, tmp_path, more, num_pictures):
        lines = [{"step": 0, "valid_loss": 2.0, "best": True}, {"step": 1, "loss": 2.0, **more}]
        path = tmp_path / "metrics.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        watch.plot_loss(path, tmp_path / "loss.png", title="run")
        data = (tmp_path / "loss.png").read_bytes()
        height = int.from_bytes(data[20:24], "big")  # in the header of a PNG
        assert height == num_pictures * 540
