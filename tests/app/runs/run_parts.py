"""Parts of the tests of runs, which also run in a process of a server that is killed."""

import json
import time

from turnwise.app.runs.local_run_manager import LocalRunManager
from turnwise.core.datasets import Dataset
from turnwise.core.errors import NotFound
from turnwise.core.runs import TrainingOptions

OPTIONS = TrainingOptions("chats.jsonl", "tiny")


class Files:
    """Every file of a folder is a data set."""

    def __init__(self, folder):
        self._folder = folder

    def datasets(self):
        return [Dataset(path.name, 1, 1.0) for path in self._folder.iterdir() if path.is_file()]

    def path(self, name):
        if name not in {dataset.name for dataset in self.datasets()}:
            raise NotFound("There is no such data set.")
        return self._folder / name


def open_manager(root):
    """A manager whose runs are `run_program.py`."""
    return LocalRunManager(root, Files(root.parent), niceness=0, program="run_program")


def process_id(root, id):
    return json.loads((root / id / "process.json").read_text())["pid"]


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
