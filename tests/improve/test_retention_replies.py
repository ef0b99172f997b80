"""Forgetting is measured on all prompts that a version with a scope answers, and on a sample for all others."""

import pytest

from turnwise.app.scope_files import ScopeFile, write_scope
from turnwise.core.messages import Conversation, Message, Question, last_question
from turnwise.data.jsonl_writer import write_jsonl
from turnwise.improve import retention_replies as module
from turnwise.improve.comparison import RetentionMetric
from turnwise.improve.cycle_folder import CycleFolders
from turnwise.improve.retention_replies import retention_replies
from turnwise.improve.splits import VERSION
from turnwise.improve.training_scope import background_questions, prompts_inside
from turnwise.text.question_scope import QuestionScope, fit_scope

pytestmark = pytest.mark.costly
QUESTIONS = ["Tell me a joke about bread", "What is the capital of my shop?"]
SAMPLE = [Conversation((Message("user", f"Prompt {n}"), Message("assistant", f"Reply {n}"))) for n in range(7)]


class Models:
    """The models of a cycle, as far as the replies need them."""

    def __init__(self, journal):
        self.journal = journal

    def trained(self, name):
        assert name == VERSION
        return self.journal.folder / name

    def verified_first(self):
        return "the first version"


@pytest.fixture
def models(tmp_path):
    models = Models(CycleFolders("shop", tmp_path).create())
    models.trained(VERSION).mkdir()
    write_jsonl(tmp_path / "replies.jsonl", SAMPLE)
    return models


@pytest.fixture
def scope():
    return fit_scope(map(Question, QUESTIONS), background_questions())


@pytest.fixture
def answered(monkeypatch):
    """The prompts that the first version was asked."""
    answered = []

    def replies_to(model, prompts, seed, on_progress):
        answered.append(prompts)
        return [Conversation((*prompt, Message("assistant", "Yes."))) for prompt in prompts]

    monkeypatch.setattr(module, "replies_to", replies_to)
    return answered


def test_a_version_that_answers_all_questions_is_measured_on_the_sample(models, tmp_path, answered):
    assert retention_replies(models, tmp_path / "replies.jsonl", 0) == SAMPLE
    assert answered == []


def test_all_prompts_inside_are_answered_once_and_the_sample_stands_for_the_others(models, tmp_path, scope, answered):
    write_scope(models.trained(VERSION), ScopeFile(base="tiny", base_sha256="ab", scope=scope.data))
    replies = retention_replies(models, tmp_path / "replies.jsonl", 0)
    inside = [d for d in replies if scope.contains(last_question(d.messages))]
    assert answered == [[dialogue.messages[:-1] for dialogue in inside]]
    assert 0 < len(inside) <= 20
    assert len(replies) == 4_000
    assert {dialogue.messages for dialogue in replies[len(inside) :]} == {dialogue.messages for dialogue in SAMPLE}
    assert retention_replies(models, tmp_path / "replies.jsonl", 0) == replies
    assert len(answered) == 1


def test_the_questions_of_the_scope_are_none_of_the_prompts(scope):
    prompts = prompts_inside(scope)
    first = last_question(prompts[0])
    widened = QuestionScope(scope.data.model_copy(update={"questions": {"": (*scope.data.questions[""], first.text)}}))
    assert first not in map(last_question, prompts_inside(widened))


def test_a_repeated_reply_counts_as_often_as_it_is_repeated():
    samples = RetentionMetric().samples([*SAMPLE, *SAMPLE], 0)
    assert len({sample.group for sample in samples}) == 14
