"""Messages of a request and of a stored conversation that a person has added to."""

from hypothesis import given
from hypothesis import strategies as st

from turnwise.chat.service_path.stored_branch import merge_branch
from turnwise.core.handoff_notices import HANDOFF_NOTICES, is_notice
from turnwise.core.messages import Message
from turnwise.core.stored_messages import StoredMessage

NOTICE = HANDOFF_NOTICES["en"]["return"].replace("{agent}", "Ana")


def stored(role, text, **meta):
    return StoredMessage("id", 0.0, Message(role, text), meta)


BRANCH = [
    stored("user", "a"),
    stored("assistant", "Please wait.", handoff="h", notice="open"),
    stored("assistant", "I am Ana.", handoff="h", person="Ana"),
    stored("user", "b", handoff="h"),
    stored("assistant", NOTICE, handoff="h", notice="return"),
]


def texts(messages):
    return [message.content for message in messages]


def test_what_a_client_does_not_know_is_inserted_and_notices_are_hidden():
    request = [Message("user", "a"), Message("user", "b"), Message("assistant", ""), Message("user", "c")]
    merged = merge_branch(BRANCH, request, ())
    assert texts(merged.stored) == ["a", "Please wait.", "I am Ana.", "b", NOTICE, "c"]
    assert texts(merged.visible) == ["a", "I am Ana.", "b", "c"]
    assert texts(merged.new) == ["c"]


def test_an_edit_stays_a_branch_of_its_own():
    merged = merge_branch([*BRANCH, stored("assistant", "model")], [Message("user", "edited")], ())
    assert texts(merged.stored) == texts(merged.visible) == texts(merged.new) == ["edited"]


def test_a_repeated_request_has_nothing_new():
    assert merge_branch(BRANCH[:1], [Message("user", "a")], ()).new == ()


@given(st.sets(st.integers(0, len(BRANCH) - 1)), st.lists(st.sampled_from("xyz"), min_size=1, max_size=3))
def test_whatever_part_of_a_handoff_a_client_knows_it_is_continued(known_positions, new_texts):
    """A client knows its first message, and any of the later ones, in order."""
    known = [entry.message for index, entry in enumerate(BRANCH) if index == 0 or index in known_positions]
    merged = merge_branch(BRANCH, [*known, *(Message("user", text) for text in new_texts)], ())
    assert merged.stored == (*(entry.message for entry in BRANCH), *(Message("user", text) for text in new_texts))
    assert not any(is_notice(message.content) for message in merged.visible)
    assert texts(merged.new) == new_texts


def test_sentences_about_handoffs_are_recognised_with_any_name():
    for notices in HANDOFF_NOTICES.values():
        for text in notices.values():
            assert is_notice(text.replace("{agent}", "Ana Lima"))
            assert not is_notice("Well, " + text.replace("{agent}", "Ana Lima") + "\nAnd more.")
    assert is_notice("Moment bitte.", ["Moment bitte."])
    assert not is_notice("We are open until five.")
