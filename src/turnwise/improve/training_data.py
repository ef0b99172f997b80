"""The training data of a version: a folder that holds all that its training needs, so that it can be repeated.

| file | content |
| --- | --- |
| `plan.json` | base model, stages and settings (`TrainingPlan`) |
| `corrections.jsonl` | dialogues with the answers that people wrote, for SFT |
| `preferences.jsonl` | pairs of answers, for DPO |
| `ratings.jsonl` | rated answers, for KTO |
| `replay.jsonl` | replies of the first version, mixed into the corrections |
| `contributors.json` | ids of the people behind each row |
"""

import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from turnwise.core.errors import InvalidData
from turnwise.core.files import atomic_directory, atomic_write
from turnwise.core.messages import Conversation
from turnwise.core.strict_model import StrictModel, parse_strict_model
from turnwise.data.jsonl_writer import write_jsonl
from turnwise.improve.settings import TuningSettings
from turnwise.improve.training_examples import TrainingExample

StageName = Literal["corrections", "preferences", "ratings"]
PLAN_FILE, REPLAY_FILE, CONTRIBUTORS_FILE = "plan.json", "replay.jsonl", "contributors.json"


class TrainingPlan(StrictModel):
    """How a version is trained.

    Attributes:
        base: model that the first stage starts from.
        base_sha256: digest of its weights.
        stages: names of the stages, in order.
        tuning: settings of the training.
        alpha: share of the way from the base to the trained weights.
        has_scope: the version answers only questions near those of its training data, and the base all others.
    """

    base: str
    base_sha256: str
    stages: tuple[StageName, ...]
    tuning: TuningSettings
    alpha: float = 1.0
    has_scope: bool = False


def choose_stages(
    examples: Sequence[TrainingExample], tuning: TuningSettings
) -> dict[StageName, list[TrainingExample]]:
    """Examples by stage; a stage with too few is left out.

    A correction is also a preference: the person liked their own words better. Preferences and ratings are one stage,
    the one with more examples: DPO and KTO both keep the model near the one before, and would undo each other.
    """
    corrections = [example for example in examples if example.kind == "correction"]
    pairs = [example for example in examples if example.dialogue.rejected]
    ratings = [example for example in examples if example.kind == "rating"]
    num_good = sum(example.dialogue.rating is True for example in ratings)
    stages: dict[StageName, list[TrainingExample]] = {}
    if len(corrections) >= tuning.min_corrections:
        stages["corrections"] = corrections
    has_both_kinds = min(num_good, len(ratings) - num_good) >= tuning.min_preferences
    if has_both_kinds and len(ratings) > len(pairs):
        stages["ratings"] = ratings
    elif len(pairs) >= tuning.min_preferences:
        stages["preferences"] = pairs
    return stages


def write_training_data(
    folder: Path,
    examples: Sequence[TrainingExample],
    *,
    base: str,
    base_sha256: str,
    replay: Path | None,
    tuning: TuningSettings,
    only: Collection[str] | None = None,
    has_scope: bool = False,
) -> TrainingPlan:
    """Write the folder atomically.

    Args:
        folder: the folder; an existing one is replaced.
        examples: examples to train on.
        base: model that the training starts from.
        base_sha256: digest of its weights.
        replay: file of its replies; None: train without replay.
        tuning: how to train.
        only: names of the stages to use; None: all stages that have enough examples.
        has_scope: see `TrainingPlan`.
    """
    stages = {name: rows for name, rows in choose_stages(examples, tuning).items() if only is None or name in only}
    plan = TrainingPlan(base=base, base_sha256=base_sha256, stages=tuple(stages), tuning=tuning, has_scope=has_scope)
    with atomic_directory(folder) as temporary:
        contributors: dict[str, list[tuple[str, ...]]] = {}
        for name, rows in stages.items():
            write_jsonl(temporary / stage_file(name), (_dialogue(name, row) for row in rows))
            contributors[name] = [row.contributors for row in rows]
        (temporary / CONTRIBUTORS_FILE).write_text(json.dumps(contributors), encoding="utf-8")
        if replay is not None and tuning.replay_ratio:
            shutil.copyfile(replay, temporary / REPLAY_FILE)
        (temporary / PLAN_FILE).write_text(plan.model_dump_json(indent=1), encoding="utf-8")
    return plan


def _dialogue(stage: StageName, row: TrainingExample) -> Conversation:
    return replace(row.dialogue, rejected=()) if stage == "corrections" else row.dialogue


def stage_file(stage: StageName) -> str:
    """Name of the file with the rows of a stage."""
    return f"{stage}.jsonl"


def read_plan(folder: Path) -> TrainingPlan:
    """The plan of a folder of training data. Raises `InvalidData` if there is none."""
    path = folder / PLAN_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidData(f"{path} cannot be read: the training of this version cannot be repeated.") from error
    return parse_strict_model(TrainingPlan, values, origin=str(path))


def write_alpha(folder: Path, alpha: float) -> None:
    """Store the share of the way to the trained weights."""
    plan = read_plan(folder).model_copy(update={"alpha": alpha})
    atomic_write(folder / PLAN_FILE, plan.model_dump_json(indent=1))


def read_contributors(folder: Path) -> frozenset[str]:
    """Ids of all people behind the rows of a folder of training data."""
    path = folder / CONTRIBUTORS_FILE
    rows: Mapping[str, list[list[str]]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return frozenset(person for stage in rows.values() for row in stage for person in row)
