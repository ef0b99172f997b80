"""Stand-ins for tests of model versions: a registry in memory, scripted versions, and adapters with random weights."""

import time
from contextlib import contextmanager
from dataclasses import replace

from turnwise.core.errors import InvalidData, NotFound, Unavailable, VersionConflict
from turnwise.core.model_versions import (
    ALLOWED_STATES,
    TRANSITIONS,
    ModelVersion,
    NewVersion,
    VersionEvent,
    VersionOutcomes,
    VersionRouting,
)
from turnwise.testing import ScriptedChatService

SINGLE_STATES = ("shadow", "canary", "serving")


class InMemoryRegistry:
    """Implements `core.model_versions.ModelRegistry`. With `is_broken`, every method raises."""

    def __init__(self):
        self.versions, self.log, self.counts = {}, [], {}
        self.is_broken = False

    def __getattribute__(self, name):
        attribute = object.__getattribute__(self, name)
        if callable(attribute) and not name.startswith("_") and self.is_broken:
            raise Unavailable("The registry is busy.")
        return attribute

    def add(self, version, *, reason, actor="person"):
        number = len(self.list(version.model)) + 1
        added = ModelVersion(number, time.time(), "candidate", version)
        self.versions[version.model, number] = added
        self._record(added, None, "candidate" if number > 1 else "serving", 0.0, actor, reason)
        return self.get(version.model, number)

    def get(self, model, number):
        if (model, number) not in self.versions:
            raise NotFound(f"There is no version {number} of {model}.")
        return self.versions[model, number]

    def list(self, model):
        return [version for (name, _), version in self.versions.items() if name == model]

    def models(self):
        return sorted({model for model, _ in self.versions})

    def change_state(self, model, number, state, *, actor, reason, share=0.0):
        version = self.get(model, number)
        if state not in ALLOWED_STATES[actor] or (state not in TRANSITIONS[version.state] and state != "canary"):
            raise VersionConflict(f"{version.reference} is {version.state} and cannot become {state}.")
        for holder in self.list(model):
            if state in SINGLE_STATES and holder.state == state and holder.number != number:
                self._record(holder, state, "retired", 0.0, actor, reason)
        self._record(version, version.state, state, share, actor, reason)
        self.counts.pop(model, None)
        return self.get(model, number)

    def roll_back(self, model, *, actor, reason):
        served = [event.version for event in self.log if event.model == model and event.state == "serving"]
        if len(served) < 2:
            raise VersionConflict("No version served before.")
        return self.change_state(model, served[-2], "serving", actor=actor, reason=reason)

    def routing(self, model):
        by_state = {version.state: version for version in self.list(model)}
        if "serving" not in by_state:
            return None
        return VersionRouting(self.revision(), by_state["serving"], by_state.get("canary"), by_state.get("shadow"))

    def events(self, model=None, *, after=0):
        return [event for event in self.log if event.number > after and model in (None, event.model)]

    def revision(self):
        return len(self.log)

    def record_outcomes(self, model, outcomes):
        counts = self.counts.setdefault(model, {})
        for number, more in outcomes.items():
            counts[number] = counts.get(number, VersionOutcomes()) + more

    def outcomes(self, model):
        return dict(self.counts.get(model, {}))

    def close(self):
        pass

    def _record(self, version, previous, state, share, actor, reason):
        model = version.content.model
        self.versions[model, version.number] = replace(version, state=state, share=share)
        self.log.append(
            VersionEvent(len(self.log) + 1, time.time(), model, version.number, previous, state, share, actor, reason)
        )


class UncheckedControl:
    """Changes states without a look at weights, which scripted services do not have."""

    def __init__(self, registry):
        self.registry = registry

    def change_state(self, model, number, state, *, reason, share=0.0):
        return self.registry.change_state(model, number, state, actor="person", reason=reason, share=share)

    def roll_back(self, model, *, reason):
        return self.registry.roll_back(model, actor="person", reason=reason)


def open_scripted_version(store):
    """A function that opens a version as a chat service that says its number; one with the source "damaged" fails."""

    @contextmanager
    def open_version(version):
        if version.content.source == "damaged":
            raise InvalidData("The weights are damaged.")
        service = ScriptedChatService([f"I am {version.number}"], name=version.content.model, store=store)
        service.fingerprint = f"fp_{version.number}"
        yield service

    return open_version


def registry_with(model, *sources, digests=None):
    """A registry with a version of `model` for each source; the first one serves."""
    registry = InMemoryRegistry()
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
