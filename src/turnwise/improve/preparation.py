"""What a cycle trains and compares, or why it does neither."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from turnwise.core.plurals import pluralize
from turnwise.improve.cycle_folder import EXAMPLES_FILE
from turnwise.improve.example_file import read_examples
from turnwise.improve.journal import Journal
from turnwise.improve.settings import ImproveSettings, ProofSettings
from turnwise.improve.splits import Proof, question_position, split_examples
from turnwise.improve.training_data import StageName, choose_stages
from turnwise.improve.training_examples import TrainingExample


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a cycle trains and compares.

    Attributes:
        train: examples of the version.
        proofs: models and examples of the comparison.
        stages: stages of the training, with the number of the version's examples. The models of the proofs have the
            same stages, else they would prove nothing about the version.
        obstacle: why nothing can be trained, as a sentence; None: nothing prevents it.
        has_training_questions: True if the version is compared on its own training questions.
    """

    train: tuple[TrainingExample, ...]
    proofs: tuple[Proof, ...]
    stages: dict[StageName, int]
    obstacle: str | None
    has_training_questions: bool


def prepare(
    examples: Sequence[TrainingExample], num_new: int, settings: ImproveSettings, seen: Collection[float] = ()
) -> Preparation:
    """Split the examples and choose the stages.

    Args:
        examples: all examples, oldest first.
        num_new: new answers with feedback.
        settings: settings.
        seen: positions of questions that the serving version was trained on (`seen_questions`).
    """
    train, proofs = split_examples(examples, settings.proof, seen)
    proofs = tuple(proof for proof in proofs if proof.test)
    chosen = choose_stages(train, settings.tuning)
    in_proofs = [choose_stages(proof.train, settings.tuning) for proof in proofs]
    stages = {name: len(rows) for name, rows in chosen.items() if all(name in names for names in in_proofs)}
    return Preparation(
        train,
        proofs,
        stages,
        _obstacle(examples, num_new, settings, proofs, stages),
        settings.proof.uses_training_questions(len(examples)),
    )


def _obstacle(
    examples: Sequence[TrainingExample],
    num_new: int,
    settings: ImproveSettings,
    proofs: Sequence[Proof],
    stages: Collection[StageName],
) -> str | None:
    if num_new < settings.min_answers:
        return f"There is feedback on {pluralize(num_new, 'new answer')}; a cycle needs {settings.min_answers}."
    if examples and not proofs:
        return "There is no example to compare the versions on: all are of questions that a version was trained on."
    if not stages:
        tuning = settings.tuning
        counts = Counter(example.kind for example in examples)
        kinds = ", ".join(f"{count} of the kind {kind}" for kind, count in counts.items())
        halves = "; each model of the proof is trained on half of them" if len(proofs) > 1 else ""
        return (
            f"Too few examples passed the checks ({kinds or 'none'}): a training needs {tuning.min_corrections} "
            f"corrections, or {tuning.min_preferences} preferences or ratings of each kind{halves}."
        )
    return None


def seen_questions(journal: Journal | None) -> frozenset[float]:
    """Positions of the questions that the version of a cycle was trained on; none without a cycle."""
    if journal is None or not (path := journal.folder / EXAMPLES_FILE).is_file():
        return frozenset()
    stored = (journal.get("settings") or {}).get("proof", {})
    known_settings = {name: value for name, value in stored.items() if name in ProofSettings.model_fields}
    train, _ = split_examples(read_examples(path), ProofSettings.model_validate(known_settings))
    return frozenset(map(question_position, train))
