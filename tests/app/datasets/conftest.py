"""Fixtures: a library of data sets in a temporary folder."""

import pytest

from turnwise.app.datasets.dataset_library import FolderDatasetLibrary


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "datasets"


@pytest.fixture
def library(folder):
    with FolderDatasetLibrary(folder) as opened:
        yield opened


@pytest.fixture
def add(library, tmp_path):
    def add_content(name, content):
        (tmp_path / "upload").write_bytes(content)
        return library.add(tmp_path / "upload", name)

    return add_content
