"""Questions with known sources: tunes and measures a knowledge base.

Shapes: Q questions, X sets of sums, K sums.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from turnwise.app.knowledge.knowledge_base import KnowledgeBase
from turnwise.core.errors import InvalidData, UserError
from turnwise.core.json_file import parse_json
from turnwise.core.retrieval import SearchMode
from turnwise.core.strict_model import StrictModel, parse_strict_model
from turnwise.evaluation.statistics import MIN_DIALOGUES, ConfidenceInterval, bootstrap_interval
from turnwise.retrieval.fusion_tuning import JudgedQuery, TuningResult, tune
from turnwise.retrieval.terms import fold


class Question(StrictModel):
    """A line of a question file.

    Attributes:
        question: what is asked.
        source: the document that has the answer.
        answer: words of the passage that answers it; empty: all passages of the document do.
    """

    question: str = Field(min_length=1)
    source: str = Field(min_length=1)
    answer: str = ""


@dataclass(frozen=True, slots=True)
class MeanWithInterval:
    """A mean over questions; the interval is None for fewer questions than a bootstrap needs."""

    mean: float
    interval: ConfidenceInterval | None


@dataclass(frozen=True, slots=True)
class TuningReport:
    """What a tuning found.

    Attributes:
        result: weight and quality per question.
        recall: mean recall of each mode.
        ndcg: mean nDCG of each mode.
        num_questions: number of questions that were used.
        num_unanswerable: number of questions without a passage in the knowledge base.
    """

    result: TuningResult
    recall: Mapping[SearchMode, MeanWithInterval]
    ndcg: Mapping[SearchMode, MeanWithInterval]
    num_questions: int
    num_unanswerable: int


def read_questions(path: Path) -> Iterator[Question]:
    """The questions of a file with JSON lines. Raises `UserError` that names the line."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InvalidData(f"{path} cannot be read: {error.strerror or error}.") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            origin = f"{path}, line {number:,}"
            yield parse_strict_model(Question, parse_json(line, origin), origin=origin)


def tune_base(base: KnowledgeBase, questions: Iterator[Question], scope: str = "") -> TuningReport:
    """Tune the weight of the fusion on questions, and store it.

    Raises:
        UserError: no question has its source in the knowledge base, or there is no encoder.
        Unavailable: an index has to be built first.
    """
    counts = base.store.scope_counts(scope)
    if counts is None:
        raise UserError("The knowledge base is empty.")
    all_questions = list(questions)
    judged = [query for question in all_questions if (query := judge(base, question, scope)).relevant]
    result = tune(base.index, counts, judged)
    base.index.save_weight(result.weight)
    return TuningReport(
        result,
        {mode: mean_with_interval(quality.recall_Q) for mode, quality in result.quality.items()},
        {mode: mean_with_interval(quality.ndcg_Q) for mode, quality in result.quality.items()},
        len(judged),
        len(all_questions) - len(judged),
    )


def judge(base: KnowledgeBase, question: Question, scope: str) -> JudgedQuery:
    """The passages that answer a question."""
    document = base.store.find_document(question.source, scope)
    relevant: frozenset[int] = frozenset()
    if document is not None:
        answer = _normalize(question.answer)
        passages = base.store.document_passages(document.id, scope)
        relevant = frozenset(passage.id for passage in passages if answer in _normalize(passage.text))
    return JudgedQuery(question.question, relevant)


def _normalize(text: str) -> str:
    return " ".join(fold(text).split())


def mean_with_interval(values_Q: NDArray[np.float64]) -> MeanWithInterval:
    """The mean of a value per question, with its confidence interval."""
    interval = None
    if len(values_Q) >= MIN_DIALOGUES:
        sums_QK = np.stack([values_Q, np.ones(len(values_Q))], axis=1)
        interval = bootstrap_interval(sums_QK, lambda totals_XK: totals_XK[:, 0] / totals_XK[:, 1])
    return MeanWithInterval(float(values_Q.mean()), interval)
