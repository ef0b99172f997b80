"""The scope of a trained version: the questions of its training data, and what is near them."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from turnwise.app.scope_files import ScopeFile
from turnwise.core.messages import Conversation, Message, Question, last_question
from turnwise.data.prompts import bundled_prompts
from turnwise.data.sources import DataSource
from turnwise.evaluation.golden_set import load_golden_cases
from turnwise.improve.training_data import TrainingPlan, stage_file
from turnwise.text.question_scope import QuestionScope, fit_scope

NUM_PROMPTS = 4_000  # bundled prompts of the background, beside the golden set
SEED = 0


def training_scope(data: Path, plan: TrainingPlan) -> ScopeFile:
    """The scope of the questions of a folder of training data; equal data give an equal scope.

    Args:
        data: the folder.
        plan: its plan.
    """
    questions = (last_question(dialogue.messages[:-1]) for dialogue in _dialogues(data, plan))
    scope = fit_scope((question for question in questions if question.text), background_questions())
    return ScopeFile(base=plan.base, base_sha256=plan.base_sha256, scope=scope.data)


def background_questions() -> Iterator[Question]:
    """Questions that have nothing to do with what people correct: bundled prompts and the golden set."""
    yield from (last_question(history) for history in islice(bundled_prompts(SEED), NUM_PROMPTS))
    yield from (last_question(case.messages) for case in load_golden_cases())


def prompts_inside(scope: QuestionScope) -> list[tuple[Message, ...]]:
    """Bundled prompts of the background that are inside a scope, without its own questions."""
    prompts = islice(bundled_prompts(SEED), NUM_PROMPTS)
    return [
        prompt
        for prompt in prompts
        if scope.contains(question := last_question(prompt)) and not scope.is_training_question(question)
    ]


def _dialogues(data: Path, plan: TrainingPlan) -> Iterator[Conversation]:
    for stage in plan.stages:
        yield from (item for item in DataSource(data / stage_file(stage)) if isinstance(item, Conversation))
