"""The tables of hand-offs and of conversation states: a step of the schema migrations. Never edit it once released."""

HANDOFF_TABLES: tuple[str, ...] = (
    """
    CREATE TABLE handoffs (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        conversation INTEGER NOT NULL REFERENCES conversations (number) ON DELETE CASCADE,
        tenant TEXT NOT NULL,
        request TEXT NOT NULL,
        created REAL NOT NULL,
        changed REAL NOT NULL,
        state TEXT NOT NULL,
        claim TEXT NOT NULL,
        agent TEXT NOT NULL,
        lease_until REAL,
        answer_by REAL,
        num_claims INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE UNIQUE INDEX open_handoffs ON handoffs (conversation) WHERE state IN ('waiting', 'claimed')",
    "CREATE INDEX handoffs_by_conversation ON handoffs (conversation, number)",
    "CREATE INDEX handoffs_by_state ON handoffs (state, number)",
    # The log of events, without contents. AUTOINCREMENT: a revision is never used twice.
    """
    CREATE TABLE handoff_events (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        handoff INTEGER NOT NULL REFERENCES handoffs (number) ON DELETE CASCADE,
        time REAL NOT NULL,
        kind TEXT NOT NULL,
        agent TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX handoff_events_by_handoff ON handoff_events (handoff, number)",
    """
    CREATE TABLE conversation_states (
        conversation INTEGER PRIMARY KEY REFERENCES conversations (number) ON DELETE CASCADE,
        tenant TEXT NOT NULL,
        value TEXT NOT NULL,
        updated REAL NOT NULL
    ) STRICT
    """,
)
