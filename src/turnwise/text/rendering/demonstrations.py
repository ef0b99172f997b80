"""Few-shot demonstrations: dialogues before the real one, selected by its first user message."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from turnwise.core.exchanges import SYSTEM_ROLES
from turnwise.core.messages import Message
from turnwise.text.rendering.demonstration_pool import DemonstrationPool, Embed
from turnwise.text.rendering.demonstration_selection import DEFAULT_SELECTION, SELECTIONS


@dataclass(frozen=True)
class Demonstrations:
    """Dialogues of which some are inserted.

    Attributes:
        dialogues: the candidates.
        shots: number of dialogues to insert. The best one comes last, next to the real dialogue.
        selection: name of the selection (`demonstration_selection`), one with `select`.
        embed: embedder for similarities; None: words. It is not saved with the demonstrations.
    """

    dialogues: tuple[tuple[Message, ...], ...]
    shots: int
    selection: str = DEFAULT_SELECTION
    embed: Embed | None = field(default=None, compare=False)

    def select(self, messages: Sequence[Message]) -> tuple[int, list[Message]]:
        """The index in `messages` at which to insert demonstrations, and their messages.

        The selection depends only on the first user message, so it does not change during a dialogue.
        """
        index = next((i for i, message in enumerate(messages) if message.role not in SYSTEM_ROLES), len(messages))
        query = next((message.content for message in messages if message.role == "user"), "")
        numbers = SELECTIONS.load(self.selection).select(self._pool, query, self.shots)
        return index, [message for number in numbers for message in self.dialogues[number]]

    @cached_property
    def _pool(self) -> DemonstrationPool:
        """The user messages of each dialogue."""
        return DemonstrationPool(
            [" ".join(m.content for m in d if m.role == "user") for d in self.dialogues], self.embed
        )
