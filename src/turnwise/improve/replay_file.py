"""Replies of the first version to the bundled prompts: replay for training, and a measure of forgetting.

They hold nothing of the users, so they are generated once and kept. A part is never trained on: the likelihood of the
first version's own replies falls as a later version departs from it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation, Message
from turnwise.data.jsonl_writer import write_jsonl
from turnwise.data.prompts import prompts_digest
from turnwise.data.sources import DataSource
from turnwise.models.model_folders import weights_digest
from turnwise.training.hooks import TrainerHook
from turnwise.training.launch.base_model_loader import load_base_model
from turnwise.training.launch.self_distill_replay import SelfDistillReplay
from turnwise.training.recipe import Recipe, parse_recipe

RETENTION_SHARE = 0.2  # of the replies are never trained on
MAX_SEQ_LEN = 512  # tokens of a prompt with its reply


@dataclass(frozen=True, slots=True)
class ReplayFiles:
    """The files of the replies of one model.

    Attributes:
        train: replies to train on.
        retention: replies to measure forgetting on.
    """

    train: Path
    retention: Path


class _ReplayProgress(TrainerHook):
    def __init__(self, on_progress: Callable[[int, int], None]) -> None:
        self._on_progress = on_progress

    def on_replay(self, done: int, total: int) -> None:
        self._on_progress(done, total)


def replay_files(
    model: Path,
    count: int,
    seed: int,
    folder: Path,
    on_progress: Callable[[int, int], None] = lambda *_: None,
    *,
    is_trained_on: bool = True,
) -> ReplayFiles:
    """Return the files for a model; they are generated if they are missing.

    Args:
        model: folder of the model.
        count: number of prompts; replies that do not end in time are left out.
        seed: seed of prompts and replies.
        folder: where the files are kept.
        on_progress: receives the number of replies and their total.
        is_trained_on: False: all replies measure forgetting, and the file to train on is empty.
    """
    suffix = "" if is_trained_on else "-untrained"
    stem = f"{weights_digest(model)[:16]}-{prompts_digest()[:8]}-{count}-{seed}{suffix}"
    files = ReplayFiles(folder / f"{stem}-train.jsonl", folder / f"{stem}-retention.jsonl")
    if files.train.is_file() and files.retention.is_file():
        return files
    dialogues = list(_replay(model, seed, on_progress).dialogues(count))
    num_retention = max(1, int(len(dialogues) * RETENTION_SHARE)) if is_trained_on else len(dialogues)
    folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(files.retention, dialogues[:num_retention])
    write_jsonl(files.train, dialogues[num_retention:])  # last: it is the sign that both are complete
    return files


def replies_to(
    model: Path,
    prompts: Sequence[tuple[Message, ...]],
    seed: int,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> list[Conversation]:
    """Prompts with replies of a model; replies that do not end in time are left out.

    Args:
        model: folder of the model.
        prompts: the prompts; there may be none.
        seed: seed of the replies.
        on_progress: receives the number of replies and their total.
    """
    if not prompts:
        return []
    try:
        return list(_replay(model, seed, on_progress).dialogues(len(prompts), prompts))
    except InvalidData:  # no prompt fits, or no reply ends in time
        return []


def read_dialogues(path: Path) -> list[Conversation]:
    """The dialogues of a file."""
    return [item for item in DataSource(path) if isinstance(item, Conversation)]


def _replay(model: Path, seed: int, on_progress: Callable[[int, int], None]) -> SelfDistillReplay:
    recipe = _recipe(model, seed)
    base = load_base_model(recipe, merges_adapter=True)
    return SelfDistillReplay(recipe, base.model, base.renderer, [_ReplayProgress(on_progress)])


def _recipe(model: Path, seed: int) -> Recipe:
    values = {
        "model": {"from": str(model)},
        "data": {"train": [str(model)]},  # not read
        "training": {"seed": seed, "max_seq_len": MAX_SEQ_LEN},
        "out": str(model),
    }
    return parse_recipe(values, origin="replay")
