"""Pins, folders, settings and sources of titles: a step of the schema migrations. Never edit it once released.

Titles that are older than this step count as the user's, so that no generated title replaces them.
"""

ORGANIZATION_COLUMNS: tuple[str, ...] = (
    """
    CREATE TABLE folders (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        created REAL NOT NULL,
        owner TEXT
    ) STRICT
    """,
    "CREATE INDEX folders_by_owner ON folders (owner, number)",
    "ALTER TABLE conversations ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE conversations ADD COLUMN folder INTEGER REFERENCES folders (number) ON DELETE SET NULL",
    "ALTER TABLE conversations ADD COLUMN settings TEXT NOT NULL DEFAULT '{}'",
    "ALTER TABLE conversations ADD COLUMN title_source TEXT NOT NULL DEFAULT 'user'",
    # Digest of the messages of an imported conversation, so that a second import adds nothing.
    "ALTER TABLE conversations ADD COLUMN import_key TEXT",
    """
    CREATE INDEX conversations_by_folder ON conversations (folder, updated DESC, number DESC)
    WHERE folder IS NOT NULL
    """,
    "CREATE INDEX pinned_conversations ON conversations (updated DESC, number DESC) WHERE pinned",
    "CREATE INDEX imported_conversations ON conversations (import_key) WHERE import_key IS NOT NULL",
)
