"""The folder of a dense index, and a store."""

import pytest

from turnwise.store import open_knowledge_store


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "dense" / "hash"


@pytest.fixture
def store(tmp_path):
    opened = open_knowledge_store(f"sqlite:///{tmp_path / 'knowledge.db'}")
    yield opened
    opened.close()
