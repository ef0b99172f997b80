"""A run of the method `prompt`: no weight is trained; the chat template gets the best prompt."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import torch

from turnwise.core.errors import InvalidParameter
from turnwise.core.exchanges import last_reply
from turnwise.training.device import default_device
from turnwise.training.examples.holdout import read_dialogues
from turnwise.training.hooks import TrainerHook, TrainingResult
from turnwise.training.launch.base_model_loader import load_base_model
from turnwise.training.launch.export_run import write_run_results
from turnwise.training.launch.reply_samples import (
    NUM_SAMPLES,
    generate_replies,
    pair_samples,
    save_samples_before,
)
from turnwise.training.methods.prompt import MAX_SCORED_DIALOGUES, PromptMethod, PromptScorer
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.recipe import Recipe

SCORING_OBJECTIVES = ("sft", "seq2seq")  # objectives whose loss can score a prompt


def run_prompt_search(
    recipe: Recipe,
    method: PromptMethod,
    work: Path,
    *,
    hooks: Sequence[TrainerHook] = (),
    device: torch.device | None = None,
) -> TrainingResult:
    """Search a prompt and write the model folder.

    Args:
        recipe: names the model, the data and the output folder.
        method: options of the search.
        work: folder of the run's files.
        hooks: receive every row of data and every scored candidate.
        device: device of the model; None uses a GPU if there is one.

    Raises:
        InvalidParameter: the objective or an option does not apply to prompts.
        UserError, SaveFailed: as `run_recipe` does.
    """
    if OBJECTIVES.plugin_name(recipe.objective) not in SCORING_OBJECTIVES:
        raise InvalidParameter(
            "objective", "The method 'prompt' scores replies to dialogues: use the objective 'sft' or 'seq2seq'."
        )
    unused = [name for name in ("test", "retention", "typo_ratio", "replay_ratio") if getattr(recipe.data, name)]
    if unused:
        raise InvalidParameter(f"data.{unused[0]}", f"The method 'prompt' does not use 'data.{unused[0]}': remove it.")
    device = device or default_device()
    base = load_base_model(recipe)
    base.model.module.to(device)
    train, valid = read_dialogues(recipe, hooks)
    start = time.perf_counter()
    scorer = PromptScorer(recipe.objective, valid, recipe.training.micro_batch_size, device)
    before = scorer.loss(base)
    # Candidates are compared on a random part of the validation data; the result is measured on all of it.
    scored = Random(recipe.training.seed).sample(valid, min(MAX_SCORED_DIALOGUES, len(valid)))
    candidate_scorer = replace(scorer, dialogues=scored)
    prompted = method.search_prompt(base, train, candidate_scorer, recipe.training.seed, hooks)
    samples = [dialogue for dialogue in valid if last_reply(dialogue)][:NUM_SAMPLES]
    work.mkdir(parents=True, exist_ok=True)
    save_samples_before(work, generate_replies(base.model, base.renderer, samples))
    after = scorer.loss(prompted)
    result = TrainingResult(
        steps=0, best_step=0, stopped_early=False, seconds=time.perf_counter() - start, useful_tokens=0,
        valid_before=before, valid_after=after, test_before=None, test_after=None,
        samples=pair_samples(work, samples, generate_replies(prompted.model, prompted.renderer, samples)),
    )  # fmt: skip
    write_run_results(recipe, prompted, result, None, work)
    shutil.rmtree(work, ignore_errors=True)
    return result
