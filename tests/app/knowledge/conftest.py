"""A knowledge base with an encoder of words."""

import pytest
from knowledge_bases import open_base


@pytest.fixture
def base(tmp_path):
    opened = open_base(tmp_path / "base")
    yield opened
    opened.close()
