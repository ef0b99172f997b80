"""Fixtures of the training tests: a small base model, dialogues and recipes of a few steps."""

import pytest
from training_dialogues import small_talk, write_chats


@pytest.fixture(scope="session")
def chats(tmp_path_factory):
    """Forty dialogues."""
    return write_chats(tmp_path_factory.mktemp("data") / "chats.jsonl", small_talk(40))


@pytest.fixture(scope="session")
def valid_chats(tmp_path_factory):
    """Eight validation dialogues."""
    return write_chats(tmp_path_factory.mktemp("data") / "valid_chats.jsonl", small_talk(48)[40:])


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory, tiny_config, tokenizer, one_thread):
    """A model folder with its own generation config."""
    from turnwise.models.checkpoint import create
    from turnwise.training.export import export_model

    folder = tmp_path_factory.mktemp("models") / "base"
    export_model(folder, create(tiny_config, seed=0), tokenizer, generation={"do_sample": True, "top_k": 7})
    return folder


@pytest.fixture(scope="session")
def untrained(tiny_config, one_thread):
    """The base model; tests must not train it."""
    from turnwise.models.checkpoint import create

    return create(tiny_config, seed=0)


@pytest.fixture
def values(base_folder, chats, valid_chats, tmp_path):
    """Values of a recipe: four optimizer steps on dialogues, with validation."""
    return {
        "model": {"from": str(base_folder)},
        "data": {"train": str(chats), "valid": str(valid_chats)},
        "training": {
            "max_seq_len": 64, "batch_size": 4, "max_steps": 4, "eval_steps": 2, "save_steps": 2, "seed": 3,
            "dtype": "float32",  # "auto" would depend on the machine
        },
        "out": str(tmp_path / "out"),
    }  # fmt: skip


@pytest.fixture
def recipe(values):
    """`recipe(batch_size=2, …)`: the recipe with changed training settings; `data=…`, `model=…` replace a section."""
    from turnwise.training.recipe import parse_recipe

    def make(**changes):
        sections = {
            name: changes.pop(name) for name in ("objective", "method", "model", "data", "out") if name in changes
        }
        recipe_values = {**values, **sections, "training": {**values["training"], **changes}}
        return parse_recipe(recipe_values, origin="test")

    return make


@pytest.fixture
def trainer(recipe, tmp_path):
    """`trainer(recipe, hooks)`: a trainer in the work folder `work`."""
    from turnwise.training.examples.load_datasets import load_datasets
    from turnwise.training.launch.prepare import load_prepared_base
    from turnwise.training.plan import make_plan
    from turnwise.training.trainer import Trainer

    def make(recipe, hooks=(), work=tmp_path / "work"):
        base = load_prepared_base(recipe)
        data = load_datasets(recipe, base.renderer, base.model)
        work.mkdir(exist_ok=True)
        return Trainer(make_plan(recipe, base, data, work=work), hooks)

    return make


@pytest.fixture
def no_loss_plot(monkeypatch):
    """Runs do not plot the loss, which takes longer than a tiny run."""
    from turnwise.training import loggers as watch

    monkeypatch.setattr(watch, "plot_loss", lambda *_, **__: None)


@pytest.fixture
def method_recipe(values):
    """`method_recipe(method, …)`: a recipe with this method and a high learning rate."""

    from turnwise.training.recipe import parse_recipe

    def make(method, **sections):
        changes = {"max_seq_len": 128, "learning_rate": 0.02, "max_steps": 4, "early_stopping_patience": 0}
        training = {**values["training"], **changes}
        return parse_recipe({**values, "training": training, "method": method, **sections}, origin="test")

    return make


@pytest.fixture
def gpt2_folder(tmp_path, tokenizer):
    """A GPT-2 folder: its files have transposed matrices, and a fused one for query, key and value."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=tokenizer.vocab_size, n_positions=128, n_embd=32, n_layer=2, n_head=4)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    tokenizer.save(tmp_path / "gpt2")
    return tmp_path / "gpt2"


@pytest.fixture
def neox_folder(tmp_path, tokenizer):
    """A decoder that is loaded by transformers."""
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=48, max_position_embeddings=128, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
    )  # fmt: skip
    GPTNeoXForCausalLM(config).save_pretrained(tmp_path / "neox")
    tokenizer.save(tmp_path / "neox")
    return tmp_path / "neox"
