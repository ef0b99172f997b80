"""The data sets of `turnwise serve`, which the page `/data` shows."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turnwise.app.datasets.dataset_library import FolderDatasetLibrary


def open_datasets(stack: ExitStack) -> "FolderDatasetLibrary":
    """The data sets of this TURNWISE_HOME. `stack` stops their checks."""
    from turnwise.app.datasets.dataset_library import FolderDatasetLibrary
    from turnwise.core.settings import Settings

    return stack.enter_context(FolderDatasetLibrary(Settings.from_environment().datasets))
