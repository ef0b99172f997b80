"""Answers with feedback: explicit ratings and corrections, and preferences in the tree of messages."""

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from turnwise.core.access import Principal
from turnwise.core.feedback import AnswerReference, NewFeedback
from turnwise.core.messages import Message
from turnwise.core.stored_completions import StoredCompletion
from turnwise.store import open_store


@pytest.fixture
def store():
    opened = open_store("sqlite:///:memory:")
    yield opened
    opened.close()


class Chat:
    """A conversation as the recorder stores it."""

    def __init__(self, store, user=None):
        self.store, self.user = store, user
        self.id = store.create(title="", model="m").id

    def say(self, *texts, consent="full", finish="stop", model="m", **meta):
        """Send the texts, alternately of the user and the assistant, and store the last one as generated."""
        messages = [Message("assistant" if index % 2 else "user", text) for index, text in enumerate(texts)]
        person = {"consent": consent, **({"user": self.user} if self.user else {})}
        *_, parent = self.store.ensure_branch(self.id, messages[:-1], meta=person)
        meta = {"model": model, "finish": finish, **person, **meta}
        (id,) = self.store.append(self.id, messages[-1:], meta, parent_id=parent)
        return id

    def rate(self, id, rating=None, correction=None, **options):
        return self.store.feedback.add(
            AnswerReference("message", id), NewFeedback(rating, correction, user="ann"), **options
        )


def collected(store, **options):
    answers = list(store.collected_answers.answers(**options))
    assert store.collected_answers.count(**options) == len(answers)
    return answers


def preferences(store):
    return [(answer.answer.content, entry.answer.content, entry.origin)
            for answer in collected(store) for entry in answer.preferred]  # fmt: skip


def test_ratings_and_corrections_come_with_the_branch_above(store):
    chat = Chat(store, user="ann")
    chat.say("Hi", "Hello!")
    answer = chat.say("Hi", "Hello!", "The lamp is broken.", "So what?", weights="ab12", version="2")
    chat.say("Hi", "Hello!", "Another branch.", "Yes.")
    chat.rate(answer, -1)
    chat.rate(answer, correction="I am sorry to hear that.")
    (entry,) = collected(store)
    assert (entry.id, entry.model, entry.weights_sha256, entry.contributor) == (
        f"message:{answer}", "m", "ab12", "local/user:ann",
    )  # fmt: skip
    assert [message.content for message in (*entry.history, entry.answer)] == [
        "Hi", "Hello!", "The lamp is broken.", "So what?",
    ]  # fmt: skip
    assert [rating.value for rating in entry.ratings] == [-1]
    assert [(better.answer, better.origin) for better in entry.preferred] == [
        (Message("assistant", "I am sorry to hear that."), "correction")
    ]


def test_everybody_who_wrote_before_is_a_contributor(store):
    chat = Chat(store, user="bob")
    chat.say("I am Bob.", "Hello!")
    chat.user = "eve"
    answer = chat.say("I am Bob.", "Hello!", "And I am Eve.", "Hello, Eve!")
    chat.rate(answer, 1)
    (entry,) = collected(store)
    assert entry.contributor == "local/user:eve"
    assert entry.contributors == {"local/user:ann", "local/user:bob", "local/user:eve"}


@pytest.mark.parametrize(
    ("meta", "is_collected"),
    [({}, False), ({"consent": "metadata"}, False), ({"consent": "full"}, True), ({"notice": "open"}, True)],
)
def test_every_message_above_needs_consent_but_notices_are_no_part_of_the_history(store, meta, is_collected):
    """Messages that were stored before there was a consent have none."""
    chat = Chat(store)
    question = chat.store.append(chat.id, [Message("user", "Hi")], {"consent": "full"})
    (above,) = chat.store.append(chat.id, [Message("assistant", "Hello!")], meta, parent_id=question[0])
    (asked,) = chat.store.append(chat.id, [Message("user", "Open?")], {"consent": "full"}, parent_id=above)
    meta = {"model": "m", "finish": "stop", "consent": "full"}
    (answer,) = chat.store.append(chat.id, [Message("assistant", "Yes.")], meta, parent_id=asked)
    chat.rate(answer, 1)
    assert [entry.answer.content for entry in collected(store)] == ["Yes."] * is_collected


