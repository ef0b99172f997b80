"""A baseline that only remembers: the answer to the most similar question of its training dialogues.

Similar is lexical, BM25 (Robertson & Zaragoza 2009) as `bm25s` computes it (Lù 2024). There are no likelihoods: a
similarity is no probability of a text, so what needs one, response selection among it, is left out for this baseline.
"""

from collections import Counter
from collections.abc import Sequence
from types import ModuleType

import numpy as np

from turnwise.core.errors import InvalidData, UserError
from turnwise.core.messages import Conversation, Message
from turnwise.evaluation.samples import GenerationOutput, GenerationQuery
from turnwise.evaluation.system_under_test import OnQueriesDone
from turnwise.evaluation.word_tokens import split_words


class RetrievalBaseline:
    """Answers with what was said to the most similar last question (a `TextGenerator`).

    Of questions that are equally similar the first counts, so a seed makes no difference. Where no word of a question
    is known, it gives the most frequent answer.

    Args:
        dialogues: to remember; each answer to a user in them.

    Raises:
        InvalidData: no dialogue has an answer to a user.
        UserError: the library is not installed.
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
        """Look up the last question of each history."""
        found = []
        for ask, _ in queries:
            found.append(GenerationOutput(self._answer(_last_question(ask.history))))
            on_done(1)
        return found

    def _answer(self, question: Sequence[str]) -> str:
        known = self.index.get_tokens_ids(question)
        if not known:
            return self.most_frequent
        similar = self.index.get_scores_from_ids(known)
        return self.answers[int(np.argmax(similar))]


def _pairs(messages: Sequence[Message]) -> list[tuple[list[str], str]]:
    """Questions and their answers."""
    return [
        (question, message.content)
        for at, message in enumerate(messages)
        if message.role == "assistant" and message.content.strip() and (question := _last_question(messages[:at]))
    ]


def _last_question(messages: Sequence[Message]) -> list[str]:
    """The words that the user said last; none where there is no user."""
    return split_words(next((message.content for message in reversed(messages) if message.role == "user"), ""))


def _bm25s() -> ModuleType:
    try:
        import bm25s
    except ImportError:
        raise UserError("The retrieval baseline needs bm25s: pip install 'turnwise[evaluation]'") from None
    module: ModuleType = bm25s
    return module
