"""Baselines: simple systems, built from training dialogues within seconds, that a model should beat.

One file per baseline. `turnwise evaluate NAME:FILE` builds it from the dialogues of FILE.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from turnwise.core.messages import Conversation
from turnwise.core.plugins import PluginGroup
from turnwise.data.data_files import find_split_files
from turnwise.data.read_options import ReadOptions
from turnwise.data.sources import DataSource
from turnwise.data.split_folders import SplitName
from turnwise.evaluation.system_under_test import SystemUnderTest

if TYPE_CHECKING:
    from turnwise.text.rendering.renderer import Renderer

DEFAULT_CONTEXT_LENGTH = 1024  # tokens, if the model's configuration has none


@dataclass(frozen=True, slots=True)
class ComparedModel:
    """The model that a baseline is compared with.

    Attributes:
        folder: its folder, or that of an adapter.
        max_tokens: maximum tokens of an answer; None: the baseline's default.
    """

    folder: Path
    max_tokens: int | None = None

    def load_renderer(self) -> "Renderer":
        """Load its chat template and tokenizer."""
        from turnwise.text.rendering.renderer import Renderer
        from turnwise.text.tokenization.tokenizer import Tokenizer

        return Renderer.from_tokenizer(Tokenizer.load(self.folder, self._base_folder()))

    def read_context_length(self) -> int:
        """Read its context length from its configuration."""
        from turnwise.models.model_folders import read_hf_config

        return int(read_hf_config(self._base_folder()).get("max_position_embeddings") or DEFAULT_CONTEXT_LENGTH)

    def _base_folder(self) -> Path:
        from turnwise.models.model_kind import full_model_folder

        return full_model_folder(self.folder)


class BaselineModule(Protocol):
    """Interface of a baseline file."""

    def build(self, dialogues: Sequence[Conversation], model: ComparedModel) -> SystemUnderTest:
        """Build the baseline. Raises `InvalidData` if the dialogues have nothing to learn from."""


BASELINES: PluginGroup[BaselineModule] = PluginGroup("baseline", "baselines", (__name__, __path__), requires=("build",))


@contextmanager
def open_baseline(
    name: str, file: Path, model: Path, max_tokens: int | None = None, options: ReadOptions | None = None
) -> Iterator[SystemUnderTest]:
    """Build a baseline from a file of dialogues.

    Args:
        name: the baseline's name.
        file: training dialogues, or a folder whose training split is used.
        model: folder of the model it is compared with.
        max_tokens: maximum tokens of an answer. Retrieved answers are never cut.
        options: options for reading the file.

    Raises:
        InvalidParameter: there is no baseline of this name.
        UserError: a file cannot be read, or has nothing to learn from.
    """
    split: SplitName | None = "train" if "train" in find_split_files(file) else None
    dialogues = [item for item in DataSource(file, split=split, options=options) if isinstance(item, Conversation)]
    yield BASELINES.load(name).build(dialogues, ComparedModel(model, max_tokens))
