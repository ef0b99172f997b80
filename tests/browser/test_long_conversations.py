"""A long conversation is shown from its end; the earlier messages follow, and each of them can be used at once."""

import pytest
from page_actions import answers, send, texts
from playwright.sync_api import expect

from turnwise.core.messages import Message

NUM_TURNS = 200


@pytest.fixture
def long_chat(store):
    """The id of a stored conversation."""
    conversation = store.create(title="long", model="scripted")
    turns = [
        [Message("user", f"Question {i}?"), Message("assistant", f"The **answer {i}**.")] for i in range(NUM_TURNS)
    ]
    store.append(conversation.id, [message for turn in turns for message in turn])
    return conversation.id


def all_texts():
    return [text for i in range(NUM_TURNS) for text in (f"Question {i}?", f"The answer {i}.")]


def test_all_messages_are_shown_and_drawn(visit, long_chat):
    page = visit(f"/#{long_chat}")
    expect(page.locator(".message.last strong")).to_have_text(f"answer {NUM_TURNS - 1}")
    expect(page.locator(".message strong")).to_have_count(NUM_TURNS)
    assert texts(page) == all_texts()
    scroller = page.locator("#scroller")
    assert (
        scroller.evaluate("({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight") < 2
    )


def test_earlier_messages_come_before_the_shown_ones_in_parts(visit, long_chat, store):
    other = store.create(title="also long", model="scripted")
    store.append(other.id, [Message("user", f"Line {i}") for i in range(2 * NUM_TURNS)])
    page = visit(f"/#{other.id}")
    expect(page.locator(".message")).to_have_count(2 * NUM_TURNS)
    changes = page.evaluate(
        """async (id) => {
            const list = document.getElementById("thread"), changes = [];
            const add = (records) => changes.push(...records.map(({ addedNodes }) =>
                [addedNodes.length, [...addedNodes].filter((node) => node.children.length).length]));
            new MutationObserver(add).observe(list, { childList: true });
            location.hash = id;
            while (changes.reduce((sum, [added]) => sum + added, 0) < 400) await new Promise(requestAnimationFrame);
            return changes;
        }""",
        long_chat,
    )
    (first, num_filled), *later = [change for change in changes if change[0]]
    assert (first, num_filled) == (40, 40)
    assert all(added <= 40 for added, _ in later)
    assert sum(added for added, _ in later) == 2 * NUM_TURNS - 40


def test_the_first_message_can_be_edited_when_the_page_opens(visit, long_chat, store):
    page = visit(f"/#{long_chat}")
    page.locator(".message.user").first.get_by_label("Edit and ask again").click()
    page.fill(".edit-area", "changed")
    page.press(".edit-area", "Enter")
    expect(answers(page)).to_have_text(["Hello, you."])
    assert texts(page) == ["changed", "Hello, you."]


def test_a_found_message_far_from_the_end_is_complete(visit, long_chat):
    page = visit("/")
    page.fill("#history-search", "Question 3?")
    page.locator(".history-match").first.click()
    revealed = page.locator(".message:focus")
    expect(revealed.locator(".body")).to_have_text("Question 3?")
    expect(revealed.get_by_label("Copy")).to_be_visible()
    expect(revealed).to_be_in_viewport()
    expect(page.locator(".message strong")).to_have_count(NUM_TURNS)
    expect(revealed).to_be_in_viewport()  # the later drawing has not moved it away
    assert texts(page) == all_texts()


def test_a_message_that_is_sent_at_once_follows_all_earlier_ones(visit, long_chat):
    page = visit(f"/#{long_chat}")
    send(page, "and now?")
    expect(page.locator(".message.last .body")).to_have_text("Hello, you.")
    expect(page.locator(".message strong")).to_have_count(NUM_TURNS)
    assert texts(page) == [*all_texts(), "and now?", "Hello, you."]


def test_a_rating_of_the_first_message_keeps_the_focus(visit, store):
    conversation = store.create(title="long", model="scripted")
    meta = {"finish": "stop", "model": "scripted", "consent": "full"}
    store.append(conversation.id, [Message("assistant", "Welcome!")], meta)
    turns = [Message("user", f"Line {i}") for i in range(2 * NUM_TURNS)]
    store.append(conversation.id, turns)
    page = visit(f"/#{conversation.id}")
    expect(page.locator(".message")).to_have_count(2 * NUM_TURNS + 1)
    thumb = page.locator(".message").first.get_by_label("Good answer")
    thumb.click()
    expect(thumb).to_have_attribute("aria-pressed", "true")
    expect(thumb).to_be_focused()
