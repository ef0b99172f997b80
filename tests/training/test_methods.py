"""Methods: which weights learn, and that what is saved serves as what was trained."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from samples_of_data import FOUR, written
from samples_of_data import dialogue as written_talk

from turnwise.core.errors import InvalidParameter, ModelNotFound, UserError
from turnwise.models import checkpoint, hub
from turnwise.models.rounding import RoundedLinear
from turnwise.text.render import Renderer
from turnwise.text.tokenizer import Tokenizer
from turnwise.training.artefact import save_artefact
from turnwise.training.methods import METHODS
from turnwise.training.opening import load_base
from turnwise.training.recipe import parse_recipe
from turnwise.training.run import run_recipe

CPU = torch.device("cpu")
pytestmark = [
    pytest.mark.usefixtures("undrawn", "one_thread"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated"),  # within the peft library
]
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_layers": 2, "num_heads": 4, "context_length": 128}


@pytest.fixture
def said(values):
    """`said(method, …)`: a recipe with this method that changes its weights a lot."""

    def make(method, **sections):
        training = {**values["training"], "row_length": 128, "learning_rate": 0.02, "max_steps": 4, "patience": 0}
        return parse_recipe({**values, "training": training, "method": method, **sections}, origin="test")

    return make


@pytest.fixture
def gpt2_folder(tmp_path, tokenizer):
    """Its published matrices are the other way round, and its queries, keys and values one of them."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=tokenizer.vocab_size, n_positions=128, n_embd=32, n_layer=2, n_head=4)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    tokenizer.save(tmp_path / "gpt2")
    return tmp_path / "gpt2"


