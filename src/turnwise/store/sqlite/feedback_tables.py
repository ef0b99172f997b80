"""Feedback, consent and people: a step of the schema migrations. Never edit it once released.

Messages have consent, user, version and weights in their metadata. Feedback that is older than this step belongs to
the owner of its completion.
"""

FEEDBACK_TABLES: tuple[str, ...] = (
    "ALTER TABLE completions ADD COLUMN user TEXT",
    "ALTER TABLE completions ADD COLUMN consent TEXT",
    "ALTER TABLE completions ADD COLUMN version TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE completions ADD COLUMN weights TEXT NOT NULL DEFAULT ''",
    """
    UPDATE completions SET user =
        COALESCE(json_extract(request, '$.user'), json_extract(request, '$.safety_identifier'))
    """,
    "ALTER TABLE responses ADD COLUMN user TEXT",
    "ALTER TABLE responses ADD COLUMN consent TEXT",
    "UPDATE responses SET user = COALESCE(json_extract(body, '$.user'), json_extract(body, '$.safety_identifier'))",
    "DROP INDEX feedback_by_completion",
    "ALTER TABLE feedback RENAME TO feedback_on_completions",
    """
    CREATE TABLE feedback (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        completion INTEGER REFERENCES completions (number) ON DELETE CASCADE,
        choice INTEGER NOT NULL,
        message INTEGER REFERENCES messages (number) ON DELETE CASCADE,
        created REAL NOT NULL,
        owner TEXT,
        user TEXT,
        role TEXT NOT NULL,
        consent TEXT NOT NULL,
        rating INTEGER,
        correction TEXT,
        comment TEXT,
        tags TEXT NOT NULL,
        version TEXT NOT NULL,
        weights TEXT NOT NULL,
        CHECK ((completion IS NULL) <> (message IS NULL))
    ) STRICT
    """,
    """
    INSERT INTO feedback (number, id, completion, choice, created, owner, user, role, consent, rating, correction,
        comment, tags, version, weights)
    SELECT f.number, f.id, completion, answer, f.created, completions.owner, f.user, 'user', 'metadata', rating,
        correction, comment, '[]', '', ''
    FROM feedback_on_completions AS f JOIN completions ON completions.number = completion
    """,
    "DROP TABLE feedback_on_completions",
    "CREATE INDEX feedback_by_completion ON feedback (completion, choice) WHERE completion IS NOT NULL",
    "CREATE INDEX feedback_by_message ON feedback (message) WHERE message IS NOT NULL",
    "CREATE INDEX feedback_by_time ON feedback (created)",
    "CREATE INDEX messages_by_parent ON messages (parent, role)",
    """
    CREATE INDEX uncertain_answers ON messages (json_extract(meta, '$.mean_logprob'))
    WHERE json_extract(meta, '$.mean_logprob') IS NOT NULL AND json_extract(meta, '$.consent') = 'full'
    """,
    """
    CREATE INDEX off_topic_answers ON messages (number)
    WHERE json_extract(meta, '$.service.decision') = 'refusal:off_topic' AND json_extract(meta, '$.consent') = 'full'
    """,
)
