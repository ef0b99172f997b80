"""Loads the dialogues of an evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from turnwise.app.default_model import default_model_name
from turnwise.app.model_names import load_renderer
from turnwise.app.systems_under_test import parse_baseline
from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation
from turnwise.data.data_files import held_out_split
from turnwise.data.read_options import ReadOptions
from turnwise.data.sources import DataSource
from turnwise.evaluation.template_check import template_error


@dataclass(frozen=True, slots=True)
class EvaluationData:
    """Dialogues that every system can read.

    Attributes:
        dialogues: the dialogues.
        split: the split that was read, if `path` is a split folder.
        num_bad_rows: skipped rows that are malformed.
        rejected: messages about skipped dialogues that a chat template rejects.
    """

    dialogues: Sequence[Conversation] = ()
    split: str | None = None
    num_bad_rows: int = 0
    rejected: Sequence[str] = ()


def load_evaluation_data(
    path: Path,
    limit: int,
    systems: Sequence[str | None],
    read_options: ReadOptions,
    *,
    skip_bad_rows: bool,
    format: str | None = None,
) -> EvaluationData:
    """Load the first dialogues that the chat templates of all models accept.

    Args:
        path: a file, a folder, or a split folder, of which the test or validation split is read.
        limit: maximum number of dialogues.
        systems: names of the systems; baselines have no chat template.
        read_options: how the data is read.
        skip_bad_rows: skip malformed rows and rejected dialogues.
        format: interaction format of the models.

    Raises:
        InvalidData: the path does not exist, or a row is malformed or rejected and `skip_bad_rows` is not set.
    """
    models = [name for name in systems if parse_baseline(name) is None]
    renderers = {name or default_model_name(): load_renderer(name, format) for name in models}
    split = held_out_split(path)
    source = DataSource(path, skip_bad_rows=skip_bad_rows, split=split, options=read_options)
    dialogues: list[Conversation] = []
    rejected: list[str] = []
    for location, item in source.rows():
        if not isinstance(item, Conversation):
            continue
        if (error := template_error(item, renderers)) is None:
            dialogues.append(item)
        elif skip_bad_rows:
            rejected.append(f"{location}: {error}")
        else:
            raise InvalidData(f"{location}: {error} Use --skip-bad-rows to leave such dialogues out.")
        if len(dialogues) == limit:
            break
    return EvaluationData(dialogues, split, source.bad_row_count, rejected)
