"""Stored completions, in a SQLite file."""

from dataclasses import replace

import pytest

from turnwise.core.errors import InvalidData, NotFound, SaveFailed
from turnwise.core.stored_completions import StoredCompletion
from turnwise.store import open_store


@pytest.fixture
def store(tmp_path):
    opened = open_store(f"sqlite:///{tmp_path / 'completions.db'}")
    yield opened
    opened.close()


def completion(number, model="a", **metadata):
    return StoredCompletion(
        id=f"chatcmpl-{number}", created=1_700_000_000 + number, model=model,
        messages=({"role": "user", "content": f"question {number} 好"},), request={"temperature": 0.5},
        response={"id": f"chatcmpl-{number}", "choices": [{"index": 0}]}, metadata=metadata,
    )  # fmt: skip


@pytest.fixture
def five_completions(store):
    for number in range(5):
        store.completions.add(completion(number, model="ab"[number % 2], parity=str(number % 2), all="yes"))
    return store.completions


def list_ids(completions, **filters):
    """The numbers of the listed completions, and whether there are more."""
    arguments = {"limit": 10, "after": None, "order": "asc", "model": None, "metadata": {}} | filters
    page, has_more = completions.list(**arguments)
    return [int(stored.id.split("-")[1]) for stored in page], has_more


def test_a_stored_completion_can_be_read_after_reopening(store, tmp_path):
    store.completions.add(completion(1, a="b"))
    store.close()
    reopened = open_store(f"sqlite:///{tmp_path / 'completions.db'}")
    assert reopened.completions.get("chatcmpl-1") == completion(1, a="b")
    reopened.close()


def test_lists_are_ordered_by_time_and_paginated(five_completions):
    assert list_ids(five_completions) == ([0, 1, 2, 3, 4], False)
    assert list_ids(five_completions, order="desc") == ([4, 3, 2, 1, 0], False)
    assert list_ids(five_completions, limit=2) == ([0, 1], True)
    assert list_ids(five_completions, limit=2, after="chatcmpl-1") == ([2, 3], True)
    assert list_ids(five_completions, limit=2, after="chatcmpl-2", order="desc") == ([1, 0], False)


def test_lists_are_filtered_by_model_and_metadata(five_completions):
    assert list_ids(five_completions, model="b") == ([1, 3], False)
    assert list_ids(five_completions, metadata={"parity": "0"}) == ([0, 2, 4], False)
    assert list_ids(five_completions, metadata={"parity": "0", "all": "yes"}, model="a", limit=1) == ([0], True)
    assert list_ids(five_completions, metadata={"parity": "' OR 1=1 --"}) == ([], False)
    assert list_ids(five_completions, metadata={"nothing": "0"}) == ([], False)


def test_metadata_can_be_replaced(five_completions):
    assert five_completions.update_metadata("chatcmpl-3", {"new": "1"}).metadata == {"new": "1"}
    assert list_ids(five_completions, metadata={"new": "1"}) == ([3], False)


def test_user_consent_version_and_weights_are_stored(store):
    stored = replace(completion(1), user="ann", consent="full", version="3", weights_sha256="ab")
    store.completions.add(stored)
    assert store.completions.get("chatcmpl-1") == stored


def test_an_unknown_completion_raises_not_found(five_completions):
    with pytest.raises(NotFound):
        list_ids(five_completions, after="chatcmpl-9")
    with pytest.raises(NotFound):
        five_completions.update_metadata("chatcmpl-9", {})
    with pytest.raises(NotFound, match="no stored completion 'chatcmpl-9'"):
        five_completions.delete("chatcmpl-9")


def test_a_duplicate_id_or_invalid_text_changes_nothing(five_completions):
    with pytest.raises(SaveFailed, match="Nothing was changed"):
        five_completions.add(completion(1))
    with pytest.raises(InvalidData, match="surrogate"):
        five_completions.add(completion(7, a="\ud800"))
    assert list_ids(five_completions)[0] == [0, 1, 2, 3, 4]
