"""A store of a knowledge base in a file."""

import pytest

from turnwise.store import open_knowledge_store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "base" / "knowledge.db"


@pytest.fixture
def store(path):
    opened = open_knowledge_store(f"sqlite:///{path}")
    yield opened
    opened.close()
