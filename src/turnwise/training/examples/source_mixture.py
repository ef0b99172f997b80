"""How much an epoch shows of each source, and how much is rehearsed beside them."""

from collections.abc import Sequence

from turnwise.training.examples.shards import Shard
from turnwise.training.launch.auto_hyperparameters import EPOCHS
from turnwise.training.recipe import DataSource, Recipe


def repeats_of(sources: Sequence[DataSource], shards: Sequence[Shard]) -> list[float]:
    """How often an epoch shows each source: as often as it says, or so that their tokens are in the given ratio.

    With weights, an epoch shows once the source that there is least of for its weight's sake, and less of the others.
    """
    if sources[0].weight is None:
        return [source.repeat for source in sources]
    wanted = [(source.weight or 0.0) / max(1, shard.tokens) for source, shard in zip(sources, shards, strict=True)]
    most = max(share for share, shard in zip(wanted, shards, strict=True) if len(shard))
    return [share / most for share in wanted]


def replay_tokens_per_epoch(recipe: Recipe, train: Sequence[Shard], repeats: Sequence[float]) -> float:
    """Tokens that an epoch rehearses, for its share beside those of the sources."""
    own = sum(shard.tokens * times for shard, times in zip(train, repeats, strict=True))
    return own * recipe.data.rehearse / (1 - recipe.data.rehearse)


def rehearsed_in_all(recipe: Recipe, train: Sequence[Shard]) -> float:
    """Tokens that a whole run rehearses, as far as is known before anything is settled for it."""
    said = recipe.training
    if said.max_steps is not None:
        return recipe.data.rehearse * said.max_steps * said.rows * said.settled_row_length
    effort = None if "epochs" in said.model_fields_set else said.effort
    epochs = EPOCHS[effort][0] if effort else said.epochs
    return epochs * replay_tokens_per_epoch(recipe, train, repeats_of(recipe.data.train, train))
