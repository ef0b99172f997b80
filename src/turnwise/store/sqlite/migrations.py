"""Schema migrations. Append only: never edit a released step.

`user_version` of a file is the number of applied steps.
"""

import sqlite3

from turnwise.core.errors import UserError
from turnwise.store.sqlite.comparison_tables import COMPARISON_TABLES
from turnwise.store.sqlite.feedback_tables import FEEDBACK_TABLES
from turnwise.store.sqlite.handoff_tables import HANDOFF_TABLES
from turnwise.store.sqlite.organization_columns import ORGANIZATION_COLUMNS
from turnwise.store.sqlite.owner_columns import OWNER_COLUMNS
from turnwise.store.sqlite.version_tables import VERSION_TABLES

STEPS: tuple[tuple[str, ...], ...] = (
    # 1: conversations and their messages
    (
        """
        CREATE TABLE conversations (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            title TEXT NOT NULL,
            model TEXT NOT NULL,
            created REAL NOT NULL,
            updated REAL NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE messages (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            conversation INTEGER NOT NULL REFERENCES conversations (number) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            created REAL NOT NULL,
            role TEXT NOT NULL,
            content TEXT NOT NULL,
            name TEXT,
            meta TEXT NOT NULL,
            UNIQUE (conversation, position)
        ) STRICT
        """,
        "CREATE INDEX conversations_by_time ON conversations (updated DESC, number DESC)",
    ),
    # 2: tool calls of a message as JSON; NULL if there are none
    ("ALTER TABLE messages ADD COLUMN tools TEXT",),
    # 3: stored completions and feedback
    (
        """
        CREATE TABLE completions (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            created INTEGER NOT NULL,
            model TEXT NOT NULL,
            messages TEXT NOT NULL,
            request TEXT NOT NULL,
            response TEXT NOT NULL,
            metadata TEXT NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE feedback (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            completion INTEGER NOT NULL REFERENCES completions (number) ON DELETE CASCADE,
            answer INTEGER NOT NULL,
            created REAL NOT NULL,
            rating INTEGER,
            correction TEXT,
            comment TEXT,
            user TEXT
        ) STRICT
        """,
        "CREATE INDEX feedback_by_completion ON feedback (completion)",
    ),
    # 4: pinned messages
    ("ALTER TABLE messages ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",),
    # 5: a conversation is a tree of messages; `head` is the end of the current branch. No cascade from parent to child:
    # SQLite limits cascades to a depth of 1,000. A child has a higher number than its parent.
    (
        "ALTER TABLE conversations ADD COLUMN head INTEGER",
        "ALTER TABLE messages RENAME TO messages_in_a_line",
        """
        CREATE TABLE messages (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            conversation INTEGER NOT NULL REFERENCES conversations (number) ON DELETE CASCADE,
            parent INTEGER,
            created REAL NOT NULL,
            role TEXT NOT NULL,
            content TEXT NOT NULL,
            name TEXT,
            tools TEXT,
            meta TEXT NOT NULL,
            pinned INTEGER NOT NULL DEFAULT 0
        ) STRICT
        """,
        """
        INSERT INTO messages (id, conversation, created, role, content, name, tools, meta, pinned)
        SELECT id, conversation, created, role, content, name, tools, meta, pinned FROM messages_in_a_line
        ORDER BY conversation, position
        """,
        "DROP TABLE messages_in_a_line",
        "CREATE INDEX messages_by_conversation ON messages (conversation)",
        """
        UPDATE messages SET parent =
            (SELECT MAX(number) FROM messages AS earlier
             WHERE earlier.conversation = messages.conversation AND earlier.number < messages.number)
        """,
        """
        UPDATE conversations SET head =
            (SELECT MAX(messages.number) FROM messages WHERE messages.conversation = conversations.number)
        """,
    ),
    # 6: responses (/v1/responses), visible only to the API key that created them
    (
        """
        CREATE TABLE responses (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            owner TEXT NOT NULL,
            created INTEGER NOT NULL,
            previous_id TEXT,
            input TEXT NOT NULL,
            body TEXT NOT NULL
        ) STRICT
        """,
    ),
    # 7: the text monitor. All its changes of a batch are one transaction, so no table is ahead of another.
    (
        """
        CREATE TABLE monitor_texts (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL,
            source TEXT NOT NULL,
            time REAL NOT NULL,
            text TEXT NOT NULL,
            topics TEXT NOT NULL,
            sentiment TEXT,
            negative INTEGER NOT NULL,
            copy_of INTEGER,
            late INTEGER NOT NULL
        ) STRICT
        """,
        "CREATE INDEX monitor_texts_by_time ON monitor_texts (time)",
        """
        CREATE TABLE monitor_text_topics (
            topic TEXT NOT NULL,
            time REAL NOT NULL,
            number INTEGER NOT NULL,
            PRIMARY KEY (topic, time, number)
        ) STRICT, WITHOUT ROWID
        """,
        # `id` is a digest: ids are kept for longer than texts
        "CREATE TABLE monitor_text_ids (id BLOB PRIMARY KEY, seen REAL NOT NULL) STRICT, WITHOUT ROWID",
        """
        CREATE TABLE monitor_counts (
            topic TEXT NOT NULL,
            start INTEGER NOT NULL,
            texts INTEGER NOT NULL,
            count INTEGER NOT NULL,
            negative INTEGER NOT NULL,
            PRIMARY KEY (topic, start)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX monitor_counts_by_start ON monitor_counts (start)",
        "CREATE TABLE monitor_positions (source TEXT PRIMARY KEY, position TEXT NOT NULL) STRICT, WITHOUT ROWID",
        "CREATE TABLE monitor_states (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT",
        "CREATE TABLE monitor_figures (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID",
        """
        CREATE TABLE monitor_alerts (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            topic TEXT NOT NULL,
            kind TEXT NOT NULL,
            start INTEGER NOT NULL,
            opened INTEGER NOT NULL,
            closed INTEGER,
            expected REAL NOT NULL,
            observed REAL NOT NULL,
            score REAL NOT NULL,
            summary TEXT NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE monitor_alert_texts (
            alert TEXT NOT NULL REFERENCES monitor_alerts (id) ON DELETE CASCADE,
            text INTEGER NOT NULL,
            PRIMARY KEY (alert, text)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX monitor_alert_texts_by_text ON monitor_alert_texts (text)",
        """
        CREATE TABLE monitor_outbox (
            number INTEGER PRIMARY KEY,
            event TEXT NOT NULL,
            url TEXT NOT NULL,
            body TEXT NOT NULL,
            created REAL NOT NULL,
            state TEXT NOT NULL,
            attempts INTEGER NOT NULL,
            first_attempt REAL,
            next_attempt REAL NOT NULL,
            error TEXT NOT NULL,
            UNIQUE (event, url)
        ) STRICT
        """,
        "CREATE INDEX monitor_outbox_by_state ON monitor_outbox (state, next_attempt)",
    ),
    # 8: indexes for the deletion of old ids and events, and for lists of alerts
    (
        "CREATE INDEX monitor_text_ids_by_time ON monitor_text_ids (seen)",
        "CREATE INDEX monitor_outbox_by_time ON monitor_outbox (state, created)",
        "CREATE INDEX monitor_alerts_by_time ON monitor_alerts (opened DESC, number DESC)",
        "CREATE INDEX monitor_open_alerts ON monitor_alerts (number) WHERE closed IS NULL",
    ),
    # 9: what the detector expected of windows; `thresholds` is a JSON object by seconds up to the end of the window
    (
        """
        CREATE TABLE monitor_expectations (
            topic TEXT NOT NULL,
            start INTEGER NOT NULL,
            until INTEGER NOT NULL,
            count REAL NOT NULL,
            negative REAL NOT NULL,
            thresholds TEXT NOT NULL,
            PRIMARY KEY (topic, start)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX monitor_expectations_by_start ON monitor_expectations (start)",
    ),
    # 10: a knowledge base. The passages of a document have the ids from its `first_passage` on, which is assigned when
    # it becomes visible, so that a document of any size appears in one step. `state` is staged, ready or removed.
    (
        """
        CREATE TABLE knowledge_scopes (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL UNIQUE,
            num_documents INTEGER NOT NULL,
            num_passages INTEGER NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE knowledge_documents (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            scope INTEGER NOT NULL REFERENCES knowledge_scopes (id),
            source TEXT NOT NULL,
            sha256 TEXT NOT NULL,
            title TEXT NOT NULL,
            metadata TEXT NOT NULL,
            warnings TEXT NOT NULL,
            state TEXT NOT NULL,
            created REAL NOT NULL,
            updated REAL NOT NULL,
            first_passage INTEGER,
            num_passages INTEGER NOT NULL
        ) STRICT
        """,
        "CREATE UNIQUE INDEX knowledge_sources ON knowledge_documents (scope, source) WHERE state = 'ready'",
        "CREATE UNIQUE INDEX knowledge_first_passages ON knowledge_documents (first_passage) WHERE state = 'ready'",
        "CREATE INDEX knowledge_ready_documents ON knowledge_documents (scope, id) WHERE state = 'ready'",
        "CREATE INDEX knowledge_removed ON knowledge_documents (id) WHERE state = 'removed'",
        "CREATE INDEX knowledge_staged ON knowledge_documents (id) WHERE state = 'staged'",
        """
        CREATE TABLE knowledge_passages (
            document INTEGER NOT NULL,
            number INTEGER NOT NULL,
            text TEXT NOT NULL,
            start INTEGER NOT NULL,
            end INTEGER NOT NULL,
            page INTEGER,
            headings TEXT NOT NULL
        ) STRICT
        """,
        "CREATE UNIQUE INDEX knowledge_passages_by_document ON knowledge_passages (document, number)",
        """
        CREATE TABLE knowledge_metadata (
            key TEXT NOT NULL,
            value TEXT NOT NULL,
            document INTEGER NOT NULL,
            PRIMARY KEY (key, value, document)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE knowledge_deletions (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            document INTEGER NOT NULL,
            first_passage INTEGER NOT NULL,
            num_passages INTEGER NOT NULL
        ) STRICT
        """,
        "CREATE TABLE knowledge_settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    ),
    # 11: hand-offs to people, and what the service path remembers of conversations
    HANDOFF_TABLES,
    # 12: owners of conversations, completions and responses
    OWNER_COLUMNS,
    # 13: versions of served models
    VERSION_TABLES,
    # 14: feedback on messages too, consent, and people within an API key
    FEEDBACK_TABLES,
    # 15: whether a request named the version of the model that answered
    ("ALTER TABLE completions ADD COLUMN is_routed INTEGER NOT NULL DEFAULT 1",),
    # 16: comparisons of two answers
    COMPARISON_TABLES,
    # 17: pinned conversations, folders and settings
    ORGANIZATION_COLUMNS,
)


def migrate(connection: sqlite3.Connection, location: str, option: str = "--store") -> None:
    """Apply the missing steps in one transaction, so that a crash leaves the old schema.

    Raises:
        UserError: the file has unknown steps of a newer version, or is not a conversation store.
    """
    connection.execute("BEGIN IMMEDIATE")  # serializes processes that open a new file at the same time
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        _check(connection, version, location, option)
        for number, statements in enumerate(STEPS[version:], start=version + 1):
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite has already rolled back if the disk is full
            connection.execute("ROLLBACK")
        raise


def _check(connection: sqlite3.Connection, version: int, location: str, option: str) -> None:
    if version > len(STEPS):
        raise UserError(
            f"{location} was written by a newer Turnwise (store version {version}, this one knows {len(STEPS)}). "
            f"Update Turnwise, or name another file with {option}. Nothing was changed."
        )
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    is_store = "conversations" in tables
    if version < 0 or bool(tables) != bool(version) or (version and not is_store):
        raise UserError(
            f"{location} is a database, but not of conversations. Name another file with {option}. Nothing was changed."
        )
