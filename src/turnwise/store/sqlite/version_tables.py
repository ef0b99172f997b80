"""The tables of model versions: a step of the schema migrations. Never edit it once released."""

VERSION_TABLES: tuple[str, ...] = (
    """
    CREATE TABLE model_versions (
        model TEXT NOT NULL,
        number INTEGER NOT NULL CHECK (number > 0),
        created REAL NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('candidate', 'shadow', 'canary', 'serving', 'retired')),
        share REAL NOT NULL,
        is_erased INTEGER NOT NULL,
        source TEXT NOT NULL,
        weights_sha256 TEXT NOT NULL,
        parent INTEGER,
        recipe TEXT NOT NULL,
        data_sha256 TEXT NOT NULL,
        contributors TEXT NOT NULL,
        scorecard TEXT NOT NULL,
        has_passed_gate INTEGER NOT NULL,
        PRIMARY KEY (model, number)
    ) STRICT, WITHOUT ROWID
    """,
    # At most one version of a model has each of these states, whatever a program does.
    """
    CREATE UNIQUE INDEX model_versions_in_use ON model_versions (model, state)
    WHERE state IN ('shadow', 'canary', 'serving')
    """,
    """
    CREATE TABLE version_events (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        time REAL NOT NULL,
        model TEXT NOT NULL,
        version INTEGER NOT NULL,
        previous TEXT,
        state TEXT NOT NULL,
        share REAL NOT NULL,
        actor TEXT NOT NULL,
        reason TEXT NOT NULL,
        FOREIGN KEY (model, version) REFERENCES model_versions (model, number)
    ) STRICT
    """,
    "CREATE INDEX version_events_by_model ON version_events (model, number)",
    "CREATE INDEX version_events_of_serving ON version_events (model, time, number) WHERE state = 'serving'",
    """
    CREATE TRIGGER version_events_are_never_updated BEFORE UPDATE ON version_events
    BEGIN SELECT RAISE(ABORT, 'events of model versions are append-only'); END
    """,
    """
    CREATE TRIGGER version_events_are_never_deleted BEFORE DELETE ON version_events
    BEGIN SELECT RAISE(ABORT, 'events of model versions are append-only'); END
    """,
    # INSERT OR REPLACE deletes a row without the trigger for DELETE.
    """
    CREATE TRIGGER version_events_are_never_replaced BEFORE INSERT ON version_events
    WHEN EXISTS (SELECT 1 FROM version_events WHERE number = NEW.number)
    BEGIN SELECT RAISE(ABORT, 'events of model versions are append-only'); END
    """,
    """
    CREATE TABLE version_outcomes (
        model TEXT NOT NULL,
        version INTEGER NOT NULL,
        answers INTEGER NOT NULL,
        errors INTEGER NOT NULL,
        slow INTEGER NOT NULL,
        rated INTEGER NOT NULL,
        disliked INTEGER NOT NULL,
        PRIMARY KEY (model, version),
        FOREIGN KEY (model, version) REFERENCES model_versions (model, number)
    ) STRICT, WITHOUT ROWID
    """,
)
