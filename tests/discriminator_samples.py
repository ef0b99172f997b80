"""Discriminators with random weights whose scores differ between replies."""

import torch

from turnwise.models import checkpoint
from turnwise.models.decoder_model import DecoderModel
from turnwise.training.methods.full import FullMethod
from turnwise.training.methods.lora import LoraMethod
from turnwise.training.model_bundle import ModelBundle
from turnwise.training.rollouts.discriminator import copy_of_generator, pretrained_encoder

CPU = torch.device("cpu")


def make_copy(model: DecoderModel, tokenizer):
    """A discriminator that is a copy of a model."""
    bundle = ModelBundle(model, tokenizer, None)
    return _with_spread(copy_of_generator(bundle, FullMethod(), learning_rate=1e-3, seed=0))


def make_adapter(folder, tokenizer):
    """A discriminator that is a LoRA adapter of the model in a folder."""
    method = LoraMethod(rank=2)
    bundle = method.prepare(ModelBundle(checkpoint.load(folder, dtype=torch.float32), tokenizer, None, folder), seed=0)
    discriminator = copy_of_generator(bundle, method, learning_rate=1e-3, seed=0)
    with torch.no_grad():
        for name, parameter in discriminator.model.module.named_parameters():
            if name.endswith("lora_B"):
                parameter.normal_(std=0.2)
    return _with_spread(discriminator)


def make_encoder(folder, tokenizer):
    """A discriminator on the encoder in a folder, for prompts of a tokenizer."""
    return _with_spread(pretrained_encoder(str(folder), tokenizer, learning_rate=1e-3, seed=0, device=CPU))


def _with_spread(discriminator):
    with torch.no_grad():
        discriminator.model.head.linear.weight *= 50
    return discriminator
