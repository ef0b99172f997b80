"""The dialogues of a recipe themselves, and on which side each of them is: to learn from, or held out."""

import hashlib
from collections.abc import Callable, Iterator
from itertools import islice

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation
from turnwise.data.fingerprint import near_duplicate_key
from turnwise.data.sources import Record
from turnwise.training.examples.recipe_sources import open_source
from turnwise.training.launch.reply_samples import last_reply
from turnwise.training.recipe import Recipe


def read_dialogues(
    recipe: Recipe, on_item: Callable[[], None] = lambda: None
) -> tuple[list[Conversation], list[Conversation]]:
    """The dialogues themselves, to learn from and held out, for methods that show them to the model.

    Raises:
        InvalidData: a bad row (unless the recipe skips them), or nothing held out.
    """
    train: list[Conversation] = []
    valid: list[Conversation] = []
    fraction = 0.0 if recipe.data.valid else recipe.data.valid_fraction
    for held_out, sources in ((False, recipe.data.train), (True, recipe.data.valid)):
        for wanted in sources:
            source = open_source(wanted, skip_bad=recipe.data.skip_bad)
            for _, item in islice(source.rows(), wanted.limit):
                on_item()
                if isinstance(item, Conversation) and any(message.role == "assistant" for message in item.messages):
                    aside = held_out or (bool(fraction) and split_position(item, recipe.training.seed) < fraction)
                    (valid if aside else train).append(item)
    if not valid:
        raise InvalidData("Prompts are compared on validation dialogues, and there are none: name some, or more data.")
    return train, valid


def held_out_dialogues(
    recipe: Recipe, most: int, usable: Callable[[Conversation], bool] = lambda _: True
) -> list[Conversation]:
    """At most so many usable dialogues that a run does not learn from: test data, or else what it is validated on."""
    named = recipe.data.test or recipe.data.valid
    fraction = 0.0 if named else recipe.data.valid_fraction

    def found() -> Iterator[Conversation]:
        for wanted in named or recipe.data.train:
            source = open_source(wanted, skip_bad=recipe.data.skip_bad)
            for _, item in islice(source.rows(), wanted.limit):
                aside = bool(named) or (bool(fraction) and split_position(item, recipe.training.seed) < fraction)
                if aside and isinstance(item, Conversation) and last_reply(item) and usable(item):
                    yield item

    return list(islice(found(), most))


def split_position(item: Record, seed: int) -> float:
    """A number in [0, 1) that depends on the content alone, so a conversation stays on its side as files grow.

    Conversations that differ in case or punctuation only are on the same side.
    """
    digest = hashlib.sha256(f"{seed}\n{near_duplicate_key(item)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
