"""Adapters merged into their base, taken out of it, and served beside it."""

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
from turnwise.engine.native.library import library
from turnwise.models import transformers_checkpoint
from turnwise.server.app import create_app
from turnwise.testing import serve_in_thread
from turnwise.training.launch.run_recipe import run_recipe

pytestmark = [
    pytest.mark.usefixtures("undrawn", "one_thread"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated"),  # within the peft library
]


class TestMerging:
    def merge(self, *words):
        from typer.testing import CliRunner

        from turnwise.cli.main import app

        return CliRunner().invoke(app, ["merge", *map(str, words)])

    @pytest.mark.parametrize("of", ["ours", "others"])
    def test_an_adapter_goes_into_its_base_and_out_again(self, said, tmp_path, base_folder, neox_folder, of):
        base = base_folder if of == "ours" else neox_folder
        recipe = said(LORA, model={"from": str(base)})
        run_recipe(recipe, device=CPU)
        whole, again = tmp_path / "whole", tmp_path / "again"
        assert self.merge(recipe.out, "--out", whole).exit_code == 0
        assert self.merge(recipe.out, "--unmerge", whole, "--out", again).exit_code == 0
        first, merged, last = (load_file(folder / "model.safetensors") for folder in (base, whole, again))
        adapted = [name for name in first if (merged[name] - first[name]).abs().max() > 1e-3]
        assert adapted
        assert all((last[name] - first[name]).abs().max() < 1e-5 for name in first)
        ids = torch.tensor([list(range(6, 30))])

        theirs = transformers.AutoModelForCausalLM.from_pretrained(whole, dtype=torch.float32)
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

    def test_what_is_no_adapter_and_what_is_there_is_refused(self, said, base_folder, tmp_path):
        assert "holds no adapter" in str(self.merge(base_folder, "--out", tmp_path / "x").exception)
        recipe = said(LORA)
        run_recipe(recipe, device=CPU)
        assert "exists already" in str(self.merge(recipe.out, "--out", base_folder).exception)

    def test_a_folder_of_other_things_is_never_replaced(self, said, tmp_path):
        recipe = said(LORA)
        run_recipe(recipe, device=CPU)
        (tmp_path / "precious").mkdir()
        (tmp_path / "precious" / "thesis.txt").write_text("years")
        result = self.merge(recipe.out, "--out", tmp_path / "precious", "--overwrite")
        assert "is not a model folder" in str(result.exception)
        assert "is what the model is made of" in str(
            self.merge(recipe.out, "--out", recipe.out, "--overwrite").exception
        )
        assert (tmp_path / "precious" / "thesis.txt").read_text() == "years"

    def test_dora_cannot_be_taken_out(self, said, tmp_path):
        recipe = said({**LORA, "dora": True})
        run_recipe(recipe, device=CPU)
        assert self.merge(recipe.out, "--out", tmp_path / "whole").exit_code == 0
        again = self.merge(recipe.out, "--unmerge", tmp_path / "whole", "--out", tmp_path / "again")
        assert "DoRA" in str(again.exception)


class TestServing:
    """Base and adapters chosen by `model`, over real sockets, by the official client."""

    @pytest.fixture
    def answers(self):
        """`answers({name: folder}, bases)`: what each says to one question, and the fingerprints."""

        def ask(folders, base_engines=None):
            with ExitStack() as stack:
                services = {
                    name: stack.enter_context(open_chat_service(str(folder), name=name, base_engines=base_engines))
                    for name, folder in folders.items()
                }
                url = stack.enter_context(serve_in_thread(create_app(services, default=next(iter(services)))))
                client = openai.OpenAI(base_url=f"{url}/v1", api_key="-")
                assert {model.id for model in client.models.list()} >= folders.keys()
                return {name: self.asked(client, name) for name in folders}

        return ask

    def asked(self, client, name):
        return client.chat.completions.create(
            model=name,
            temperature=0,
            max_tokens=8,
            logprobs=True,
            extra_body={"min_tokens": 8},
            messages=[{"role": "user", "content": "Where is my lamp?"}],
        )

    @pytest.fixture
    def adapters(self, said, base_folder, tmp_path):
        """One of every kind, over one base; queries, keys and values of the last have thin matrices of their own."""
        recipes = {"lora": said(LORA), "dora": said({**LORA, "dora": True}, out=str(tmp_path / "dora"))}
        for recipe in recipes.values():
            run_recipe(recipe, device=CPU)
        written_by_peft(base_folder, tmp_path / "theirs")
        return {name: recipe.out for name, recipe in recipes.items()} | {"theirs": tmp_path / "theirs"}

    @pytest.mark.skipif(library() is None, reason="no compiled library")
    def test_the_base_is_in_memory_once_and_each_answers_as_if_it_had_been_merged(self, answers, adapters, base_folder):
        base_engines = SharedBaseEngines()
        beside = answers({"base": base_folder, **adapters}, base_engines)
        assert len(base_engines) == 1
        merged = answers({"base": base_folder, **adapters})
        assert len({answer.choices[0].logprobs.content[-1].logprob for answer in beside.values()}) == 4
        assert len({answer.system_fingerprint for answer in (*beside.values(), *merged.values())}) == 7
        for name, answer in beside.items():
            found, expected = (each.choices[0].logprobs.content for each in (answer, merged[name]))
            assert [token.token for token in found] == [token.token for token in expected]
            for one, other in zip(found, expected, strict=True):
                assert one.logprob == pytest.approx(other.logprob, abs=1e-3)

    def test_gpt2_whose_matrices_are_the_other_way_round(self, answers, said, gpt2_folder):
        recipe = said(LORA, model={"from": str(gpt2_folder)})
        run_recipe(recipe, device=CPU)
        folders = {"adapter": recipe.out}  # its base is opened for it
        beside, merged = (
            answers(folders, base_engines)["adapter"].choices[0] for base_engines in (SharedBaseEngines(), None)
        )
        for one, other in zip(beside.logprobs.content, merged.logprobs.content, strict=True):
            assert (one.token, one.logprob) == (other.token, pytest.approx(other.logprob, abs=1e-3))

    def test_where_the_engine_cannot_the_adapter_gets_weights_of_its_own(self, answers, adapters, monkeypatch):
        from turnwise.engine.engine import Engine

        monkeypatch.setattr(Engine, "load_lora", lambda *_: False)
        base_engines = SharedBaseEngines()
        found = answers({"lora": adapters["lora"]}, base_engines)
        assert found["lora"].system_fingerprint == answers({"lora": adapters["lora"]})["lora"].system_fingerprint
