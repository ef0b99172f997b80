"""Retrieval baseline: returns the reply to the most similar user message of its training dialogues.

Similarity is BM25 (Robertson & Zaragoza 2009), computed with `bm25s` (Lù 2024). It is not a likelihood, so metrics that
need loglikelihoods, such as response selection, do not apply to this baseline.
"""

from collections import Counter
from collections.abc import Sequence
from types import ModuleType

import numpy as np

from turnwise.core.errors import InvalidData, UserError
from turnwise.core.messages import Conversation, Message
from turnwise.evaluation.baselines import ComparedModel
from turnwise.evaluation.samples import GenerationOutput, GenerationQuery
from turnwise.evaluation.system_under_test import OnQueriesDone
from turnwise.evaluation.word_tokens import split_words


class RetrievalBaseline:
    """A `TextGenerator` that returns the reply to the most similar user message.

    Of equally similar messages the first one is taken, so seeds have no effect. If no word of a message occurs in the
    training dialogues, the most frequent reply is returned.

    Args:
        dialogues: training dialogues; every assistant reply to a user is indexed.

    Raises:
        InvalidData: no dialogue has a reply to a user.
        UserError: `bm25s` is not installed.
    """

    name = "retrieval"

    def __init__(self, dialogues: Sequence[Conversation]) -> None:
        pairs = [pair for dialogue in dialogues for pair in _pairs(dialogue.messages)]
        if not pairs:
            raise InvalidData("There is nothing to retrieve: no dialogue has an answer to a question with words.")
        self.answers = [answer for _, answer in pairs]
        self.most_frequent = Counter(self.answers).most_common(1)[0][0]
        self.index = _bm25s().BM25()
        self.index.index([question for question, _ in pairs], show_progress=False)

    def generate(
        self, queries: Sequence[tuple[GenerationQuery, int]], on_done: OnQueriesDone
    ) -> list[GenerationOutput]:
        """Look up the last user message of each history."""
        outputs = []
        for query, _ in queries:
            outputs.append(GenerationOutput(self._answer(_last_question(query.history))))
            on_done(1)
        return outputs

    def _answer(self, question: Sequence[str]) -> str:
        word_ids = self.index.get_tokens_ids(question)
        if not word_ids:
            return self.most_frequent
        similarities = self.index.get_scores_from_ids(word_ids)
        return self.answers[int(np.argmax(similarities))]


def _pairs(messages: Sequence[Message]) -> list[tuple[list[str], str]]:
    """User messages, as words, and the replies to them."""
    return [
        (question, message.content)
        for at, message in enumerate(messages)
        if message.role == "assistant" and message.content.strip() and (question := _last_question(messages[:at]))
    ]


def _last_question(messages: Sequence[Message]) -> list[str]:
    """Words of the last user message; empty if there is none."""
    return split_words(next((message.content for message in reversed(messages) if message.role == "user"), ""))


def _bm25s() -> ModuleType:
    try:
        import bm25s
    except ImportError:
        raise UserError("The retrieval baseline needs bm25s: pip install 'turnwise[evaluation]'") from None
    module: ModuleType = bm25s
    return module


def build(dialogues: Sequence[Conversation], _: ComparedModel) -> RetrievalBaseline:
    """Build the baseline; it does not depend on the model."""
    return RetrievalBaseline(dialogues)
