"""Parts for tests of model versions: a registry that can fail, and adapters with random weights."""

from contextlib import contextmanager

from turnwise.core.errors import InvalidData, Unavailable
from turnwise.core.model_versions import NewVersion
from turnwise.store.sqlite.version_store import SqliteModelRegistry
from turnwise.testing import ScriptedChatService


class BreakableRegistry(SqliteModelRegistry):
    """A registry in memory. With `is_broken`, every method raises."""

    def __init__(self):
        self.is_broken = False
        super().__init__(None)

    def __getattribute__(self, name):
        attribute = super().__getattribute__(name)
        if callable(attribute) and not name.startswith("_") and self.is_broken:
            raise Unavailable("The registry is busy.")
        return attribute


class UncheckedControl:
    """Changes states without a look at weights, which scripted services do not have."""

    def __init__(self, registry):
        self.registry = registry

    def change_state(self, model, number, state, *, reason, share=0.0):
        return self.registry.change_state(model, number, state, actor="person", reason=reason, share=share)

    def roll_back(self, model, *, reason):
        return self.registry.roll_back(model, actor="person", reason=reason)


def open_scripted_version(store, delay=0.0):
    """A function that opens a version as a chat service that says its number; one with the source "damaged" fails.

    Requests wait for `delay` seconds before each chunk.
    """

    @contextmanager
    def open_version(version):
        if version.content.source == "damaged":
            raise InvalidData("The weights are damaged.")
        service = ScriptedChatService([f"I am {version.number}"], name=version.content.model, store=store, delay=delay)
        service.fingerprint = f"fp_{version.number}"
        yield service

    return open_version


def registry_with(model, *sources, digests=None):
    """A registry with a version of `model` for each source; the first one serves."""
    registry = BreakableRegistry()
    for number, source in enumerate(sources):
        digest = f"digest-{number + 1}" if digests is None else digests[number]
        registry.add(NewVersion(model, str(source), digest), reason="It was added.")
    return registry


def random_adapter(folder, base, *, seed, strength=0.5):
    """Write a LoRA adapter with random weights, which answers differently from its base."""
    import torch

    from turnwise.models.adapters import LoraWeights, save_adapter
    from turnwise.models.checkpoint import read_decoder_config

    config, generator = read_decoder_config(base), torch.Generator().manual_seed(seed)
    folder.mkdir()

    def random(*shape):
        return strength * torch.randn(*shape, generator=generator)

    inputs, outputs = config.hidden_size, config.num_heads * config.head_dim
    weights = {
        f"model.layers.{layer}.self_attn.q_proj": LoraWeights(random(4, inputs), random(outputs, 4))
        for layer in range(config.num_layers)
    } | {
        f"model.layers.{layer}.mlp.down_proj": LoraWeights(random(4, config.intermediate_size), random(inputs, 4))
        for layer in range(config.num_layers)
    }
    save_adapter(folder, weights, base=base, rank=4, alpha=8, dropout=0.0, task_type="CAUSAL_LM")
    return folder
