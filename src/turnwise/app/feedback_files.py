"""Feedback as JSON lines: export with the conversations, and import of feedback that was given elsewhere."""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from turnwise.core.collected_answers import CollectedAnswer
from turnwise.core.errors import InvalidData, TurnwiseError
from turnwise.core.feedback import AnswerReference, FeedbackStore, NewFeedback, normalize_tags
from turnwise.core.files import atomic_file
from turnwise.core.json_file import parse_json
from turnwise.core.stored_conversations import ConversationStore

RATINGS: Mapping[str, int] = {"up": 1, "down": -1}
MAX_CLOCK_SKEW = 86_400.0  # seconds that the clock of another program may be ahead
FIELDS = frozenset({"answer", "rating", "correction", "comment", "tags", "user", "created"})


def answer_row(answer: CollectedAnswer) -> dict[str, Any]:
    """A collected answer as a JSON object. `messages` is the conversation in OpenAI's format, up to the answer."""
    return {
        "answer": answer.id,
        "created": answer.created,
        "model": answer.model,
        "weights_sha256": answer.weights_sha256,
        "contributor": answer.contributor,
        "messages": [message.as_dict() for message in (*answer.history, answer.answer)],
        "ratings": [
            {"contributor": rating.contributor, "rating": "up" if rating.value > 0 else "down", "tags": rating.tags,
             "created": rating.created}
            for rating in answer.ratings
        ],
        "preferred": [
            {"contributor": better.contributor, "content": better.answer.content, "origin": better.origin,
             "created": better.created}
            for better in answer.preferred
        ],
    }  # fmt: skip


def export_answers(store: ConversationStore, path: Path, *, model: str | None = None, since: float = 0.0) -> int:
    """Write collected answers as JSON lines; only the owner can read the file. Returns their number."""
    count = 0
    with atomic_file(path) as temporary:
        temporary.touch(mode=0o600)
        with temporary.open("w", encoding="utf-8") as file:
            for answer in store.collected_answers.answers(model, since=since):
                file.write(json.dumps(answer_row(answer), ensure_ascii=False) + "\n")
                count += 1
    return count


def read_feedback(path: Path) -> Iterator[tuple[AnswerReference, NewFeedback]]:
    """Read feedback from JSON lines with an `answer` and the fields of feedback.

    Raises:
        InvalidData: a line is not feedback; the message has its number.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _parse(line, f"{path}, line {number}")
    except OSError as error:
        raise InvalidData(f"{path} cannot be read: {error.strerror or error}.") from error


def import_feedback(store: FeedbackStore, path: Path) -> int:
    """Add all feedback of a file and return the number. The file is checked first.

    Feedback that the store has already, with equal time, person and content, is left out, so that an import can be
    repeated.

    Raises:
        InvalidData: a line is not feedback. Nothing was added.
        NotFound: the store has no such answer. What came before was added.
        Forbidden: the consent of an answer does not allow it. What came before was added.
    """
    entries = list(read_feedback(path))
    count = 0
    for answer, content in entries:
        if content.created is not None and any(content == stored.content for stored in store.of_answer(answer)):
            continue
        store.add(answer, content)
        count += 1
    return count


def _parse(line: bytes, origin: str) -> tuple[AnswerReference, NewFeedback]:
    fields = parse_json(line, origin)
    if not isinstance(fields, dict) or not isinstance(fields.get("answer"), str):
        raise InvalidData(f"{origin} is not feedback: it needs an object with an 'answer', such as message:ID.")
    if unknown := sorted(fields.keys() - FIELDS):
        raise InvalidData(
            f"{origin} has the unknown field '{unknown[0][:60]}'; feedback has {', '.join(sorted(FIELDS))}."
        )
    for name in ("correction", "comment", "user"):
        if not isinstance(fields.get(name), str | None):
            raise InvalidData(f"{origin}: '{name}' must be a string.")
    rating, tags, created = fields.get("rating"), fields.get("tags") or [], fields.get("created")
    if rating is not None and (not isinstance(rating, str) or rating not in RATINGS):
        raise InvalidData(f"{origin}: 'rating' must be up or down.")
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise InvalidData(f"{origin}: 'tags' must be a list of strings.")
    if created is not None and (isinstance(created, bool) or not isinstance(created, int | float)):
        raise InvalidData(f"{origin}: 'created' must be a Unix time in seconds.")
    if created is not None and not 0 <= created <= time.time() + MAX_CLOCK_SKEW:
        raise InvalidData(f"{origin}: 'created' must be a Unix time in seconds, and not in the future.")
    try:
        answer = AnswerReference.parse(fields["answer"])
        content = NewFeedback(
            None if rating is None else RATINGS[rating],
            fields.get("correction") or None, fields.get("comment") or None,  # exports of tables have empty texts
            normalize_tags(tags), fields.get("user"), created=None if created is None else float(created),
        )  # fmt: skip
        content.check()
    except TurnwiseError as error:
        raise InvalidData(f"{origin}: {error}") from error
    return answer, content
