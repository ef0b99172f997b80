"""What a store of a knowledge base contains."""

import sqlite3


def count_rows(path, table):
    with sqlite3.connect(path) as connection:
        return connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]


def all_texts(store, scope=""):
    return [
        passage.text
        for document in store.documents(scope, 100)
        for passage in store.document_passages(document.id, scope)
    ]
