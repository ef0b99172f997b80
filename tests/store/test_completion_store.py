"""Stored completions and feedback, on a real file."""

import pytest

from turnwise.core.errors import InvalidData, NotFound, SaveFailed
from turnwise.core.stored_completions import StoredCompletion
from turnwise.store import open_store


@pytest.fixture
def store(tmp_path):
    opened = open_store(f"sqlite:///{tmp_path / 'kept.db'}")
    yield opened
    opened.close()


def completion(number, model="a", **metadata):
    return StoredCompletion(
        id=f"chatcmpl-{number}", created=1_700_000_000 + number, model=model,
        messages=({"role": "user", "content": f"question {number} 好"},), request={"temperature": 0.5},
        response={"id": f"chatcmpl-{number}", "choices": [{"index": 0}]}, metadata=metadata,
    )  # fmt: skip


@pytest.fixture
def five(store):
    for number in range(5):
        store.completions.add(completion(number, model="ab"[number % 2], parity=str(number % 2), all="yes"))
    return store.completions


def listed(completions, **more):
    asked = {"limit": 10, "after": None, "order": "asc", "model": None, "metadata": {}} | more
    found, has_more = completions.list(**asked)
    return [int(kept.id.split("-")[1]) for kept in found], has_more


def test_what_was_kept_comes_back_and_survives_the_process(store, tmp_path):
    store.completions.add(completion(1, a="b"))
    store.close()
    again = open_store(f"sqlite:///{tmp_path / 'kept.db'}")
    assert again.completions.get("chatcmpl-1") == completion(1, a="b")
    again.close()


def test_lists_go_by_time_in_pages(five):
    assert listed(five) == ([0, 1, 2, 3, 4], False)
    assert listed(five, order="desc") == ([4, 3, 2, 1, 0], False)
    assert listed(five, limit=2) == ([0, 1], True)
    assert listed(five, limit=2, after="chatcmpl-1") == ([2, 3], True)
    assert listed(five, limit=2, after="chatcmpl-2", order="desc") == ([1, 0], False)


def test_lists_are_narrowed_by_model_and_metadata(five):
    assert listed(five, model="b") == ([1, 3], False)
    assert listed(five, metadata={"parity": "0"}) == ([0, 2, 4], False)
    assert listed(five, metadata={"parity": "0", "all": "yes"}, model="a", limit=1) == ([0], True)
    assert listed(five, metadata={"parity": "' OR 1=1 --"}) == ([], False)
    assert listed(five, metadata={"nothing": "0"}) == ([], False)


def test_metadata_can_be_replaced(five):
    assert five.update_metadata("chatcmpl-3", {"new": "1"}).metadata == {"new": "1"}
    assert listed(five, metadata={"new": "1"}) == ([3], False)


def test_feedback_belongs_to_its_completion_and_goes_with_it(five):
    first = five.add_feedback("chatcmpl-1", index=0, rating=1, correction=None, comment=None, user="me")
    second = five.add_feedback("chatcmpl-1", index=0, rating=-1, correction="better", comment="too long", user=None)
    assert five.list_feedback("chatcmpl-1") == (first, second)
    assert five.list_feedback("chatcmpl-2") == ()
    five.delete("chatcmpl-1")
    for refused in (five.get, five.delete, five.list_feedback):
        with pytest.raises(NotFound, match="no stored completion 'chatcmpl-1'"):
            refused("chatcmpl-1")


def test_what_does_not_exist_is_said(five):
    with pytest.raises(NotFound):
        listed(five, after="chatcmpl-9")
    with pytest.raises(NotFound):
        five.update_metadata("chatcmpl-9", {})
    with pytest.raises(NotFound):
        five.add_feedback("chatcmpl-9", index=0, rating=1, correction=None, comment=None, user=None)


def test_an_id_is_kept_once_and_nothing_is_half_done(five):
    with pytest.raises(SaveFailed, match="Nothing was changed"):
        five.add(completion(1))
    with pytest.raises(InvalidData, match="surrogate"):
        five.add(completion(7, a="\ud800"))
    assert listed(five)[0] == [0, 1, 2, 3, 4]
