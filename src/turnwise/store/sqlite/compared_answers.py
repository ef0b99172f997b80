"""What comparisons say about an answer: better answers to the same messages, and that it is bad."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from turnwise.core.collected_answers import CollectedAnswer, PreferredAnswer, Rating, contributor_id
from turnwise.core.messages import Message
from turnwise.store.sqlite.answer_rows import request_message
from turnwise.store.sqlite.tool_columns import tools_from_json

_LOSSES = """
    SELECT created, owner, user, both_bad, better_completion, better_choice, better_message
    FROM comparison_losses WHERE {condition} ORDER BY number
"""


def with_comparisons(
    connection: sqlite3.Connection, collected: CollectedAnswer, condition: str, values: Sequence[int]
) -> CollectedAnswer:
    """Add the better answers and the ratings of comparisons; `condition` is about `comparison_losses`."""
    preferred, ratings = [*collected.preferred], [*collected.ratings]
    for created, owner, user, both_bad, completion, choice, message in connection.execute(
        _LOSSES.format(condition=condition), tuple(values)
    ):
        person = contributor_id(owner, user)
        if both_bad:
            ratings.append(Rating(person, -1, created))
        else:
            better = _load_answer(connection, completion, choice, message)
            preferred.append(PreferredAnswer(person, better, created, "comparison"))
    return replace(collected, preferred=tuple(preferred), ratings=tuple(ratings))


def _load_answer(connection: sqlite3.Connection, completion: int | None, choice: int, message: int | None) -> Message:
    if message is not None:
        query = "SELECT role, content, name, tools FROM messages WHERE number = ?"
        role, content, name, tools = connection.execute(query, (message,)).fetchone()
        return Message(role, content, name, **tools_from_json(tools))
    query = "SELECT response FROM completions WHERE number = ?"
    (response,) = connection.execute(query, (completion,)).fetchone()
    return request_message({"role": "assistant", **json.loads(response)["choices"][choice]["message"]})
