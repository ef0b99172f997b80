"""How much an epoch shows of each source, and how much is rehearsed beside them."""

from collections.abc import Sequence

from turnwise.training.examples.shards import ExampleShard
from turnwise.training.launch.auto_hyperparameters import PRESET_EPOCHS
from turnwise.training.recipe import Recipe, SourceConfig


def epoch_repeats(sources: Sequence[SourceConfig], shards: Sequence[ExampleShard]) -> list[float]:
    """How often an epoch shows each source: as often as it says, or so that their tokens are in the given ratio.

    With weights, an epoch shows once the source that there is least of for its weight's sake, and less of the others.
    """
    if sources[0].weight is None:
        return [source.repeat for source in sources]
    wanted = [(source.weight or 0.0) / max(1, shard.tokens) for source, shard in zip(sources, shards, strict=True)]
    most = max(share for share, shard in zip(wanted, shards, strict=True) if len(shard))
    return [share / most for share in wanted]


def replay_tokens_per_epoch(recipe: Recipe, train: Sequence[ExampleShard], repeats: Sequence[float]) -> float:
    """Tokens that an epoch rehearses, for its share beside those of the sources."""
    own = sum(shard.tokens * times for shard, times in zip(train, repeats, strict=True))
    return own * recipe.data.rehearse / (1 - recipe.data.rehearse)


def total_replay_tokens(recipe: Recipe, train: Sequence[ExampleShard]) -> float:
    """Tokens that a whole run rehearses, as far as is known before anything is settled for it."""
    said = recipe.training
    if said.max_steps is not None:
        return recipe.data.rehearse * said.max_steps * said.rows * said.settled_row_length
    effort = None if "epochs" in said.model_fields_set else said.effort
    epochs = PRESET_EPOCHS[effort][0] if effort else said.epochs
    return epochs * replay_tokens_per_epoch(recipe, train, epoch_repeats(recipe.data.train, train))
