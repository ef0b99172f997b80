"""Queries for collected answers: which answers have feedback, and their history.

An answer counts as replaced by a newer sibling if the conversation went on from the sibling. Either the sibling was
written by the person ("edit"), or the model generated it again and nobody went on from the older one ("regeneration").
Only answers that ended by themselves are compared: of others it is not clear what was wrong with them. Imported
messages are neither answers nor better answers: no model of this server wrote them, and a file can claim anything.
"""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from turnwise.core.collected_answers import PreferenceOrigin, PreferredAnswer, contributor_id
from turnwise.core.handoffs import NOTICE_META
from turnwise.core.messages import Message
from turnwise.store.sqlite.answer_rows import CONSENT_META, EDITED_META, USER_META
from turnwise.store.sqlite.tool_columns import tools_from_json

_FULL = "json_extract({0}.meta, '$.consent') = 'full'"
_COMPLETE = "json_extract({0}.meta, '$.finish') = 'stop'"
_IMPORTED = "COALESCE(json_extract({0}.meta, '$.imported'), 0)"
_EDITED = "json_extract({0}.meta, '$.edited')"
_DIFFERENT = "trim({0}, char(9, 10, 13, 32)) <> trim({1}, char(9, 10, 13, 32))"  # clients may strip answers
_CONTINUED = "EXISTS (SELECT 1 FROM messages AS next WHERE next.parent = {0}.number AND next.role IN ('user', 'tool'))"
# `parent` first: the index messages_by_parent answers the subquery alone. CROSS JOIN keeps the order of the loops.
SIBLING_PAIRS = f"""
    SELECT older.number AS older, newer.number AS newer
    FROM (
        SELECT parent FROM messages WHERE parent IS NOT NULL AND role = 'assistant' GROUP BY parent HAVING COUNT(*) > 1
    ) AS shared
    CROSS JOIN messages AS newer ON newer.parent = shared.parent AND newer.role = 'assistant'
    CROSS JOIN messages AS older ON older.parent = shared.parent AND older.role = 'assistant'
        AND older.number < newer.number
    WHERE {_DIFFERENT.format("older.content", "newer.content")}
        AND {_FULL.format("older")} AND {_FULL.format("newer")} AND {_COMPLETE.format("older")}
        AND NOT COALESCE({_EDITED.format("older")}, 0) AND {_CONTINUED.format("newer")}
        AND NOT {_IMPORTED.format("older")} AND NOT {_IMPORTED.format("newer")}
        AND (
            {_EDITED.format("newer")}
            OR ({_COMPLETE.format("newer")} AND NOT {_CONTINUED.format("older")})
        )
"""  # noqa: S608
MESSAGE_CANDIDATES = f"""
    SELECT messages.created, messages.number
    FROM (
        SELECT message AS answer, MAX(created) AS given FROM feedback
        WHERE message IS NOT NULL AND consent = 'full' AND (rating IS NOT NULL OR correction IS NOT NULL)
        GROUP BY message
        UNION ALL
        SELECT older, (SELECT MAX(created) FROM messages AS next WHERE next.parent = newer) FROM ({SIBLING_PAIRS})
        UNION ALL
        SELECT message, created FROM comparison_losses WHERE message IS NOT NULL
    )
    JOIN messages ON messages.number = answer
    JOIN conversations ON conversations.number = messages.conversation
    WHERE given > ? AND {_FULL.format("messages")} AND NOT {_IMPORTED.format("messages")}
        AND COALESCE(?, json_extract(meta, '$.model')) IS json_extract(meta, '$.model') AND {{condition}}
    GROUP BY messages.number
"""  # noqa: S608
COMPLETION_CANDIDATES = """
    SELECT completions.created, completions.number, choice
    FROM (
        SELECT completion, choice, created AS given FROM feedback
        WHERE completion IS NOT NULL AND consent = 'full' AND (rating IS NOT NULL OR correction IS NOT NULL)
        UNION ALL
        SELECT completion, choice, created FROM comparison_losses WHERE completion IS NOT NULL
    )
    JOIN completions ON completions.number = completion
    WHERE completions.consent = 'full' AND COALESCE(?, model) = model AND {condition}
    GROUP BY completion, choice HAVING MAX(given) > ?
"""
_BRANCH = """
    WITH RECURSIVE branch (number, depth) AS (
        SELECT ?, 0
        UNION ALL
        SELECT parent, depth + 1 FROM branch JOIN messages USING (number) WHERE parent IS NOT NULL
    )
    SELECT id, created, role, content, name, tools, meta, parent FROM branch JOIN messages USING (number)
    ORDER BY depth DESC
"""
_PREFERRED = f"""
    SELECT role, content, name, tools, newer.meta,
        (SELECT MAX(created) FROM messages AS next WHERE next.parent = newer.number)
    FROM messages AS newer
    WHERE newer.parent = ?1 AND newer.role = 'assistant' AND newer.number > ?2
        AND {_DIFFERENT.format("newer.content", "?3")}
        AND {_FULL.format("newer")} AND {_CONTINUED.format("newer")} AND NOT {_IMPORTED.format("newer")}
        AND ({_EDITED.format("newer")} OR ({_COMPLETE.format("newer")} AND NOT EXISTS (
            SELECT 1 FROM messages AS next WHERE next.parent = ?2 AND next.role IN ('user', 'tool'))))
    ORDER BY newer.number
"""  # noqa: S608


class BranchMessage(NamedTuple):
    """A message of a branch with its metadata."""

    id: str
    created: float
    message: Message
    meta: dict[str, Any]
    parent: int | None


def load_branch(connection: sqlite3.Connection, number: int) -> list[BranchMessage]:
    """The messages from the first one to message `number`; empty if it was deleted."""
    return [
        BranchMessage(id, created, Message(role, content, name, **tools_from_json(tools)), json.loads(meta), parent)
        for id, created, role, content, name, tools, meta, parent in connection.execute(_BRANCH, (number,))
    ]


def is_collectable(branch: Sequence[BranchMessage]) -> bool:
    """True if the answer at the end and every message above has the consent "full".

    Messages that are older than consents have none. Notices are no part of the history.
    """
    read = [branch[-1], *(entry for entry in branch[:-1] if NOTICE_META not in entry.meta)]
    return all(entry.meta.get(CONSENT_META) == "full" for entry in read)


def history_of(branch: Sequence[BranchMessage]) -> tuple[Message, ...]:
    """The messages above the answer, without notices, which the model never sees."""
    return tuple(entry.message for entry in branch[:-1] if NOTICE_META not in entry.meta)


def load_preferred(
    connection: sqlite3.Connection, number: int, branch: Sequence[BranchMessage], owner: str | None
) -> list[PreferredAnswer]:
    """The newer siblings of an answer from which the conversation went on, oldest first."""
    answer = branch[-1]
    if answer.parent is None or answer.meta.get("finish") != "stop" or answer.meta.get(EDITED_META):
        return []
    preferred = []
    for role, content, name, tools, meta_json, created in connection.execute(
        _PREFERRED, (answer.parent, number, answer.message.content)
    ):
        meta = json.loads(meta_json)
        message = Message(role, content, name, **tools_from_json(tools))
        person = contributor_id(owner, meta.get(USER_META))
        origin: PreferenceOrigin = "edit" if meta.get(EDITED_META) else "regeneration"
        preferred.append(PreferredAnswer(person, message, created, origin))
    return preferred
