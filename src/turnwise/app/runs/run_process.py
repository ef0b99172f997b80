"""The process of a run: `python -m turnwise.app.runs.run_process FOLDER NICENESS PROGRAM` runs its command.

It holds the lock of the folder until it ends, and records the exit code. A second process for the same folder ends at
once, so a run never runs twice.
"""

import json
import runpy
import sys
import traceback
from pathlib import Path

from turnwise.app.runs.run_folder import COMMAND, RunFolder
from turnwise.core import own_session
from turnwise.core.directory_lock import DirectoryLocked, lock_directory


def main() -> None:
    """Run the command of a folder in this process, with a niceness. `PROGRAM` is the module that it is for."""
    folder = RunFolder(Path(sys.argv[1]))
    own_session.raise_niceness(int(sys.argv[2]))
    try:
        with lock_directory(folder.path):
            folder.mark_process()
            if not folder.is_stopping:  # looked at after the process is recorded, so that no stop is missed
                folder.mark_ended(_run(sys.argv[3], json.loads((folder.path / COMMAND).read_text(encoding="utf-8"))))
    except DirectoryLocked:
        return


def _run(program: str, arguments: list[str]) -> int:
    """Run a program with these arguments and return its exit code."""
    sys.argv = [program, *arguments]
    try:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    main()
