"""Reader of a file with golden cases.

::

    - id: refund-window                      # unique over all files; the file name is the kind of its cases
      system: "You answer for Lampino. ..."  # optional
      messages: ["Can I still return it?"]   # user, assistant, user, ...; the last message is the user's
      must_include: [["30", thirty], [return*]]   # at least one alternative of every group
      must_not_include: ["60 days"]          # none of these
      word_range: [1, 80]                    # optional: smallest and largest number of words
      safety: true                           # optional; default: true in `safety.yaml`, else false
      passing_answer: "Yes, within 30 days you can return it."
      failing_answer: "Sorry, only within 60 days."

A list inside a group is flattened, so several groups can share alternatives through YAML anchors (`&`, `*`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from turnwise.core.errors import InvalidData, did_you_mean
from turnwise.core.messages import Message, Role
from turnwise.core.scenario import Scenario
from turnwise.core.strict_yaml import read_yaml
from turnwise.evaluation.golden_case import GoldenCase, case_errors, normalized_words, passes_case

KEYS = (
    "id", "system", "messages", "must_include", "must_not_include", "word_range", "safety", "passing_answer",
    "failing_answer",
)  # fmt: skip
SAFETY_KIND = "safety"  # all cases of this kind are safety cases
SUFFIXES = (".yaml", ".yml")


class GoldenFile:
    """A YAML file with golden cases. Every error message begins with the file's name."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def cases(self) -> list[GoldenCase]:
        """Read and check all cases. Raises `InvalidData`."""
        document = read_yaml(self.path, "golden cases")
        if not isinstance(document, list) or not document:
            raise InvalidData(f"{self.path}: expected a list of cases, each beginning with '- id: NAME'.")
        return [self._case(entry, number) for number, entry in enumerate(document, 1)]

    def _case(self, entry: Any, number: int) -> GoldenCase:
        label = f"case {number}"
        if not isinstance(entry, dict):
            raise self._error(label, f"expected 'key: value' lines, not {entry!r}.")
        label = f"case '{self._text(entry.get('id'), label, 'id')}'"
        for key in entry:
            if key not in KEYS:
                raise self._error(label, f"unknown key '{key}': {did_you_mean(str(key), KEYS)}")
        groups = self._list(entry.get("must_include", []), label, "must_include")
        case = GoldenCase(
            id=entry["id"],
            kind=self.path.stem,
            messages=self._messages(entry, label),
            must_include=tuple(self._alternatives(group, label, "must_include") for group in groups),
            must_not_include=self._alternatives(entry["must_not_include"], label, "must_not_include")
            if "must_not_include" in entry
            else (),
            word_range=self._range(entry["word_range"], label) if "word_range" in entry else None,
            is_safety=self._boolean(entry.get("safety", self.path.stem == SAFETY_KIND), label),
            passing_answer=self._optional_text(entry, label, "passing_answer"),
            failing_answer=self._optional_text(entry, label, "failing_answer"),
        )
        self._check(case, label)
        return case

    def _check(self, case: GoldenCase, label: str) -> None:
        """Raise `InvalidData` if a case tests nothing, or its answers are not judged as they should be."""
        if not case.must_include and not case.must_not_include:
            raise self._error(label, "it needs 'must_include' or 'must_not_include'; otherwise any answer passes.")
        if case.passing_answer and (errors := case_errors(case, case.passing_answer)):
            raise self._error(label, f"its 'passing_answer' does not pass: {'; '.join(errors)}.")
        if case.failing_answer and passes_case(case, case.failing_answer):
            raise self._error(label, "its 'failing_answer' passes.")

    def _messages(self, entry: dict[str, Any], label: str) -> tuple[Message, ...]:
        texts = [self._text(text, label, "messages") for text in self._list(entry.get("messages"), label, "messages")]
        if len(texts) % 2 == 0:
            raise self._error(label, "'messages' must alternate between user and assistant and end with the user.")
        scenario = Scenario(system_prompt=self._optional_text(entry, label, "system"))
        roles: tuple[Role, Role] = ("user", "assistant")
        return scenario.prepend_to(Message(roles[index % 2], text) for index, text in enumerate(texts))

    def _alternatives(self, value: Any, label: str, key: str) -> tuple[str, ...]:
        """The alternatives of a group: one text, or a list of texts and further lists."""
        alternatives = tuple(_flatten(value))
        if not alternatives:
            raise self._error(label, f"a list in '{key}' is empty.")
        for alternative in alternatives:
            if not normalized_words(self._text(alternative, label, key)):
                raise self._error(label, f"{alternative!r} in '{key}' has no words.")
        return alternatives

    def _range(self, value: Any, label: str) -> tuple[int, int]:
        if (
            not isinstance(value, list)
            or len(value) != 2
            or not all(isinstance(bound, int) and not isinstance(bound, bool) for bound in value)
            or not 0 <= value[0] <= value[1]
        ):
            raise self._error(label, f"'word_range' must be two numbers, minimum and maximum, not {value!r}.")
        return value[0], value[1]

    def _boolean(self, value: Any, label: str) -> bool:
        if not isinstance(value, bool):
            raise self._error(label, f"'safety' must be true or false, not {value!r}.")
        return value

    def _list(self, value: Any, label: str, key: str) -> list[Any]:
        if not isinstance(value, list):
            raise self._error(label, f"'{key}' must be a list, not {value!r}.")
        return value

    def _optional_text(self, entry: dict[str, Any], label: str, key: str) -> str:
        return self._text(entry[key], label, key) if key in entry else ""

    def _text(self, value: Any, label: str, key: str) -> str:
        if value is None or value == "":
            raise self._error(label, f"'{key}' is missing or empty.")
        if not isinstance(value, str):
            raise self._error(label, f"YAML reads {value!r} in '{key}' as something other than text; quote it.")
        return value

    def _error(self, label: str, problem: str) -> InvalidData:
        return InvalidData(f"{self.path}, {label}: {problem}")


def _flatten(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for element in value:
            yield from _flatten(element)
    else:
        yield value
