"""What a run has made so far, in a file beside the one that it makes, so that it may be stopped anywhere and go on.

The first line says what was asked for, every further one is a dialogue, in the order of their numbers.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from turnwise.core.errors import InvalidData, InvalidParameter, SaveFailed, UserError
from turnwise.core.messages import Conversation
from turnwise.data.formats import openai
from turnwise.data.jsonl_writer import to_json_line, write_jsonl
from turnwise.synthesis.simulated_dialogue import END_REASONS, EndReason, SimulatedDialogue

BEGINNING = b'{"request": '


def journal_path(out: Path) -> Path:
    """Where a run that makes `out` keeps what it has until it is complete."""
    return out.with_name(out.name + ".partial")


class ProgressJournal:
    """A run's own file.

    Args:
        path: where it is; what a run that was stopped left there is gone on with.
        request: everything that decides what the dialogues are, for JSON.
        restart: throw away what is there.

    Raises:
        InvalidParameter: what is there was made from another request.
        InvalidData: it is damaged.
        SaveFailed: the disk refuses.
    """

    def __init__(self, path: Path, request: Mapping[str, Any], *, restart: bool = False) -> None:
        self.path = path
        self.done = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w+b" if restart or not path.exists() else "r+b")
        except OSError as error:
            raise self._refused(error) from error
        try:
            self._go_on(json.loads(json.dumps(request)))  # as it will be read again
        except OSError as error:
            self._file.close()
            raise self._refused(error) from error
        except UserError:
            self._file.close()
            raise

    def _go_on(self, request: Mapping[str, Any]) -> None:
        begun = self._file.readline()
        if not begun.endswith(b"\n") and BEGINNING.startswith(begun[: len(BEGINNING)]):
            # It is new, or was killed while it wrote this.
            self._file.truncate(0)
            self._file.seek(0)
            self._write({"request": request})
            return
        self._refuse_others(self._parsed(begun, "request"), request)
        end = self._file.tell()
        for line in self._file:
            if not line.endswith(b"\n"):
                break  # killed while it was written
            self._talk(line)
            self.done += 1
            end += len(line)
        self._file.truncate(end)
        self._file.seek(end)

    def _refuse_others(self, begun: Mapping[str, Any], request: Mapping[str, Any]) -> None:
        others = sorted(key for key in {*begun, *request} if begun.get(key) != request.get(key))
        if others:
            raise InvalidParameter(
                others[0],
                f"{self.path} holds an unfinished run with other settings ({', '.join(others)}). Run it again as it "
                "was to go on with it, choose another --out, or pass --restart to throw it away.",
            )

    def add(self, talk: SimulatedDialogue) -> None:
        """One more dialogue, the one whose turn it is. Raises `SaveFailed`."""
        assert talk.number == self.done, "dialogues come in order"
        row = None if talk.conversation is None else json.loads(to_json_line(talk.conversation))
        try:
            self._write({"talk": [talk.number, talk.ended, row]})
        except OSError as error:
            raise self._refused(error) from error
        self.done += 1

    def talks(self, count: int) -> Iterator[SimulatedDialogue]:
        """The first `count` dialogues."""
        with self.path.open("rb") as file:
            next(file)
            for line, _ in zip(file, range(count), strict=False):
                yield self._talk(line)

    def close(self) -> None:
        """Leave it as it is, safely on disk."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()

    def _write(self, value: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")
        self._file.flush()  # whoever kills us loses nothing; only a power cut might

    def _talk(self, line: bytes) -> SimulatedDialogue:
        number, ended, row = self._parsed(line, "talk")
        return SimulatedDialogue(number, ended, None if row is None else cast(Conversation, openai.parse(row)))

    def _parsed(self, line: bytes, key: str) -> Any:
        try:
            return json.loads(line)[key]
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidData(f"{self.path} is damaged, or none of ours. Pass --restart to throw it away.") from error

    def _refused(self, error: OSError) -> SaveFailed:
        return SaveFailed(f"Could not write {self.path}: {error.strerror or error}. What was made before is kept.")


def finish(work: ProgressJournal, out: Path, count: int) -> str:
    """Write the first `count` dialogues to `out`, take the work file away, and say what was made.

    Raises:
        UserError: none of them came to anything.
        SaveFailed: the disk refuses.
    """
    made = Counter(talk.ended for talk in work.talks(count) if talk.conversation is not None)
    nothing = Counter(talk.ended for talk in work.talks(count) if talk.conversation is None)
    empty = f"{nothing.total():,} came to nothing ({_listed(nothing)})"
    if not made:
        raise UserError(f"There is nothing to write: {empty}. Other scenes, another model or --temperature may help.")
    write_jsonl(out, (talk.conversation for talk in work.talks(count) if talk.conversation is not None))
    work.path.unlink()
    told = f"{out}: {made.total():,} dialogues; they ended because {_listed(made)}"
    return f"{told}\n{empty}" if nothing else told


def _listed(endings: Counter[EndReason]) -> str:
    return ", ".join(f"{END_REASONS[ended]} ({number:,})" for ended, number in endings.most_common())
