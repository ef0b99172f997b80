"""The page `/runs` of `turnwise serve`: its runs, and loading of their models."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from turnwise.core.settings import Settings

if TYPE_CHECKING:
    from turnwise.app.runs.local_run_manager import LocalRunManager
    from turnwise.app.scenario_services import ServicePath
    from turnwise.app.version_serving.model_opener import ModelOpener
    from turnwise.core.datasets import DatasetLibrary
    from turnwise.core.stored_conversations import ConversationStore


@contextmanager
def open_runs(
    datasets: "DatasetLibrary",
    conversations: "ConversationStore | None",
    opener: "ModelOpener",
    path: "ServicePath",
) -> "Iterator[LocalRunManager]":
    """The runs of this TURNWISE_HOME.

    Args:
        datasets: the data sets.
        conversations: store of rated answers; None: there is none.
        opener: loads the models of runs.
        path: scenarios, which are put before them.
    """
    from turnwise.app.runs.local_run_manager import LocalRunManager
    from turnwise.improve.rated_answers import rated_answers

    settings = Settings.from_environment()

    def load(folder: Path, name: str) -> str:
        return opener.open(str(folder), name, path)

    answers = None if conversations is None else rated_answers(conversations, settings.improve_settings)
    manager = LocalRunManager(settings.runs, datasets, answers=answers, load_model=load)
    try:
        yield manager
    finally:
        manager.close()
