"""A run in which no weight learns: a prompt is found, and the model folder says it before every dialogue."""

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from random import Random

import torch

from turnwise.core.errors import InvalidParameter
from turnwise.training.device import default_device
from turnwise.training.examples.holdout import read_dialogues
from turnwise.training.hooks import TrainingResult
from turnwise.training.launch.base_model_loader import load_base_model
from turnwise.training.launch.finish_run import write_run_results
from turnwise.training.launch.reply_samples import (
    NUM_SAMPLES,
    generate_replies,
    last_reply,
    pair_samples,
    save_samples_before,
)
from turnwise.training.launch.run_dir import check_run_dir
from turnwise.training.methods.prompt import MOST, PromptScorer
from turnwise.training.methods.prompt import Method as Prompt
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.recipe import Recipe

SCORING_OBJECTIVES = ("sft", "seq2seq")  # objectives whose loss says how well a prompt does


def run_prompt_search(
    recipe: Recipe,
    method: Prompt,
    *,
    overwrite: bool,
    on_item: Callable[[], None],
    on_tried: Callable[[int, float], None],
    device: torch.device | None,
) -> TrainingResult:
    """Find a prompt as the recipe says and write the model folder. Raises as `run_recipe` does."""
    if OBJECTIVES.plugin_name(recipe.objective) not in SCORING_OBJECTIVES:
        raise InvalidParameter("objective", "Prompts are compared by the replies to dialogues: 'sft', or 'seq2seq'.")
    ignored = [name for name in ("test", "general") if getattr(recipe.data, name)] + [
        name for name in ("noise", "rehearse") if getattr(recipe.data, name)
    ]
    if ignored:
        raise InvalidParameter(
            f"data.{ignored[0]}", f"The method 'prompt' does not use 'data.{ignored[0]}': leave it out."
        )
    work = check_run_dir(recipe, overwrite=overwrite, restart=True)
    chosen = device or default_device()
    base = load_base_model(recipe)
    base.model.module.to(chosen)
    train, valid = read_dialogues(recipe, on_item)
    began = time.perf_counter()
    size = recipe.training.micro_rows
    whole = PromptScorer(recipe.objective, valid, size, chosen)
    before = whole.loss(base)
    some = replace(whole, dialogues=Random(recipe.training.seed).sample(valid, min(MOST, len(valid))))
    prompted = method.search_prompt(base, train, some, recipe.training.seed, on_tried)
    asked = [talk for talk in valid if last_reply(talk)][:NUM_SAMPLES]
    work.mkdir(parents=True, exist_ok=True)
    save_samples_before(work, generate_replies(base.model, base.renderer, asked))
    after = whole.loss(prompted)
    result = TrainingResult(
        steps=0, best_step=0, stopped_early=False, seconds=time.perf_counter() - began, useful_tokens=0,
        valid_before=before, valid_after=after, test_before=None, test_after=None,
        samples=pair_samples(work, asked, generate_replies(prompted.model, prompted.renderer, asked)),
    )  # fmt: skip
    write_run_results(recipe, prompted, result, None, work)
    shutil.rmtree(work, ignore_errors=True)
    return result
