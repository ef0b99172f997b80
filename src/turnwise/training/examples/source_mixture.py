"""Proportions of the data sources in an epoch, and the amount of replayed data."""

from collections.abc import Sequence

from turnwise.training.examples.shards import ExampleShard
from turnwise.training.launch.auto_hyperparameters import PRESET_EPOCHS
from turnwise.training.recipe import Recipe
from turnwise.training.recipe_sections import SourceConfig


def epoch_repeats(sources: Sequence[SourceConfig], shards: Sequence[ExampleShard]) -> list[float]:
    """Return how often an epoch shows each source.

    With weights, token counts per epoch are proportional to the weights: the source that is scarcest for its weight is
    shown once, the others in part.
    """
    if sources[0].weight is None:
        return [source.repeat for source in sources]
    ratios = [(source.weight or 0.0) / max(1, shard.tokens) for source, shard in zip(sources, shards, strict=True)]
    largest = max(ratio for ratio, shard in zip(ratios, shards, strict=True) if len(shard))
    return [ratio / largest for ratio in ratios]


def replay_tokens_per_epoch(recipe: Recipe, train: Sequence[ExampleShard], repeats: Sequence[float]) -> float:
    """Return the number of replayed tokens per epoch, so that they are the share `data.replay_ratio` of all tokens."""
    tokens = sum(shard.tokens * times for shard, times in zip(train, repeats, strict=True))
    return tokens * recipe.data.replay_ratio / (1 - recipe.data.replay_ratio)


def total_replay_tokens(recipe: Recipe, train: Sequence[ExampleShard]) -> float:
    """Estimate the number of replayed tokens of a run, before its hyperparameters are final."""
    settings = recipe.training
    if settings.max_steps is not None:
        return recipe.data.replay_ratio * settings.max_steps * settings.batch_size * settings.resolved_max_seq_len
    preset = None if "epochs" in settings.model_fields_set else settings.preset
    epochs = PRESET_EPOCHS[preset][0] if preset else settings.epochs
    return epochs * replay_tokens_per_epoch(recipe, train, epoch_repeats(recipe.data.train, train))
