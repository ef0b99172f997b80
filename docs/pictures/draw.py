"""Draws what each parameter does to the probabilities of the next word: python docs/pictures/draw.py [NAME ...]

The numbers are an example distribution, put through the engine's warpers and processors.
"""

import sys
from pathlib import Path

import matplotlib
import torch

from turnwise.core.inference import GenerationRequest
from turnwise.core.parameters import GenerationParams
from turnwise.engine.sampling.processors import start_processors
from turnwise.engine.sampling.warpers import load_warpers

matplotlib.use("Agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
WORDS = ["tea", "coffee", "water", "milk", "juice", "soup", "rain", "sand"]
LOGITS = [3.0, 2.6, 2.0, 1.2, 0.6, 0.0, -1.0, -2.0]
SAID = [0, 0, 1]  # "tea, tea, coffee" stand in the answer already, where that matters

# For each picture the settings beside the plain distribution.
PICTURES: dict[str, list[dict[str, object]]] = {
    "temperature": [{"temperature": 0.5}, {"temperature": 1.8}],
    "top_k": [{"top_k": 2}, {"top_k": 5}],
    "top_p": [{"top_p": 0.5}, {"top_p": 0.9}],
    "min_p": [{"min_p": 0.5}, {"min_p": 0.1}],
    "typical_p": [{"typical_p": 0.3}, {"typical_p": 0.8}],
    "epsilon_cutoff": [{"epsilon_cutoff": 0.02}, {"epsilon_cutoff": 0.2}],
    "eta_cutoff": [{"eta_cutoff": 0.02}, {"eta_cutoff": 0.2}],
    "top_n_sigma": [{"top_n_sigma": 0.5}, {"top_n_sigma": 1.0}],
    "presence_penalty": [{"presence_penalty": 1.0}, {"presence_penalty": -1.0}],
    "frequency_penalty": [{"frequency_penalty": 1.0}, {"frequency_penalty": -1.0}],
    "repetition_penalty": [{"repetition_penalty": 1.5}, {"repetition_penalty": 0.8}],
    "logit_bias": [{"logit_bias": {2: 2}}, {"logit_bias": {0: -100}}],
}


def shaped(settings: dict[str, object]) -> list[float]:
    """The probabilities under these settings."""
    params = GenerationParams(**settings)  # type: ignore[arg-type]
    logits_1V = torch.tensor([LOGITS])
    for state in start_processors(GenerationRequest((7,), params, 9, frozenset())):
        for token in SAID:
            state.accept(token)
        state.apply(logits_1V[0])
    for name, rule in load_warpers().items():
        logits_1V = rule.apply(logits_1V, torch.tensor([getattr(params, name)]))
    return logits_1V.softmax(dim=1)[0].tolist()


def label(settings: dict[str, object]) -> str:
    """The settings as a person would write them."""
    [(name, value)] = settings.items()
    if isinstance(value, dict):
        [(token, bias)] = value.items()
        return f"{name} {WORDS[token]} {bias:+}"
    return f"{name} {value}"


def draw(name: str, variants: list[dict[str, object]]) -> None:
    """One picture: the plain distribution in grey behind each variant's."""
    figure, axes = plt.subplots(1, len(variants), figsize=(7.2, 2.4), sharey=True, layout="constrained")
    for axis, settings in zip(axes, variants, strict=True):
        axis.bar(WORDS, shaped({}), width=0.85, color="#d4d4d4", label="plain")
        axis.bar(WORDS, shaped(settings), width=0.5, color="#2f6fdb", label=label(settings))
        axis.tick_params(axis="x", rotation=45)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize=8)
    axes[0].set_ylabel("probability")
    figure.savefig(HERE / f"{name}.png", dpi=100, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    for picture in sys.argv[1:] or PICTURES:
        draw(picture, PICTURES[picture])
