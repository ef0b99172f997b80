"""Parses the sources of a recipe and builds their examples."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from random import Random

from turnwise.core.errors import InvalidData, UserError
from turnwise.core.messages import Conversation, Message
from turnwise.data.fingerprint import near_duplicate_key
from turnwise.data.typing_noise import add_typos
from turnwise.training.examples.example import Example
from turnwise.training.examples.recipe_sources import open_items
from turnwise.training.hooks import TrainerHook
from turnwise.training.objective import ExampleContext, Item, Objective
from turnwise.training.recipe_sections import SourceConfig

TYPO_RATIO = 0.1  # misspelt words in a turn with typos


@dataclass
class ExampleReader:
    """Builds the examples of sources and counts bad rows.

    Attributes:
        objective: builds the examples of an item.
        context: renderer and sequence length.
        skip_bad_rows: skip bad rows instead of stopping at the first one.
        hooks: receive every row.
        num_bad_rows: bad rows that were skipped.
    """

    objective: Objective
    context: ExampleContext
    skip_bad_rows: bool
    hooks: Sequence[TrainerHook] = ()
    num_bad_rows: int = 0

    def read(
        self, sources: Iterable[SourceConfig], transform: Callable[[Item], Item] = lambda item: item
    ) -> Iterator[tuple[Item, list[Example]]]:
        """Yield every item with the examples of its transformed version.

        Raises:
            InvalidData: a bad row, unless bad rows are skipped.
        """
        for config in sources:
            source = open_items(config, self.objective, skip_bad_rows=self.skip_bad_rows)
            for location, item in islice(source.rows(), config.max_items):
                for hook in self.hooks:
                    hook.on_row()
                try:
                    examples = list(self.objective.examples(transform(item), self.context))
                except UserError as error:
                    if not self.skip_bad_rows:
                        raise InvalidData(f"{location}: {error}") from error
                    self.num_bad_rows += 1
                else:
                    yield item, examples
            self.num_bad_rows += source.bad_row_count
            unread = self.context.truncation.unread
            for name, count in source.unread_columns.items():
                unread[name] = unread.get(name, 0) + count


def misspell_user_turns(item: Item, probability: float, seed: int) -> Item:
    """Add typos to the user turns of a dialogue with the given probability; deterministic for the same content."""
    if not isinstance(item, Conversation) or Random(f"{seed} {near_duplicate_key(item)}").random() >= probability:
        return item

    def misspell(messages: Sequence[Message]) -> tuple[Message, ...]:
        # Seeded by the text, so that the common prefix of a preference pair stays common.
        return tuple(
            replace(m, content=add_typos(m.content, Random(f"{seed} {m.content}"), TYPO_RATIO))
            if m.role == "user"
            else m
            for m in messages
        )

    return replace(item, messages=misspell(item.messages), rejected=misspell(item.rejected))
