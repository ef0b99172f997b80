"""Retrieval baseline: returns the reply to the most similar user message of its training dialogues.

Similarity is BM25 (`text.lexical_search`). It is not a likelihood, so metrics that need loglikelihoods, such as
response selection, do not apply to this baseline.
"""

from collections import Counter
from collections.abc import Sequence

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation, Message
from turnwise.evaluation.samples import GenerationOutput, GenerationQuery
from turnwise.evaluation.system_under_test import OnQueriesDone
from turnwise.text.lexical_search import LexicalIndex
from turnwise.text.word_tokens import split_words


class RetrievalBaseline:
    """A `TextGenerator` that returns the reply to the most similar user message.

    Of equally similar messages the first one is taken, so seeds have no effect. If no word of a message occurs in the
    training dialogues, the most frequent reply is returned.

    Args:
        dialogues: training dialogues; every assistant reply to a user is indexed.

    Raises:
        InvalidData: no dialogue has a reply to a user.
    """

    name = "retrieval"

    def __init__(self, dialogues: Sequence[Conversation]) -> None:
        pairs = [pair for dialogue in dialogues for pair in _pairs(dialogue.messages)]
        if not pairs:
            raise InvalidData("There is nothing to retrieve: no dialogue has an answer to a question with words.")
        self.answers = [answer for _, answer in pairs]
        self.most_frequent = Counter(self.answers).most_common(1)[0][0]
        self.index = LexicalIndex(question for question, _ in pairs)

    def generate(
        self, queries: Sequence[tuple[GenerationQuery, int]], on_done: OnQueriesDone
    ) -> list[GenerationOutput]:
        """Look up the last user message of each history."""
        outputs = []
        for query, _ in queries:
            outputs.append(GenerationOutput(self._answer(_last_question(query.history))))
            on_done(1)
        return outputs

    def _answer(self, question: str) -> str:
        matches = self.index.search(question, 1)
        return self.answers[matches[0].index] if matches else self.most_frequent


def _pairs(messages: Sequence[Message]) -> list[tuple[str, str]]:
    """User messages with words, and the replies to them."""
    return [
        (question, message.content)
        for at, message in enumerate(messages)
        if message.role == "assistant"
        and message.content.strip()
        and split_words(question := _last_question(messages[:at]))
    ]


def _last_question(messages: Sequence[Message]) -> str:
    """The last user message; empty if there is none."""
    return next((message.content for message in reversed(messages) if message.role == "user"), "")
