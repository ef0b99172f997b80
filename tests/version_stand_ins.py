"""Parts for tests of model versions: a registry that can fail, and adapters with random weights."""

from turnwise.core.errors import Unavailable
from turnwise.core.model_versions import NewVersion
from turnwise.store.sqlite.version_store import SqliteModelRegistry


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
