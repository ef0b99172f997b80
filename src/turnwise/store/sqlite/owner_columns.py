"""The owners of records: a step of the schema migrations. Never edit it once released.

An owner is the name of an API key; NULL: no key was needed. A conversation gets the owner that its state or its
hand-offs recorded, if they agree.
"""

OWNER_COLUMNS: tuple[str, ...] = (
    "ALTER TABLE conversations ADD COLUMN owner TEXT",
    """
    UPDATE conversations SET owner = (
        SELECT CASE WHEN COUNT(*) = 1 THEN MIN(tenant) END FROM (
            SELECT tenant FROM conversation_states WHERE conversation = conversations.number
            UNION SELECT tenant FROM handoffs WHERE conversation = conversations.number
        ) WHERE tenant <> ''
    )
    """,
    "DROP TABLE conversation_states",  # states are stored with the messages that they follow
    "ALTER TABLE handoffs DROP COLUMN tenant",
    "CREATE INDEX conversations_by_owner ON conversations (owner, updated DESC, number DESC)",
    "ALTER TABLE completions ADD COLUMN owner TEXT",
    "CREATE INDEX completions_by_owner ON completions (owner, number)",
    "ALTER TABLE responses RENAME TO responses_of_owners",
    """
    CREATE TABLE responses (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        owner TEXT,
        created INTEGER NOT NULL,
        previous_id TEXT,
        input TEXT NOT NULL,
        body TEXT NOT NULL
    ) STRICT
    """,
    """
    INSERT INTO responses (number, id, owner, created, previous_id, input, body)
    SELECT number, id, NULLIF(owner, ''), created, previous_id, input, body FROM responses_of_owners
    """,
    "DROP TABLE responses_of_owners",
)