def test_a_choice_of_a_completion_has_the_messages_of_its_request(store):
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = (
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    )
    choices = [{"message": {"role": "assistant", "content": text}} for text in ("a", "b")]
    store.completions.add(
        StoredCompletion("c", 5, "m", messages, {}, {"choices": choices}, {}, consent="full", weights_sha256="w")
    )
    store.feedback.add(AnswerReference("completion", "c", 1), NewFeedback(1))
    (entry,) = collected(store)
    assert (entry.id, entry.answer.content, entry.weights_sha256) == ("completion:c:1", "b", "w")
    assert [message.role for message in entry.history] == ["user", "assistant", "tool"]
    assert (entry.history[0].content, entry.history[1].tool_calls[0].name, entry.history[2].tool_call_id) == (
        "Hi", "f", "c1",
    )  # fmt: skip


def test_a_regenerated_answer_is_replaced_by_the_one_that_the_conversation_went_on_from(store):
    chat = Chat(store)
    first = chat.say("Hi", "Go away.")
    chat.say("Hi", "Hello!")
    assert preferences(store) == [], "it is not clear yet which answer is better"
    chat.say("Hi", "Hello!", "How are you?", "Fine.")
    assert preferences(store) == [("Go away.", "Hello!", "regeneration")]
    (entry,) = collected(store)
    assert (entry.id, entry.ratings) == (f"message:{first}", ())


def test_an_imported_answer_is_neither_rated_nor_compared(store):
    chat, imported = Chat(store), {"imported": True}
    old = chat.say("Hi", "Imported, older.", **imported)
    chat.say("Hi", "Imported, newer.", **imported)
    chat.say("Hi", "Imported, newer.", "Thanks.", "Welcome.")
    assert collected(store) == [], "two versions of a file are no regeneration"
    chat.rate(old, -1, "Better.")
    assert collected(store) == []
    chat.say("Hi", "Own answer.")
    chat.say("Hi", "Imported, last.", **imported)
    chat.say("Hi", "Imported, last.", "Thanks.", "Welcome.")
    assert collected(store) == [], "an imported answer replaces no own one"
    own = chat.say("Hi", "Another own answer.")
    chat.rate(own, 1)
    assert [(entry.answer.content, entry.preferred) for entry in collected(store)] == [("Another own answer.", ())]


@pytest.mark.parametrize("finish", ["length", "cancelled", "error", "in_progress"])
def test_an_answer_that_did_not_end_by_itself_is_not_compared(store, finish):
    chat = Chat(store)
    chat.say("Hi", "Go", finish=finish)
    chat.say("Hi", "Hello!")
    chat.say("Hi", "Hello!", "How are you?", "Fine.")
    assert preferences(store) == []


def test_no_preference_if_the_conversation_went_on_from_both_or_the_texts_are_equal(store):
    chat, other = Chat(store), Chat(store)
    chat.say("Hi", "a")
    chat.say("Hi", "b")
    for text in "ba":
        chat.say("Hi", text, "Next", "c")
    other.say("Hi", "same")
    other.say("Hi", " same\n")
    other.say("Hi", " same\n", "Next", "c")
    assert preferences(store) == []


def test_an_answer_that_the_person_changed_is_the_better_one(store):
    chat = Chat(store, user="ann")
    chat.say("Hi", "Go away.")
    chat.say("Hi", "Hello! (changed)", "How are you?", "Fine.")
    assert preferences(store) == [("Go away.", "Hello! (changed)", "edit")]
    (entry,) = collected(store)
    assert entry.preferred[0].contributor == "local/user:ann"
    (conversation,) = store.list()
    edited = [stored for stored in store.get(conversation.id).tree if stored.meta.get("edited")]
    assert [stored.message.content for stored in edited] == ["Hello! (changed)"]


def test_messages_that_replace_nothing_are_no_edits(store):
    chat = Chat(store)
    chat.say("Hi", "Hello!", "How are you?", "Fine.")  # the client brings its history along
    chat.say("Hi", "Another history.", "How are you?", "Fine.")
    assert preferences(store) == []
    assert not any(stored.meta.get("edited") for stored in store.get(chat.id).tree)


@pytest.mark.parametrize("stricter", ["off", "metadata"])
def test_a_stricter_consent_anywhere_above_the_answer_excludes_it(store, stricter):
    chat = Chat(store)
    chat.say("My secret", "I see.", consent=stricter)
    answer = chat.say("My secret", "I see.", "Hi", "Hello!")
    chat.rate(answer, 1)
    assert collected(store) == []


def test_feedback_that_was_given_with_a_stricter_consent_is_not_read(store):
    chat = Chat(store)
    answer = chat.say("Hi", "Hello!")
    chat.rate(answer, 1, consent="metadata")
    assert collected(store) == []
    chat.rate(answer, -1)
    assert [rating.value for rating in collected(store)[0].ratings] == [-1]


