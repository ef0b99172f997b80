"""The progress journal: the finished dialogues of a run, in a file beside the output, so that the run can be resumed.

The file is JSON Lines: a line with the settings of the run, then one line per dialogue in the order of their numbers.
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

HEADER_START = b'{"settings": '


def journal_path(out: Path) -> Path:
    """Path of the journal of a run that writes `out`."""
    return out.with_name(out.name + ".partial")


class ProgressJournal:
    """The journal of one run, open for appending.

    Args:
        path: the file. An existing journal is continued.
        settings: all settings that the dialogues depend on, as JSON values.
        restart: discard an existing journal.

    Raises:
        InvalidParameter: the existing journal has other settings.
        InvalidData: the existing file is damaged or is not a journal.
        SaveFailed: the file cannot be written.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, restart: bool = False) -> None:
        self.path = path
        self.num_dialogues = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w+b" if restart or not path.exists() else "r+b")
        except OSError as error:
            raise self._save_error(error) from error
        try:
            self._resume(json.loads(json.dumps(settings)))  # as JSON values, to compare with those in the file
        except OSError as error:
            self._file.close()
            raise self._save_error(error) from error
        except UserError:
            self._file.close()
            raise

    def _resume(self, settings: Mapping[str, Any]) -> None:
        header = self._file.readline()
        if not header.endswith(b"\n") and HEADER_START.startswith(header[: len(HEADER_START)]):
            # The file is new, or the process was killed while it wrote the header.
            self._file.truncate(0)
            self._file.seek(0)
            self._write({"settings": settings})
            return
        self._check_settings(self._parse_line(header, "settings"), settings)
        end = self._file.tell()
        for line in self._file:
            if not line.endswith(b"\n"):
                break  # the process was killed while it wrote this line
            self._parse_dialogue(line)
            self.num_dialogues += 1
            end += len(line)
        self._file.truncate(end)
        self._file.seek(end)

    def _check_settings(self, stored: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        changed = sorted(key for key in {*stored, *settings} if stored.get(key) != settings.get(key))
        if changed:
            raise InvalidParameter(
                changed[0],
                f"{self.path} holds an unfinished run with other settings ({', '.join(changed)}). Use the same "
                "settings to resume it, choose another --out, or pass --restart to discard it.",
            )

    def add(self, dialogue: SimulatedDialogue) -> None:
        """Append the next dialogue. Raises `SaveFailed`."""
        assert dialogue.number == self.num_dialogues, "dialogues must be added in order"
        row = None if dialogue.conversation is None else json.loads(to_json_line(dialogue.conversation))
        try:
            self._write({"dialogue": [dialogue.number, dialogue.end_reason, row]})
        except OSError as error:
            raise self._save_error(error) from error
        self.num_dialogues += 1

    def dialogues(self, count: int) -> Iterator[SimulatedDialogue]:
        """Yield the first `count` dialogues."""
        with self.path.open("rb") as file:
            next(file)
            for line, _ in zip(file, range(count), strict=False):
                yield self._parse_dialogue(line)

    def close(self) -> None:
        """Flush the file to disk and close it."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()

    def _write(self, value: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")
        self._file.flush()  # a killed process loses nothing; a power cut may lose the last lines

    def _parse_dialogue(self, line: bytes) -> SimulatedDialogue:
        number, end_reason, row = self._parse_line(line, "dialogue")
        return SimulatedDialogue(number, end_reason, None if row is None else cast(Conversation, openai.parse(row)))

    def _parse_line(self, line: bytes, key: str) -> Any:
        try:
            return json.loads(line)[key]
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidData(
                f"{self.path} is damaged or is not a progress journal. Pass --restart to discard it."
            ) from error

    def _save_error(self, error: OSError) -> SaveFailed:
        return SaveFailed(f"Could not write {self.path}: {error.strerror or error}. Earlier dialogues are kept.")


def finish_run(journal: ProgressJournal, out: Path, count: int) -> str:
    """Write the first `count` dialogues to `out`, delete the journal and return a summary.

    Raises:
        UserError: none of the dialogues has a reply.
        SaveFailed: `out` cannot be written.
    """
    complete = Counter(item.end_reason for item in journal.dialogues(count) if item.conversation is not None)
    empty = Counter(item.end_reason for item in journal.dialogues(count) if item.conversation is None)
    empty_summary = f"{empty.total():,} dialogues without a reply were dropped: {_format_counts(empty)}"
    if not complete:
        raise UserError(
            f"There is nothing to write: {empty_summary}. Try other scenarios, another model or another --temperature."
        )
    write_jsonl(out, (item.conversation for item in journal.dialogues(count) if item.conversation is not None))
    journal.path.unlink()
    summary = f"{out}: {complete.total():,} dialogues\nEnd reasons: {_format_counts(complete)}"
    return f"{summary}\n{empty_summary}" if empty else summary


def _format_counts(counts: Counter[EndReason]) -> str:
    return ", ".join(f"{END_REASONS[reason]} ({number:,})" for reason, number in counts.most_common())
