"""Assigns answers to training and held-out data by a hash, so that an answer never changes sides.

Answers to the same question are on the same side: a model that has seen one could repeat it for the others. A version
with a scope and few answers is compared on its own training questions instead, typed differently.
"""

import hashlib
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from turnwise.core.messages import Conversation, Message
from turnwise.data.typing_noise import perturb_typing
from turnwise.improve.settings import ProofSettings
from turnwise.improve.training_examples import TrainingExample

VERSION = "model"  # name of the version itself


@dataclass(frozen=True, slots=True)
class Proof:
    """A model for the comparison, and the examples that it is compared on.

    Attributes:
        name: name of its folder; `VERSION` if the model is the version.
        train: examples that it is trained on.
        test: examples that it has not seen, or whose questions are typed differently.
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
    examples: Sequence[TrainingExample], settings: ProofSettings, seen: Collection[float] = ()
) -> tuple[tuple[TrainingExample, ...], tuple[Proof, ...]]:
    """Return the examples of the version, and the proofs.

    With cross-fitting the version is trained on all examples, and there are two proofs with models of their own. With
    held-out data, and if the version's own questions are asked again, there is one proof, and its model is the version.

    Args:
        examples: all examples, oldest first.
        settings: how the version is compared.
        seen: positions of questions that the serving version was trained on. It could repeat their answers, so they say
            nothing about which version is better on new ones.
    """
    ordered = sorted(examples, key=question_position)
    if settings.uses_training_questions(len(ordered)):
        # Those of the serving version are asked too: the new version should not have lost them.
        test = tuple(map(_with_typing_errors, examples[-settings.max_dialogues :]))
        return tuple(ordered), (Proof(VERSION, tuple(ordered), test),)
    if len(ordered) > settings.max_cross_fitted:
        held_out = tuple(e for e in ordered if question_position(e) < settings.held_out_share)
        train = tuple(e for e in ordered if question_position(e) >= settings.held_out_share)
        return train, _proofs({VERSION: (train, held_out)}, examples, settings, seen)
    # Halves of equal size; equal questions are neighbours in the order, and stay together.
    middle = len(ordered) // 2
    while 0 < middle < len(ordered) and question_position(ordered[middle - 1]) == question_position(ordered[middle]):
        middle += 1
    first, second = tuple(ordered[:middle]), tuple(ordered[middle:])
    halves = {"proof-a": (first, second), "proof-b": (second, first)}
    return tuple(ordered), _proofs(halves, examples, settings, seen)


def _proofs(
    models: Mapping[str, tuple[tuple[TrainingExample, ...], tuple[TrainingExample, ...]]],
    examples: Sequence[TrainingExample],
    settings: ProofSettings,
    seen: Collection[float],
) -> tuple[Proof, ...]:
    """The proofs, given the training and held-out examples of their models; only the newest unseen ones are tested."""
    held_out = {example.id for _, rows in models.values() for example in rows}
    unseen = [e.id for e in examples if e.id in held_out and question_position(e) not in seen]
    tested = set(unseen[-settings.max_dialogues :])
    return tuple(
        Proof(name, train, tuple(example for example in rows if example.id in tested))
        for name, (train, rows) in models.items()
    )


def _with_typing_errors(example: TrainingExample) -> TrainingExample:
    """The example with another form of its last question, in both endings of a pair."""
    rng = random.Random(question_position(example))
    messages = example.dialogue.messages
    last = max((index for index, message in enumerate(messages) if message.role == "user"), default=None)
    if last is None:
        return example
    question = replace(messages[last], content=perturb_typing(messages[last].content, rng))

    def ask(ending: tuple[Message, ...]) -> tuple[Message, ...]:
        return (*ending[:last], question, *ending[last + 1 :]) if ending else ()

    dialogue: Conversation = replace(example.dialogue, messages=ask(messages), rejected=ask(example.dialogue.rejected))
    return replace(example, dialogue=dialogue)