@pytest.mark.parametrize("consents", [("full", "metadata"), ("off", "full"), ("metadata", "full")])
def test_both_answers_of_a_preference_need_the_consent_full(store, consents):
    chat = Chat(store)
    chat.say("Hi", "a", consent=consents[0])
    chat.say("Hi", "b", consent=consents[1])
    chat.say("Hi", "b", "Next", "c")
    assert collected(store) == []


def test_answers_are_selected_by_model_time_and_owner(store):
    ada, bob = (store.for_principal(Principal(name, "user")) for name in ("ada", "bob"))
    first, second = Chat(ada), Chat(bob)
    one, two = first.say("Hi", "one"), second.say("Hi", "two", model="other")
    given = first.rate(one, 1)
    second.rate(two, 1)
    assert [entry.answer.content for entry in collected(store)] == ["one", "two"]
    assert [entry.answer.content for entry in collected(store, model="other")] == ["two"]
    assert [entry.answer.content for entry in collected(store, since=given.created)] == ["two"]
    assert [entry.answer.content for entry in collected(ada)] == ["one"]
    assert store.collected_answers.contributors() == ["key:ada", "key:ada/user:ann", "key:bob", "key:bob/user:ann"]
    assert ada.collected_answers.contributors() == ["key:ada", "key:ada/user:ann"]


def test_notices_are_not_in_the_history(store):
    chat = Chat(store)
    store.ensure_branch(chat.id, [Message("user", "Help")], meta={"consent": "full"})
    store.append(chat.id, [Message("assistant", "A person will answer.")], {"notice": "open"})
    (answer,) = store.append(
        chat.id, [Message("user", "Hi"), Message("assistant", "Hello!")], {"consent": "full", "model": "m"}
    )[1:]
    chat.rate(answer, 1)
    assert [message.content for message in collected(store)[0].history] == ["Help", "Hi"]


def test_an_answer_that_is_deleted_during_the_iteration_is_left_out(store):
    chats = [Chat(store) for _ in range(150)]
    for number, chat in enumerate(chats):
        chat.rate(chat.say("Hi", f"{number}"), 1)
    answers = store.collected_answers.answers()
    next(answers)
    store.delete(chats[-1].id)
    assert sum(1 for _ in answers) == 148


def expected_preferences(tree):
    """The rule in plain Python, over all pairs of siblings."""

    def goes_on(node):
        return any(child.parent_id == node.id and child.message.role == "user" for child in tree)

    return {
        (older.message.content, newer.message.content)
        for older in tree
        for newer in tree
        if older.message.role == newer.message.role == "assistant"
        and older.parent_id == newer.parent_id and older.id in newer.sibling_ids
        and newer.sibling_ids.index(older.id) < newer.sibling_ids.index(newer.id)
        and older.meta["consent"] == newer.meta["consent"] == "full" and older.meta["finish"] == "stop"
        and older.message.content != newer.message.content and newer.meta["finish"] == "stop"
        and goes_on(newer) and not goes_on(older)
    }  # fmt: skip


CHATS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 1), max_size=2),  # the versions of the earlier answers
        st.integers(0, 1),
        st.sampled_from(["full", "full", "full", "metadata"]),
        st.sampled_from(["stop", "stop", "stop", "length"]),
    ),
    min_size=2, max_size=12,
)  # fmt: skip


@pytest.mark.costly
@settings(max_examples=60)
@given(CHATS)
def test_preferences_are_those_of_a_plain_search_over_the_tree(turns):
    store = open_store("sqlite:///:memory:")
    chat = Chat(store)
    for earlier, version, consent, finish in turns:
        texts = [text for number, choice in enumerate(earlier) for text in (f"q{number}", f"a{number}.{choice}")]
        tree = store.get(chat.id).tree
        generated = {entry.message.content for entry in tree if "finish" in entry.meta}
        if not set(texts[1::2]) <= generated:  # the client only sends answers that it has received
            texts = []
        chat.say(*texts, f"q{len(texts) // 2}", f"a{len(texts) // 2}.{version}", consent=consent, finish=finish)
    stored = store.get(chat.id)
    edits = {entry.id for entry in stored.tree if "finish" not in entry.meta}
    generated = [entry for entry in stored.tree if entry.id not in edits or entry.message.role == "user"]
    answers = list(store.collected_answers.answers())
    ids = {f"message:{entry.id}": entry for entry in stored.tree}
    pairs = {(entry.answer.content, better.answer.content) for entry in answers for better in entry.preferred
             if better.origin == "regeneration"}  # fmt: skip
    expected = expected_preferences(generated)
    event(f"{len(expected)} preferences")
    assert pairs <= expected
    assert all(ids[entry.id].meta["consent"] == "full" for entry in answers)
    if all(consent == "full" for _, _, consent, _ in turns):
        assert pairs == expected
    store.close()
