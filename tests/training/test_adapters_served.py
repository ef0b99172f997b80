"""Adapters: merged into their base, subtracted again, and served unmerged."""

from contextlib import ExitStack
from pathlib import Path

import openai
import pytest
import torch
import transformers
from method_runs import CPU, LORA, logits, written_by_peft
from safetensors.torch import load_file

from turnwise.app.chat_services import open_chat_service
from turnwise.app.shared_base_engines import SharedBaseEngines
from turnwise.engine.engine import Engine
from turnwise.engine.native.library import library
from turnwise.models import transformers_checkpoint
from turnwise.server.app import create_app
from turnwise.testing import serve_in_thread
from turnwise.training.launch.run_recipe import run_recipe

pytestmark = [
    pytest.mark.usefixtures("no_loss_plot", "one_thread"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated"),  # within the peft library
]


class TestMerging:
    def merge(self, *words):
        from typer.testing import CliRunner

        from turnwise.cli.main import app

        return CliRunner().invoke(app, ["merge", *map(str, words)])

    @pytest.mark.costly
    @pytest.mark.parametrize("of", ["ours", "others"])
    def test_an_adapter_is_merged_and_subtracted_again(self, method_recipe, tmp_path, base_folder, neox_folder, of):
        base = base_folder if of == "ours" else neox_folder
        recipe = method_recipe(LORA, model={"from": str(base)})
        run_recipe(recipe, device=CPU)
        merged_folder, again = tmp_path / "whole", tmp_path / "again"
        assert self.merge(recipe.out, "--out", merged_folder).exit_code == 0
        assert self.merge(recipe.out, "--unmerge", merged_folder, "--out", again).exit_code == 0
        first, merged, last = (load_file(folder / "model.safetensors") for folder in (base, merged_folder, again))
        adapted = [name for name in first if (merged[name] - first[name]).abs().max() > 1e-3]
        assert adapted
        assert all((last[name] - first[name]).abs().max() < 1e-5 for name in first)
        ids = torch.tensor([list(range(6, 30))])

        theirs = transformers.AutoModelForCausalLM.from_pretrained(merged_folder, dtype=torch.float32)
        with torch.inference_mode():
            if of == "ours":
                torch.testing.assert_close(
                    logits(Path(recipe.out), ids[0].tolist()), theirs(ids).logits, atol=1e-4, rtol=1e-4
                )
            else:
                torch.testing.assert_close(
                    transformers_checkpoint.load(Path(recipe.out)).module(ids).logits,
                    theirs(ids).logits,
                    atol=1e-4,
                    rtol=1e-4,
                )

    @pytest.mark.costly
    def test_a_folder_without_an_adapter_and_an_existing_output_are_rejected(
        self, method_recipe, base_folder, tmp_path
    ):
        assert "is not an adapter folder" in str(self.merge(base_folder, "--out", tmp_path / "x").exception)
        recipe = method_recipe(LORA)
        run_recipe(recipe, device=CPU)
        assert "exists already" in str(self.merge(recipe.out, "--out", base_folder).exception)

    @pytest.mark.costly
    def test_a_folder_without_a_model_is_never_replaced(self, method_recipe, tmp_path):
        recipe = method_recipe(LORA)
        run_recipe(recipe, device=CPU)
        (tmp_path / "precious").mkdir()
        (tmp_path / "precious" / "thesis.txt").write_text("years")
        result = self.merge(recipe.out, "--out", tmp_path / "precious", "--overwrite")
        assert "is not a model folder" in str(result.exception)
        assert "is one of the inputs" in str(self.merge(recipe.out, "--out", recipe.out, "--overwrite").exception)
        assert (tmp_path / "precious" / "thesis.txt").read_text() == "years"

    @pytest.mark.costly
    def test_a_dora_adapter_cannot_be_subtracted(self, method_recipe, tmp_path):
        recipe = method_recipe({**LORA, "dora": True})
        run_recipe(recipe, device=CPU)
        assert self.merge(recipe.out, "--out", tmp_path / "whole").exit_code == 0
        again = self.merge(recipe.out, "--unmerge", tmp_path / "whole", "--out", tmp_path / "again")
        assert "DoRA" in str(again.exception)


class TestServing:
    """The official client selects base and adapters by `model`, over real sockets."""

    @pytest.fixture
    def answers(self, monkeypatch):
        """`answers({name: folder}, bases)`: the completion of every model; adapters are merged if `bases` is None."""

        def ask(folders, base_engines=None):
            with ExitStack() as stack:
                if base_engines is None:
                    stack.enter_context(monkeypatch.context()).setattr(Engine, "load_lora", lambda *_: False)
                services = {
                    name: stack.enter_context(open_chat_service(str(folder), name=name, base_engines=base_engines))
                    for name, folder in folders.items()
                }
                url = stack.enter_context(serve_in_thread(create_app(services, default=next(iter(services)))))
                client = openai.OpenAI(base_url=f"{url}/v1", api_key="-")
                assert {model.id for model in client.models.list()} >= folders.keys()
                return {name: self.request(client, name) for name in folders}

        return ask

    def request(self, client, name):
        return client.chat.completions.create(
            model=name,
            temperature=0,
            max_tokens=8,
            logprobs=True,
            extra_body={"min_tokens": 8},
            messages=[{"role": "user", "content": "Where is my lamp?"}],
        )

    @pytest.fixture
    def adapters(self, method_recipe, base_folder, tmp_path):
        """Adapters of every kind over one base; the last one was written by peft."""
        recipes = {
            "lora": method_recipe(LORA),
            "dora": method_recipe({**LORA, "dora": True}, out=str(tmp_path / "dora")),
        }
        for recipe in recipes.values():
            run_recipe(recipe, device=CPU)
        written_by_peft(base_folder, tmp_path / "theirs")
        return {name: recipe.out for name, recipe in recipes.items()} | {"theirs": tmp_path / "theirs"}

    @pytest.mark.costly
    @pytest.mark.skipif(library() is None, reason="no compiled library")
    def test_the_base_is_in_memory_once_and_each_adapter_answers_as_if_merged(self, answers, adapters, base_folder):
        base_engines = SharedBaseEngines()
        beside = answers({"base": base_folder, **adapters}, base_engines)
        assert not len(base_engines)  # the server has stopped
        merged = answers({"base": base_folder, **adapters})
        assert len({answer.choices[0].logprobs.content[-1].logprob for answer in beside.values()}) == 4
        assert len({answer.system_fingerprint for answer in (*beside.values(), *merged.values())}) == 7
        for name, answer in beside.items():
            logprobs, expected = (completion.choices[0].logprobs.content for completion in (answer, merged[name]))
            assert [token.token for token in logprobs] == [token.token for token in expected]
            for first, second in zip(logprobs, expected, strict=True):
                assert first.logprob == pytest.approx(second.logprob, abs=1e-3)

    @pytest.mark.costly
    def test_gpt2_with_transposed_matrices(self, answers, method_recipe, gpt2_folder):
        recipe = method_recipe(LORA, model={"from": str(gpt2_folder)})
        run_recipe(recipe, device=CPU)
        folders = {"adapter": recipe.out}  # the base is loaded for it
        beside, merged = (
            answers(folders, base_engines)["adapter"].choices[0] for base_engines in (SharedBaseEngines(), None)
        )
        for first, second in zip(beside.logprobs.content, merged.logprobs.content, strict=True):
            assert (first.token, first.logprob) == (second.token, pytest.approx(second.logprob, abs=1e-3))

    @pytest.mark.costly
    def test_an_adapter_is_merged_into_a_copy_if_the_engine_cannot_apply_it(self, answers, adapters, monkeypatch):
        monkeypatch.setattr(Engine, "load_lora", lambda *_: False)
        completions = answers({"lora": adapters["lora"]}, SharedBaseEngines())
        assert completions["lora"].system_fingerprint == answers({"lora": adapters["lora"]})["lora"].system_fingerprint