@pytest.fixture
def neox_folder(tmp_path, tokenizer):
    """A decoder that is none of ours."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=48, max_position_embeddings=128, eos_token_id=tokenizer.eos_id, bos_token_id=None,
    )  # fmt: skip
    GPTNeoXForCausalLM(config).save_pretrained(tmp_path / "neox")
    tokenizer.save(tmp_path / "neox")
    return tmp_path / "neox"


def parameters(folder):
    return dict(checkpoint.load(folder, dtype=torch.float32).decoder.named_parameters())


def changed(recipe):
    """The names of the weights, as ours, that a run changed."""
    run_recipe(recipe, device=CPU)
    before, after = parameters(Path(recipe.model.source)), parameters(Path(recipe.out))
    return {name for name in before if not torch.equal(before[name], after[name])}


class TestPartial:
    def test_the_last_layer_alone(self, said):
        found = changed(said({"name": "partial", "last": 1}))
        assert found
        assert all(name.startswith("layers.1.") for name in found)

    def test_said_alone_it_is_the_last_two(self):
        assert METHODS.make("partial").last == 2

    def test_the_head_which_is_the_embedding_where_they_are_one(self, said):
        assert changed(said({"name": "partial", "part": "head"})) == {"embed.weight", "norm.weight"}

    def test_weights_by_their_published_names(self, said):
        found = changed(said({"name": "partial", "names": ["model.layers.*.mlp.*"]}))
        assert found == {f"layers.{i}.mlp.{part}.weight" for i in (0, 1) for part in ("up", "down")}

    def test_what_is_one_matrix_here_is_named_whole_or_refused(self, said):
        with pytest.raises(InvalidParameter, match=r"one matrix here and learn together: name .*k_proj"):
            run_recipe(said({"name": "partial", "names": ["*q_proj*"]}), device=CPU)

    def test_a_name_that_nothing_has_is_refused_with_some_that_are_there(self, said):
        with pytest.raises(InvalidParameter, match=r"No weight is called 'transformer\.\*'; there are model\."):
            run_recipe(said({"name": "partial", "names": ["transformer.*"]}), device=CPU)

    def test_more_layers_than_there_are(self, said):
        with pytest.raises(InvalidParameter, match="'last' is 9, but the model has 2 layers"):
            run_recipe(said({"name": "partial", "last": 9}), device=CPU)

    def test_the_decoder_of_an_encoder_decoder(self, said, tmp_path, base_folder):
        data = written(FOUR * 3, tmp_path / "data.jsonl")
        model = {"new": {"family": "t5", **SIZES}, "tokenizer": str(base_folder)}
        base = load_base(said("full", objective="seq2seq", model=model))
        recipe = said(
            {"name": "partial", "part": "decoder"}, objective="seq2seq", model=model, data={"train": str(data)},
        )  # fmt: skip
        run_recipe(recipe, device=CPU)
        before, after = base.model.module.state_dict(), hub.load(Path(recipe.out)).module.state_dict()
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        assert moved
        assert all(name.startswith("decoder.") for name in moved)

    def test_a_decoder_has_no_part_of_that_name(self, said):
        with pytest.raises(InvalidParameter, match="for encoder–decoder models"):
            run_recipe(said({"name": "partial", "part": "decoder"}), device=CPU)

    def test_only_what_learns_is_kept_in_checkpoints(self, said, monkeypatch, tmp_path):
        from turnwise.training import state

        seen = []
        real = state.save_file
        monkeypatch.setattr(state, "save_file", lambda tensors, path: (seen.append(set(tensors)), real(tensors, path)))
        run_recipe(said({"name": "partial", "last": 1}), device=CPU)
        weights = [names for names in seen if not any(name[0].isdigit() for name in names)]
        assert weights
        assert all(name.startswith("layers.1.") for names in weights for name in names)


LORA = {"name": "lora", "rank": 4}


def logits(folder, ids):
    model = checkpoint.load(folder, dtype=torch.float32).decoder
    with torch.inference_mode():
        return model.logits(model(torch.tensor([ids])))


class TestAdapters:
    @pytest.mark.parametrize("more", [{}, {"dora": True}, {"rank": 2, "alpha": 9, "dropout": 0.1}], ids=str)
    def test_what_is_saved_serves_as_what_was_trained(self, said, more, unseen):
        """The loss of the folder, read by another room, is the one that the run reported of itself."""
        from turnwise.data.sources import read_source
        from turnwise.evaluation.perplexity import measure_perplexity

        recipe = said({**LORA, **more})
        result = run_recipe(recipe, device=CPU)
        assert result.valid_after < result.valid_before
        out = Path(recipe.out)
        assert sorted(path.name for path in out.glob("*.safetensors")) == ["adapter_model.safetensors"]
        model = checkpoint.load(out, dtype=torch.float32).decoder
        found = measure_perplexity(model, Renderer.of(Tokenizer.load(out)), list(read_source(unseen)))
        assert found.nats / found.tokens == pytest.approx(result.valid_after, rel=1e-4)

    @pytest.mark.parametrize("more", [{}, {"dora": True}], ids=str)
    def test_the_peft_library_reads_it_the_same(self, said, base_folder, more):
        import peft
        import transformers

        recipe = said({**LORA, **more})
        run_recipe(recipe, device=CPU)
        theirs = transformers.AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float32)
        theirs = peft.PeftModel.from_pretrained(theirs, recipe.out).eval()
        ids = list(range(6, 40))
        with torch.inference_mode():
            expected = theirs(torch.tensor([ids])).logits
        torch.testing.assert_close(logits(Path(recipe.out), ids), expected, atol=1e-4, rtol=1e-4)
        assert (expected - logits(base_folder, ids)).abs().max() > 0.1

    def test_what_the_peft_library_wrote_is_read_the_same(self, base_folder, tmp_path):
        """Its queries, keys and values have thin matrices of their own."""
        import peft
        import transformers

        theirs = transformers.AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float32)
        config = peft.LoraConfig(r=3, lora_alpha=7, target_modules=["q_proj", "v_proj", "up_proj"], use_rslora=True)
        theirs = peft.get_peft_model(theirs, config)
        torch.manual_seed(0)
        with torch.no_grad():
            for name, parameter in theirs.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(0, 0.3)
        theirs.save_pretrained(tmp_path / "theirs")
        Tokenizer.load(base_folder).save(tmp_path / "theirs")
        ids = list(range(6, 40))
        with torch.inference_mode():
            expected = theirs.eval()(torch.tensor([ids])).logits
        torch.testing.assert_close(logits(tmp_path / "theirs", ids), expected, atol=1e-4, rtol=1e-4)

    def test_gpt2_whose_matrices_are_the_other_way_round(self, said, gpt2_folder):
        import peft
        import transformers

        recipe = said(LORA, model={"from": str(gpt2_folder)})
        run_recipe(recipe, device=CPU)
        theirs = transformers.AutoModelForCausalLM.from_pretrained(gpt2_folder, dtype=torch.float32)
        theirs = peft.PeftModel.from_pretrained(theirs, recipe.out).eval()
        ids = list(range(6, 40))
        with torch.inference_mode():
            torch.testing.assert_close(
                logits(Path(recipe.out), ids), theirs(torch.tensor([ids])).logits, atol=1e-4, rtol=1e-4
            )

    @pytest.mark.parametrize("bits", ["int8", "int4"])
    def test_the_base_in_fewer_bits_while_training(self, said, bits):
        recipe = said({**LORA, "quantize": bits})
        base = recipe.method.prepare(load_base(recipe), 0)
        layers = [part for part in base.model.module.modules() if isinstance(part, RoundedLinear)]
        assert len(layers) == 8
        plain = load_base(recipe).model.module.layers[0].mlp.up.weight
        held = base.model.module.layers[0].mlp.up.base_layer
        assert held.whole.nbytes == plain.nbytes // (4 if bits == "int8" else 8)
        assert (held.weight - plain).abs().max() < plain.abs().max() / (60 if bits == "int8" else 6)
        result = run_recipe(recipe, device=CPU)
        assert result.valid_after < result.valid_before

    def test_gradients_through_a_rounded_layer_are_those_of_its_floats(self):
        layer = torch.nn.Linear(32, 24)
        rounded = RoundedLinear(layer, 4)
        plain = torch.nn.Linear(32, 24)
        plain.weight, plain.bias = torch.nn.Parameter(rounded.weight), layer.bias
        x = torch.randn(5, 32, requires_grad=True)
        y = x.detach().clone().requires_grad_()
        (rounded(x).square().sum()).backward()
        (plain(y).square().sum()).backward()
        torch.testing.assert_close(x.grad, y.grad)

    def test_a_decoder_that_is_none_of_ours(self, said, neox_folder):
        recipe = said(LORA, model={"from": str(neox_folder)})
        result = run_recipe(recipe, device=CPU)
        assert result.valid_after < result.valid_before
        assert len(result.samples) == 3
        merged, base = hub.load(Path(recipe.out)).module, hub.load(neox_folder).module
        ids = torch.tensor([list(range(6, 30))])
        with torch.inference_mode():
            assert (merged(ids).logits - base(ids).logits).abs().max() > 1e-3

    def test_training_goes_on_from_an_adapter(self, said, tmp_path):
        first = said(LORA)
        run_recipe(first, device=CPU)
        again = said("full", model={"from": first.out}, out=str(tmp_path / "again"))
        result = run_recipe(again, device=CPU)
        assert result.valid_before == pytest.approx(
            json.loads((Path(first.out) / "result.json").read_text())["loss"]["valid_after"], rel=1e-4
        )
        assert (tmp_path / "again" / "model.safetensors").is_file()

    def test_an_adapter_of_an_adapter_is_refused(self, said, tmp_path):
        first = said(LORA)
        run_recipe(first, device=CPU)
        with pytest.raises(InvalidParameter, match="turnwise merge"):
            run_recipe(said(LORA, model={"from": first.out}, out=str(tmp_path / "again")), device=CPU)

    def test_a_small_change_of_a_base_in_half_precision_is_not_rounded_away(
        self, said, tmp_path, tiny_config, tokenizer
    ):
        save_artefact(tmp_path / "half", checkpoint.create(tiny_config, seed=0), tokenizer, dtype=torch.bfloat16)
        recipe = said({**LORA, "alpha": 0.01}, model={"from": str(tmp_path / "half")})
        run_recipe(recipe, device=CPU)
        plain, adapted = parameters(tmp_path / "half"), parameters(recipe.out)
        change = load_file(Path(recipe.out) / "adapter_model.safetensors")
        module = "base_model.model.model.layers.0.mlp.down_proj"
        delta = 0.01 / 4 * change[f"{module}.lora_B.weight"] @ change[f"{module}.lora_A.weight"]
        name = "layers.0.mlp.down.weight"
        torch.testing.assert_close(adapted[name] - plain[name], delta, atol=1e-7, rtol=1e-2)

    def test_what_came_out_may_be_replaced(self, said):
        recipe = said(LORA)
        run_recipe(recipe, device=CPU)
        run_recipe(recipe, device=CPU, overwrite=True)

    def test_an_encoder_decoder_is_adapted_in_its_linear_layers(self, said, tmp_path, base_folder):
        data = {"train": str(written(FOUR * 3, tmp_path / "data.jsonl"))}
        model = {"new": {"family": "t5", **SIZES}, "tokenizer": str(base_folder)}
        base = said("full", objective="seq2seq", model=model, data=data, out=str(tmp_path / "t5"))
        run_recipe(base, device=CPU)
        recipe = said(LORA, objective="seq2seq", model={"from": base.out}, data=data)
        run_recipe(recipe, device=CPU)
        names = load_file(Path(recipe.out) / "adapter_model.safetensors")
        assert names
        assert not any("relative_attention_bias" in name for name in names)

    def test_the_same_seed_gives_the_same_adapter(self, said, tmp_path):
        made = []
        for name in ("one", "other"):
            recipe = said(LORA, out=str(tmp_path / name))
            run_recipe(recipe, device=CPU)
            made.append(load_file(tmp_path / name / "adapter_model.safetensors"))
        assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])

    def test_targets_are_patterns(self, said):
        base = (recipe := said({**LORA, "targets": ["*.mlp.*"]})).method.prepare(load_base(recipe), 0)
        learning = {n for n, p in base.model.module.named_parameters() if p.requires_grad}
        assert learning
        assert all(".mlp." in name for name in learning)
        with pytest.raises(InvalidParameter, match=r"No linear layer is called \['\*attn\*'\]; there are layers"):
            run_recipe(said({**LORA, "targets": ["*attn*"]}), device=CPU)

    def test_a_new_model_is_not_adapted(self, said, base_folder):
        model = {"new": {**SIZES, "num_kv_heads": 2}, "tokenizer": str(base_folder)}
        with pytest.raises(InvalidParameter, match="adapts a model that is there"):
            run_recipe(said(LORA, model=model), device=CPU)


def served(folder, talk, **more):
    """What a service of this folder would read of the dialogue's beginning, and its generation parameters."""
    from turnwise.assemble import chat_service
    from turnwise.chat.service import Turn

    with chat_service(str(folder), **more) as service:
        return service._maker.request(Turn(talk.messages[:-1], asked={"temperature": 0}))


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
        assert self.merge(recipe.out, "--undo", whole, "--out", again).exit_code == 0
        first, merged, last = (load_file(folder / "model.safetensors") for folder in (base, whole, again))
        adapted = [name for name in first if (merged[name] - first[name]).abs().max() > 1e-3]
        assert adapted
        assert all((last[name] - first[name]).abs().max() < 1e-5 for name in first)
        ids = torch.tensor([list(range(6, 30))])
        import transformers

        theirs = transformers.AutoModelForCausalLM.from_pretrained(whole, dtype=torch.float32)
        with torch.inference_mode():
            if of == "ours":
                torch.testing.assert_close(
                    logits(Path(recipe.out), ids[0].tolist()), theirs(ids).logits, atol=1e-4, rtol=1e-4
                )
            else:
                torch.testing.assert_close(
                    hub.load(Path(recipe.out)).module(ids).logits, theirs(ids).logits, atol=1e-4, rtol=1e-4
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
        again = self.merge(recipe.out, "--undo", tmp_path / "whole", "--out", tmp_path / "again")
        assert "DoRA" in str(again.exception)

    def test_base_and_adapter_are_served_side_by_side(self, said, base_folder):
        """Chosen by `model`, over real sockets, by the official client."""
        import openai

        from turnwise.assemble import chat_service
        from turnwise.server.app import create_app
        from turnwise.testing import listening

        recipe = said(LORA)
        run_recipe(recipe, device=CPU)
        with chat_service(str(base_folder), name="base") as base, chat_service(recipe.out, name="polite") as polite:
            app = create_app({"base": base, "polite": polite}, default="base")
            with listening(app) as url:
                client = openai.OpenAI(base_url=f"{url}/v1", api_key="-")
                assert {model.id for model in client.models.list()} >= {"base", "polite"}
                answers = {
                    name: client.chat.completions.create(
                        model=name,
                        temperature=0,
                        max_tokens=8,
                        messages=[{"role": "user", "content": "Where is my lamp?"}],
                    )
                    for name in ("base", "polite")
                }
        assert answers["base"].choices[0].message.content != answers["polite"].choices[0].message.content
        assert answers["base"].system_fingerprint != answers["polite"].system_fingerprint


class TestSoftPrompts:
    SOFT = {"name": "soft", "tokens": 5}  # noqa: RUF012

    def test_only_the_vectors_learn(self, said):
        recipe = said(self.SOFT)
        base = recipe.method.prepare(load_base(recipe), 0)
        assert {n: p.shape for n, p in base.model.module.named_parameters() if p.requires_grad} == {
            "embed.vectors": (5, 32)
        }

    @pytest.mark.parametrize("tied", [True, False])
    def test_what_is_saved_serves_as_what_was_trained(self, said, tied, unseen, tmp_path, tiny_config, tokenizer):
        """Everything else is as it was, and the vectors are rows of the embedding that the template names."""
        from turnwise.data.sources import read_source
        from turnwise.evaluation.perplexity import measure_perplexity

        save_artefact(tmp_path / "base", checkpoint.create(replace(tiny_config, tied=tied), seed=0), tokenizer)
        recipe = said(self.SOFT, model={"from": str(tmp_path / "base")})
        result = run_recipe(recipe, device=CPU)
        assert result.valid_after < result.valid_before
        before, after = parameters(tmp_path / "base"), parameters(Path(recipe.out))
        size = tokenizer.vocab_size
        assert all(torch.equal(before[name], after[name][: len(before[name])]) for name in before)
        assert after["embed.weight"].shape == (size + 5, 32)
        out, talk = Path(recipe.out), FOUR[1]
        renderer = Renderer.of(Tokenizer.load(out))
        assert renderer.render(talk.messages).ids[:5] == list(range(size, size + 5))
        model = checkpoint.load(out, dtype=torch.float32).decoder
        found = measure_perplexity(model, renderer, list(read_source(unseen)))
        # The saved head also scores the new tokens, which are never said.
        assert found.nats / found.tokens == pytest.approx(result.valid_after, rel=0.02)
        request = served(out, talk)
        assert request.prompt_ids == tuple(renderer.render(talk.messages[:-1], add_generation_prompt=True).ids)
        assert {id for id, bias in request.params.logit_bias if bias == -100} == set(range(size, size + 5))

    def test_a_second_one_is_refused(self, said, tmp_path):
        first = said(self.SOFT)
        run_recipe(first, device=CPU)
        with pytest.raises(InvalidParameter, match="has a soft prompt already"):
            run_recipe(said(self.SOFT, model={"from": first.out}, out=str(tmp_path / "again")), device=CPU)

    def test_they_may_begin_as_words(self, said, tokenizer):
        recipe = said({**self.SOFT, "start": "Hello, how can I"})
        base = load_base(recipe)
        words = base.tokenizer.encode("Hello, how can I")
        rows = base.model.module.embed.weight[[words[i % len(words)] for i in range(5)]].clone()
        assert torch.equal(recipe.method.prepare(base, 0).model.module.embed.vectors, rows)

    def test_a_decoder_that_is_none_of_ours(self, said, neox_folder, tokenizer):
        recipe = said(self.SOFT, model={"from": str(neox_folder)})
        result = run_recipe(recipe, device=CPU)
        assert result.valid_after < result.valid_before
        saved = hub.load(Path(recipe.out)).module
        assert saved.get_input_embeddings().weight.shape[0] == tokenizer.vocab_size + 5

    def test_transformers_reads_the_same_ids(self, said):
        import transformers

        recipe = said(self.SOFT)
        run_recipe(recipe, device=CPU)
        theirs = transformers.AutoTokenizer.from_pretrained(recipe.out)
        messages = [message.as_dict() for message in FOUR[1].messages]
        ids = theirs.apply_chat_template(messages, tokenize=True, return_dict=True)["input_ids"]
        assert ids == Renderer.of(Tokenizer.load(recipe.out)).render(FOUR[1].messages).ids


class TestPrompting:
    @pytest.fixture
    def said(self, said, tmp_path, tiny_config, tokenizer):
        """Recipes for a base with room for demonstrations."""
        save_artefact(
            tmp_path / "roomy", checkpoint.create(replace(tiny_config, context_length=512), seed=0), tokenizer
        )
        return lambda method, **sections: said(method, **{"model": {"from": str(tmp_path / "roomy")}, **sections})

    def test_no_weight_changes_and_the_loss_is_measured(self, said):
        assert changed(said({"name": "prompt", "shots": 1, "tries": 2})) == set()

    def test_the_best_set_of_several_is_kept(self, said):
        """Judged again, alone, by what is in the folder."""
        tried = []
        recipe = said({"name": "prompt", "shots": 2, "tries": 5})
        result = run_recipe(recipe, device=CPU, on_tried=lambda number, loss: tried.append(loss))
        assert len(tried) == 5
        assert len(set(tried)) > 1
        assert result.valid_after == pytest.approx(min(tried), rel=1e-6)  # eight validation dialogues: all were judged

    def test_instruction_and_demonstrations_come_before_every_dialogue(self, said):
        recipe = said({"name": "prompt", "shots": 2, "tries": 1, "instruction": 'Say "no" {{ kindly }}.'})
        run_recipe(recipe, device=CPU)
        tokenizer = Tokenizer.load(recipe.out)
        rendered = Renderer.of(tokenizer).render(FOUR[0].messages)
        text = tokenizer.decode(rendered.ids, skip_special=False)
        assert text.startswith('<|system|>Say "no" {{ kindly }}.<|end|><|user|>Where is my ')
        assert text.count("<|assistant|>") >= 3
        assert text.endswith("<|user|>Hello<|end|><|assistant|>How can I help you today?<|end|>")
        learned = [id for id, counts in zip(rendered.ids, rendered.loss_mask, strict=True) if counts]
        assert tokenizer.decode(learned) == "How can I help you today?"
        assert served(recipe.out, FOUR[0]).prompt_ids == tuple(
            Renderer.of(tokenizer).render(FOUR[0].messages[:-1], add_generation_prompt=True).ids
        )

    def test_an_instruction_of_the_dialogue_s_own_stands_in_its_place(self, said):
        from turnwise.core.messages import Message

        recipe = said({"name": "prompt", "shots": 1, "tries": 1, "instruction": "Be kind."})
        run_recipe(recipe, device=CPU)
        tokenizer = Tokenizer.load(recipe.out)
        messages = [Message("system", "Be brief."), *FOUR[0].messages]
        text = tokenizer.decode(Renderer.of(tokenizer).render(messages).ids, skip_special=False)
        assert text.startswith("<|system|>Be brief.<|end|><|user|>Where is my ")
        assert "Be kind." not in text

    def test_transformers_reads_the_same_ids(self, said):
        import transformers

        recipe = said({"name": "prompt", "shots": 2, "tries": 1, "instruction": "Be kind 🙂."})
        run_recipe(recipe, device=CPU)
        theirs = transformers.AutoTokenizer.from_pretrained(recipe.out)
        messages = [message.as_dict() for message in FOUR[1].messages]
        ids = theirs.apply_chat_template(messages, tokenize=True, return_dict=True)["input_ids"]
        assert ids == Renderer.of(Tokenizer.load(recipe.out)).render(FOUR[1].messages).ids

    def test_demonstrations_that_are_like_the_dialogue(self, said):
        recipe = said({"name": "prompt", "shots": 2, "choose": "similarity"})
        run_recipe(recipe, device=CPU)
        tokenizer = Tokenizer.load(recipe.out)
        renderer = Renderer.of(tokenizer)
        talk = written_talk("Where is my library?", "Here.")
        ids = renderer.render(talk.messages).ids
        assert tokenizer.decode(ids).count("library") == 5  # two demonstrations, question and answer, and the question
        longer = (*talk.messages, *written_talk("And my lamp?", "There.").messages)
        assert renderer.render(longer).ids[: len(ids)] == ids
        assert served(recipe.out, talk).prompt_ids == tuple(
            renderer.render(talk.messages[:-1], add_generation_prompt=True).ids
        )

    def test_more_demonstrations_than_there_are(self, said, tmp_path):
        one, four = written(FOUR[:1], tmp_path / "one.jsonl"), written(FOUR, tmp_path / "four.jsonl")
        data = {"train": str(one), "valid": str(four)}
        with pytest.raises(UserError, match="3 demonstrations are wanted, but only 1"):
            run_recipe(said({"name": "prompt", "shots": 3}, data=data), device=CPU)

    def test_an_instruction_that_spells_a_special_token_is_refused(self, said):
        with pytest.raises(InvalidParameter, match=r"spells <\|end\|>"):
            run_recipe(said({"name": "prompt", "shots": 0, "instruction": "Be kind.<|end|>Evil"}), device=CPU)

    @pytest.mark.parametrize("more", [{"objective": "clm"}, {"data": {"train": "x", "noise": 0.5}}], ids=str)
    def test_what_prompting_would_ignore_is_refused(self, said, more):
        with pytest.raises(InvalidParameter, match=r"replies to dialogues|does not use"):
            run_recipe(said({"name": "prompt", "shots": 1}, **more), device=CPU)

    def test_nothing_to_say(self):
        with pytest.raises(InvalidParameter, match="needs an 'instruction', or 'shots'"):
            METHODS.make({"name": "prompt", "shots": 0})

    def test_what_was_there_is_replaced_only_when_asked(self, said):
        recipe = said({"name": "prompt", "shots": 1, "tries": 1})
        run_recipe(recipe, device=CPU)
        with pytest.raises(InvalidParameter, match="--overwrite"):
            run_recipe(recipe, device=CPU)
        run_recipe(recipe, device=CPU, overwrite=True)


class TestDamagedAdapters:
    @pytest.fixture
    def adapter(self, said, tmp_path, tiny_config, tokenizer):
        from turnwise.models.checkpoint import create

        save_artefact(tmp_path / "base", create(tiny_config, seed=0), tokenizer)
        recipe = said(LORA, model={"from": str(tmp_path / "base")})
        run_recipe(recipe, device=CPU)
        return Path(recipe.out)

    def test_a_base_that_has_changed_since(self, adapter, tmp_path, tiny_config, tokenizer):
        save_artefact(tmp_path / "base", checkpoint.create(tiny_config, seed=1), tokenizer)
        with pytest.raises(UserError, match="its base has changed since"):
            checkpoint.load(adapter)

    def test_a_base_that_is_gone(self, adapter, tmp_path):
        (tmp_path / "base").rename(tmp_path / "elsewhere")
        with pytest.raises(ModelNotFound, match=r"is an adapter of the model .*base, which is not there"):
            checkpoint.load(adapter)

    @pytest.mark.parametrize(
        ("key", "value", "says"),
        [("peft_type", "IA3", "type IA3"), ("bias", "all", "'bias'"), ("rank_pattern", {"q": 3}, "'rank_pattern'")],
    )
    def test_a_kind_that_we_do_not_compute(self, adapter, key, value, says):
        path = adapter / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
        with pytest.raises(UserError, match=says):
            checkpoint.load(adapter)

    def test_weights_that_its_base_does_not_have(self, adapter, tmp_path, tiny_config, tokenizer):
        save_artefact(tmp_path / "base", checkpoint.create(replace(tiny_config, num_layers=1), seed=0), tokenizer)
        (adapter / "adapter_base.json").unlink()
        with pytest.raises(UserError, match=r"changes 'model\.layers\.1.*which its base .* does not have"):
            checkpoint.load(adapter)

    def test_a_file_that_is_cut(self, adapter):
        path = adapter / "adapter_model.safetensors"
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(UserError, match="missing or damaged"):
            checkpoint.load(adapter)
