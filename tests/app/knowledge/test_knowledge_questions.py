"""Questions with known answers, which tune the search of a knowledge base."""

import pytest

from knowledge_stand_ins import add
from turnwise.app.knowledge.questions import Question, judge, read_questions, tune_base
from turnwise.core.errors import UserError


def test_questions_name_the_passages_that_answer(base, tmp_path):
    add(base.store, "a", "The  LAMP is red.", "The chair is blue.")
    path = tmp_path / "questions.jsonl"
    path.write_text(
        '{"question": "Which lamp?", "source": "a", "answer": "lamp is"}\n{"question": "?", "source": "b"}\n'
    )
    questions = list(read_questions(path))
    assert judge(base, questions[0], "").relevant == {1}
    assert judge(base, questions[1], "").relevant == frozenset()
    assert judge(base, Question(question="x", source="a"), "").relevant == {1, 2}
    base.update_lexical()
    base.embed()
    report = tune_base(base, iter(questions))
    assert (report.num_questions, report.num_unanswerable) == (1, 1)
    assert report.recall["lexical"].mean == 1.0
    assert base.index.weight("hybrid") == report.result.weight


def test_a_malformed_question_is_named(tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text('{"question": "x", "source": "a"}\n{"question": "x"}\n')
    with pytest.raises(UserError, match=r"line 2.*'source' is missing"):
        list(read_questions(path))
