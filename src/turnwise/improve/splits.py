"""Assigns answers to training and held-out data by a hash, so that an answer never changes sides.

Answers to the same question are on the same side: a model that has seen one could repeat it for the others.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from turnwise.improve.settings import ProofSettings
from turnwise.improve.training_examples import TrainingExample


@dataclass(frozen=True, slots=True)
class Proof:
    """A model of its own for the comparison, and the examples that it is compared on.

    Attributes:
        name: name of its folder.
        train: examples that it is trained on.
        test: examples that it has not seen.
    """

    name: str
    train: tuple[TrainingExample, ...]
    test: tuple[TrainingExample, ...]


def question_position(example: TrainingExample) -> float:
    """A number in [0, 1) that depends on the words of the last user turn only."""
    questions = [message.content for message in example.dialogue.messages if message.role == "user"]
    words = " ".join(questions[-1].casefold().split()) if questions else example.id
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8]) / 2**64


def split_examples(
    examples: Sequence[TrainingExample], settings: ProofSettings
) -> tuple[tuple[TrainingExample, ...], tuple[Proof, ...]]:
    """Return the examples of the version, and the proofs.

    With cross-fitting the version is trained on all examples, and there are two proofs with models of their own. With
    held-out data there is one proof, and its model is the version.
    """
    ordered = sorted(examples, key=question_position)
    if len(ordered) > settings.max_cross_fitted:
        held_out = [e for e in ordered if question_position(e) < settings.held_out_share]
        train = tuple(e for e in ordered if question_position(e) >= settings.held_out_share)
        return train, (Proof("version", train, tuple(held_out)),)
    # Halves of equal size; equal questions are neighbours in the order, and stay together.
    middle = len(ordered) // 2
    while 0 < middle < len(ordered) and question_position(ordered[middle - 1]) == question_position(ordered[middle]):
        middle += 1
    first, second = tuple(ordered[:middle]), tuple(ordered[middle:])
    return tuple(ordered), (Proof("proof-a", first, second), Proof("proof-b", second, first))
