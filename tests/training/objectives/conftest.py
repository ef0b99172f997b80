"""A renderer with the tokens of all objectives, and new models."""

from dataclasses import replace

import pytest
from objective_runs import FAMILY, SIZES, mlm, span

from turnwise.models import transformers_checkpoint
from turnwise.text.rendering.renderer import Renderer
from turnwise.training.model_bundle import ModelBundle


@pytest.fixture(scope="module")
def renderer(tokenizer):
    return Renderer.from_tokenizer(tokenizer.with_special_tokens([*mlm.special_tokens(), *span.special_tokens()[:8]]))


@pytest.fixture
def model_for(renderer, tiny_config, one_thread):
    """`model_for(objective)`: a new model of the kind that it trains, with the same weights every time."""
    from turnwise.models.checkpoint import create

    def make(objective):
        kind = min(objective.MODEL_KINDS)  # a decoder, if there is a choice
        tokenizer = renderer.tokenizer
        if kind == "decoder":
            model = create(replace(tiny_config, vocab_size=tokenizer.vocab_size), seed=0)
            return objective.add_head(ModelBundle(model, tokenizer, None), seed=0).model
        sizes = transformers_checkpoint.ModelSizes(tokenizer.vocab_size, *SIZES.values())
        return transformers_checkpoint.create(
            FAMILY[kind], sizes, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, seed=0
        )

    return make
