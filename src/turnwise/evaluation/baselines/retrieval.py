"""Retrieval baseline: returns the reply to the most similar user message of its training dialogues.

Similarity is BM25 (`text.lexical_search`). It is not a likelihood, so metrics that need loglikelihoods, such as
response selection, do not apply to this baseline.
"""

from collections import Counter
from collections.abc import Sequence

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation, Message
from turnwise.core.retrieval import Passage
from turnwise.evaluation.baselines import ComparedModel
from turnwise.evaluation.samples import GenerationOutput, GenerationQuery
from turnwise.evaluation.system_under_test import OnQueriesDone
from turnwise.text.lexical_retriever import LexicalRetriever
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
        passages = [passage for dialogue in dialogues for passage in _passages(dialogue.messages)]
        if not passages:
            raise InvalidData("There is nothing to retrieve: no dialogue has a user message with words and an answer.")
        self.most_frequent = Counter(passage.metadata["reply"] for passage in passages).most_common(1)[0][0]
        self.retriever = LexicalRetriever(passages)

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
        retrieved = self.retriever.search(question, 1)
        return retrieved[0].passage.metadata["reply"] if retrieved else self.most_frequent


def build(dialogues: Sequence[Conversation], _: ComparedModel) -> RetrievalBaseline:
    """Build the baseline; it does not depend on the model."""
    return RetrievalBaseline(dialogues)


def _passages(messages: Sequence[Message]) -> list[Passage]:
    """User messages with words; the metadata has the reply."""
    return [
        Passage(question, metadata={"reply": message.content})
        for at, message in enumerate(messages)
        if message.role == "assistant"
        and message.content.strip()
        and split_words(question := _last_question(messages[:at]))
    ]


def _last_question(messages: Sequence[Message]) -> str:
    """The last user message; empty if there is none."""
    return next((message.content for message in reversed(messages) if message.role == "user"), "")
