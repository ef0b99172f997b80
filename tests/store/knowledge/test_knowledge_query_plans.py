"""Queries of a knowledge base use indexes."""

from knowledge_stand_ins import add

LARGE_TABLES = ("knowledge_documents", "knowledge_passages", "knowledge_metadata", "knowledge_deletions")


def test_no_query_reads_a_whole_table(store):
    """Each query of a search or update uses an index; `problems` may read everything."""
    add(store, "a", "one", metadata={"x": "y"})
    statements = []
    read = store._read

    class Traced:
        def __enter__(self):
            self.context = read()
            connection = self.context.__enter__()
            connection.set_trace_callback(statements.append)
            return connection

        def __exit__(self, *error):
            return self.context.__exit__(*error)

    store._read = Traced
    store._database._connection.set_trace_callback(statements.append)
    document = store.find_document("a", "")
    store.documents("", 5, 0)
    store.passages_after(0, 5)
    store.deletions_after(0, 5)
    store.fetch([1], "", {})
    list(store.document_passages(document.id, ""))
    store.matching_ranges("", {"x": "y"})
    store.matching_ranges("", {"x": "y", "z": "w"})
    store.matching_ranges("", {"x": "y", "z": "w"}, after=1)
    store.position()
    add(store, "a", "two", metadata={"x": "z"})
    store.delete(store.find_document("a", "").id, "")
    queries = [text for text in statements if text.lstrip().startswith(("SELECT", "UPDATE", "DELETE"))]
    assert len(queries) > 15
    with read() as connection:
        for query in queries:
            steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}")]
            scans = [
                step
                for step in steps
                if step.startswith("SCAN") and not set(step.split()) & {"VIRTUAL", "(subquery-1)"}
            ]
            assert not [step for step in scans if "USING" not in step], (query, steps)
