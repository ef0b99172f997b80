"""Answers of one conversation are resampled together, whichever model of the proof answers them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.messages import Conversation, Message
from turnwise.evaluation.metric_runner import MetricResult
from turnwise.evaluation.metrics import load_metrics
from turnwise.improve.comparison import FEEDBACK_METRICS, REFERENCE_METRICS, _join
from turnwise.improve.conversation_groups import conversation_groups, group_by_conversation
from turnwise.improve.training_examples import TrainingExample


def example(number, question, conversation):
    dialogue = Conversation((Message("user", question), Message("assistant", f"Answer {number}")), rating=True)
    return TrainingExample(f"message:{number}", "rating", ("local",), dialogue, conversation)


def groups_of(examples):
    """The groups of the examples, by metric."""
    groups = conversation_groups(examples)
    return {
        name: [
            group_by_conversation(metric.samples([entry.dialogue], 0), groups)[0].group
            for entry in examples
        ]
        for name, metric in ((metric.NAME, metric) for metric in load_metrics([*REFERENCE_METRICS, *FEEDBACK_METRICS]))
    }  # fmt: skip


def partition(labels):
    """The numbers of the entries with equal labels."""
    return {frozenset(i for i, label in enumerate(labels) if label == value) for value in labels}


def test_answers_of_one_conversation_are_one_group_for_every_metric():
    examples = [example(1, "A?", "x"), example(2, "B?", "x"), example(3, "C?", "y"), example(4, "D?", "")]
    for labels in groups_of(examples).values():
        assert partition(labels) == {frozenset({0, 1}), frozenset({2}), frozenset({3})}


def test_equal_questions_join_their_conversations():
    examples = [example(1, "A?", "x"), example(2, "B?", "x"), example(3, "B?", "y"), example(4, "C?", "y")]
    for labels in groups_of(examples).values():
        assert len(set(labels)) == 1


@given(st.lists(st.tuples(st.sampled_from("ABCDEF"), st.sampled_from("uvwxyz")), min_size=1, max_size=8))
def test_groups_are_the_smallest_ones_that_keep_conversations_and_questions_together(pairs):
    examples = [example(i, question, conversation) for i, (question, conversation) in enumerate(pairs)]
    groups = {frozenset([i]) for i in range(len(pairs))}
    for column in (0, 1):
        for value in {pair[column] for pair in pairs}:
            joined = [group for group in groups if any(pairs[i][column] == value for i in group)]
            groups = (groups - set(joined)) | {frozenset().union(*joined)}
    ids = conversation_groups(examples)
    metric = load_metrics(["chrf"])[0]
    labels = [ids[metric.samples([entry.dialogue], 0)[0].group] for entry in examples]
    assert partition(labels) == groups


def test_a_conversation_in_both_halves_of_a_proof_is_one_group():
    metric = load_metrics(["chrf"])[0]
    first = MetricResult(metric, (), [()], ("a", "b"), np.array([[[1.0, 2.0], [3.0, 4.0]]]))
    second = MetricResult(metric, (), [()], ("c", "a"), np.array([[[5.0, 6.0], [7.0, 8.0]]]))
    joined = _join(first, second)
    assert joined.groups == ("a", "b", "c")
    assert joined.sums_SGK.tolist() == [[[8.0, 10.0], [3.0, 4.0], [5.0, 6.0]]]
