"""Comparisons of two answers: a step of the schema migrations. Never edit it once released.

`same_prompt` tells whether both answers have the same messages before them, so that one is better than the other as an
answer to them. `comparison_losses` has the answers that a model can learn from: the worse one of a pair, and both bad
ones.
"""

COMPARISON_TABLES: tuple[str, ...] = (
    """
    CREATE TABLE comparisons (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        created REAL NOT NULL,
        owner TEXT,
        user TEXT,
        consent TEXT NOT NULL,
        verdict TEXT NOT NULL,
        same_prompt INTEGER NOT NULL,
        left_completion INTEGER REFERENCES completions (number) ON DELETE CASCADE,
        left_choice INTEGER NOT NULL,
        left_message INTEGER REFERENCES messages (number) ON DELETE CASCADE,
        left_model TEXT NOT NULL,
        left_version TEXT NOT NULL,
        left_weights TEXT NOT NULL,
        left_label TEXT NOT NULL,
        right_completion INTEGER REFERENCES completions (number) ON DELETE CASCADE,
        right_choice INTEGER NOT NULL,
        right_message INTEGER REFERENCES messages (number) ON DELETE CASCADE,
        right_model TEXT NOT NULL,
        right_version TEXT NOT NULL,
        right_weights TEXT NOT NULL,
        right_label TEXT NOT NULL,
        CHECK ((left_completion IS NULL) <> (left_message IS NULL)),
        CHECK ((right_completion IS NULL) <> (right_message IS NULL))
    ) STRICT
    """,
    "CREATE INDEX comparisons_by_left_message ON comparisons (left_message) WHERE left_message IS NOT NULL",
    "CREATE INDEX comparisons_by_right_message ON comparisons (right_message) WHERE right_message IS NOT NULL",
    "CREATE INDEX comparisons_by_left_completion ON comparisons (left_completion) WHERE left_completion IS NOT NULL",
    "CREATE INDEX comparisons_by_right_completion ON comparisons (right_completion) WHERE right_completion IS NOT NULL",
    """
    CREATE VIEW comparison_losses AS
    SELECT number, created, owner, user, verdict = 'both_bad' AS both_bad,
        left_completion AS completion, left_choice AS choice, left_message AS message,
        right_completion AS better_completion, right_choice AS better_choice, right_message AS better_message
    FROM comparisons
    WHERE consent = 'full' AND (verdict = 'both_bad' OR (verdict = 'right' AND same_prompt))
    UNION ALL
    SELECT number, created, owner, user, verdict = 'both_bad',
        right_completion, right_choice, right_message, left_completion, left_choice, left_message
    FROM comparisons
    WHERE consent = 'full' AND (verdict = 'both_bad' OR (verdict = 'left' AND same_prompt))
    """,
)
