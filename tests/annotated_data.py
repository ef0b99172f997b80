"""A random encoder, and small files of tagged and labelled sentences that it learns in seconds."""

import json
import random

import torch

from turnwise.models.adapters import LoraWeights, save_adapter
from turnwise.models.classifier import add_classifier
from turnwise.models.encoder_config import EncoderConfig
from turnwise.models.encoder_model import EncoderModel
from turnwise.training.export import export_model

PEOPLE, PLACES, VERBS = ["Ada", "Ben", "Cleo", "Dan"], ["Rome", "Oslo", "Lima", "New York"], ["likes", "left", "saw"]
SPLITS = (("train", 160), ("valid", 40))


def write_encoder(folder, tokenizer, num_heads=4):
    """Write a random encoder with a tokenizer. With 3 heads the compiled library computes it, with 4 torch does."""
    export_model(folder, EncoderModel.create(_encoder_config(tokenizer, num_heads), seed=0), tokenizer)
    return folder


def _encoder_config(tokenizer, num_heads):
    return EncoderConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=48, num_layers=2, num_heads=num_heads, intermediate_size=96,
        num_positions=64,
    )  # fmt: skip


def write_classifier(folder, tokenizer, config, num_heads=4):
    """Write a random encoder with a random classification head whose probabilities differ between texts.

    With 3 heads the compiled library computes it, with 4 torch does.
    """
    encoder = EncoderModel.create(_encoder_config(tokenizer, num_heads), seed=0)
    classifier = add_classifier(encoder, config, dropout=0.0, seed=0)
    with torch.no_grad():
        classifier.head.linear.weight *= 50
    export_model(folder, classifier, tokenizer)
    return folder


def write_adapter_classifier(folder, base, config):
    """Write a random LoRA adapter of an encoder, with a random classification head."""
    torch.manual_seed(0)
    size = EncoderModel.load(base).encoder.config.hidden_size
    weights = {"encoder.layer.0.attention.self.query": LoraWeights(torch.randn(2, size), torch.randn(size, 2))}
    folder.mkdir(parents=True)
    save_adapter(folder, weights, base=base, rank=2, alpha=2, dropout=0, task_type="")
    classifier = add_classifier(EncoderModel.load(base), config, dropout=0.0, seed=0)
    with torch.no_grad():
        classifier.head.linear.weight *= 50
    classifier.save_head(folder)
    return folder


def write_tagged(folder):
    """Write sentences about people and places in CoNLL columns, as train and valid files."""
    rng = random.Random(0)
    for name, count in SPLITS:
        lines = []
        for _ in range(count):
            place = rng.choice(PLACES).split()
            lines += [f"{rng.choice(PEOPLE)} B-PER", f"{rng.choice(VERBS)} O"]
            lines += [f"{word} {tag}" for word, tag in zip(place, ["B-LOC", "I-LOC"], strict=False)]
            lines += [". O", ""]
        (folder / f"{name}.conll").write_text("\n".join(lines) + "\n")
    return folder


def write_labelled(folder):
    """Write texts with one of two labels as JSON lines, as train and valid files."""
    rng = random.Random(0)
    for name, count in SPLITS:
        rows = []
        for _ in range(count):
            label, verb = rng.choice([("good", "likes"), ("bad", "left")])
            rows.append({"text": f"{rng.choice(PEOPLE)} {verb} {rng.choice(PLACES)}.", "label": label})
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def train_classifier(folder, data, task, tokenizer, steps):
    """Train a classifier on a random encoder for some steps."""
    from turnwise.training.launch.run_recipe import run_recipe
    from turnwise.training.recipe import parse_recipe

    encoder = folder.with_name(f"{folder.name}-encoder")
    values = {
        "objective": task, "method": "full", "model": {"from": str(write_encoder(encoder, tokenizer))},
        "out": str(folder), "data": {"train": str(data)},
        "training": {"max_steps": steps, "batch_size": 2, "max_seq_len": 64, "learning_rate": 3e-3},
    }  # fmt: skip
    run_recipe(parse_recipe(values, origin="test"))
    return folder
