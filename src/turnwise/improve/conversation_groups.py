"""Groups of held-out answers that are resampled together.

Answers of one conversation are not independent, nor are answers to the same messages, which can be in several
conversations. So a group is a connected part of the graph of both.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from turnwise.core.messages import Conversation
from turnwise.evaluation.last_replies import dialogue_id
from turnwise.evaluation.samples import Sample
from turnwise.improve.training_examples import TrainingExample


def group_by_conversation(samples: Iterable[Sample], groups: dict[str, str]) -> list[Sample]:
    """The samples with their groups; `groups` is that of `conversation_groups`."""
    return [replace(sample, group=groups.get(sample.group, sample.group)) for sample in samples]


def conversation_groups(examples: Sequence[TrainingExample]) -> dict[str, str]:
    """The group of each answer, by the ids that metrics give to its dialogue, with and without the answer."""
    parents: dict[str, str] = {}

    def root(node: str) -> str:
        while (parent := parents.setdefault(node, node)) != node:
            parents[node] = parents[parent]  # halves the path for later calls
            node = parent
        return node

    for example in examples:
        first, *others = _nodes(example)
        for node in others:
            parents[root(node)] = root(first)
    return {
        id: hashlib.sha256(root(id).encode()).hexdigest()[:16]
        for example in examples
        for id in _dialogue_ids(example.dialogue)
    }


def _nodes(example: TrainingExample) -> list[str]:
    """What connects an example with others."""
    conversation = [f"conversation {example.conversation}"] if example.conversation else []
    return [*_dialogue_ids(example.dialogue), *conversation]


def _dialogue_ids(dialogue: Conversation) -> tuple[str, str]:
    return dialogue_id(dialogue.messages[:-1]), dialogue_id(dialogue.messages)
