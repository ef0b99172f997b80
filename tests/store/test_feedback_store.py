"""Feedback on messages and completions: consent, history, counting, and files that are older."""

import sqlite3

import pytest

from turnwise.core.access import Principal
from turnwise.core.errors import Forbidden, InvalidParameter, NotFound
from turnwise.core.feedback import AnswerOrigin, AnswerReference, NewFeedback, RatingCounts, normalize_tags
from turnwise.core.messages import Message
from turnwise.core.stored_completions import StoredCompletion
from turnwise.store import open_store
from turnwise.store.sqlite import migrations


@pytest.fixture
def store():
    opened = open_store("sqlite:///:memory:")
    yield opened
    opened.close()


def add_answer(store, consent="full", **meta):
    """A conversation with one exchange; returns the reference of the answer."""
    id = store.create(title="", model="m").id
    meta = {"model": "m", "finish": "stop", "consent": consent, **meta}
    store.append(id, [Message("user", "Hello")], {"consent": consent})
    return AnswerReference("message", store.append(id, [Message("assistant", "Hi")], meta)[0])


def add_completion(store, consent="full"):
    choices = [{"index": index, "message": {"content": f"answer {index}"}} for index in range(2)]
    body = {"choices": choices}
    store.completions.add(
        StoredCompletion("chatcmpl-1", 1, "m", ({"role": "user", "content": "Hello"},), {}, body, {}, consent=consent)
    )
    return AnswerReference("completion", "chatcmpl-1", 1)


@pytest.mark.parametrize("add", [add_answer, add_completion])
def test_feedback_is_stored_with_all_its_parts(store, add):
    answer = add(store)
    content = NewFeedback(-1, "Hello!", "too curt", ("impolite", "my_tag"), "ann")
    given = store.feedback.add(answer, content)
    assert store.feedback.of_answer(answer) == [given]
    assert store.feedback.list() == ([given], False)
    assert (given.content.tags, given.content.user, given.contributor) == (content.tags, "ann", "local/user:ann")


def test_the_version_and_the_weights_of_the_answer_are_stored_with_the_feedback(store):
    given = store.feedback.add(add_answer(store, version=3, weights="ab12"), NewFeedback(rating=1))
    assert (given.version, given.weights_sha256) == ("3", "ab12")
    assert store.feedback.list()[0] == [given]


def test_the_origin_of_an_answer_says_which_conversation_it_is_of_and_whether_the_version_was_named(store):
    conversation = store.create(title="", model="m").id
    routed, named = (
        AnswerReference("message", store.append(conversation, [Message("assistant", "Hi")], meta)[0])
        for meta in ({"version": "m@2"}, {"version": "m@2", "routed": False})
    )
    assert [store.feedback.origin(answer) for answer in (routed, named)] == [
        AnswerOrigin(routed, "m@2", f"id\n{conversation}", True),
        AnswerOrigin(named, "m@2", f"id\n{conversation}", False),
    ]
    question, choices = {"role": "user", "content": "Hello"}, {"choices": [{"message": {"content": "Hi"}}]}
    origins = []
    for number, (messages, is_routed) in enumerate([((question,), True), ((question, question), False)]):
        store.completions.add(
            StoredCompletion(
                f"{number}", 1, "m", messages, {}, choices, {}, user="ann", version="m@2", is_routed=is_routed
            )
        )
        origins.append(store.feedback.origin(AnswerReference("completion", f"{number}")))
    assert [origin.is_routed for origin in origins] == [True, False]
    assert origins[0].conversation == origins[1].conversation, "a client sends the same beginning again"
    with pytest.raises(NotFound):
        store.feedback.origin(AnswerReference("message", "unknown"))


def test_a_later_rating_of_the_same_person_counts_instead_of_the_earlier_one(store):
    answer = add_answer(store, version="2")
    for rating, user in ((1, "ann"), (-1, "ann"), (1, "bob")):
        store.feedback.add(answer, NewFeedback(rating, user=user))
    history = store.feedback.of_answer(answer)
    assert [entry.content.rating for entry in history] == [1, -1, 1]
    assert store.feedback.count_ratings("m") == {"2": RatingCounts(good=1, bad=1)}
    assert store.feedback.count_ratings("m", since=history[1].created) == {"2": RatingCounts(good=1)}
    assert store.feedback.count_ratings("other") == {}


@pytest.mark.parametrize(
    ("consent", "requested", "content", "is_allowed"),
    [
        ("full", "full", NewFeedback(correction="x"), True),
        ("full", "metadata", NewFeedback(correction="x"), False),
        ("metadata", "full", NewFeedback(comment="x"), False),
        ("metadata", "full", NewFeedback(-1, tags=("wrong",)), True),
        ("metadata", "full", NewFeedback(-1, tags=("my_own_words",)), False),
        ("off", "full", NewFeedback(1), False),
        ("full", "off", NewFeedback(1), False),
        (None, "full", NewFeedback(1), True),
        (None, "full", NewFeedback(1, "x"), False),
    ],
)
@pytest.mark.parametrize("add", [add_answer, add_completion])
def test_the_stricter_consent_of_answer_and_request_holds(store, add, consent, requested, content, is_allowed):
    answer = add(store, consent)
    if is_allowed:
        stored = store.feedback.add(answer, content, consent=requested)
        assert stored.consent == ("metadata" if "metadata" in (consent or "metadata", requested) else "full")
    else:
        with pytest.raises(Forbidden, match="consent"):
            store.feedback.add(answer, content, consent=requested)
        assert store.feedback.list() == ([], False)


def test_invalid_feedback_is_rejected(store):
    answer, completion = add_answer(store), add_completion(store)
    with pytest.raises(InvalidParameter, match="needs a 'rating'"):
        store.feedback.add(answer, NewFeedback(user="ann"))
    with pytest.raises(InvalidParameter, match="1 or -1"):
        store.feedback.add(answer, NewFeedback(5))
    with pytest.raises(InvalidParameter, match="last choice has the index 1"):
        store.feedback.add(AnswerReference("completion", completion.id, 2), NewFeedback(1))
    question = store.get(store.list()[0].id).messages[0].id
    with pytest.raises(InvalidParameter, match="messages of the assistant"):
        store.feedback.add(AnswerReference("message", question), NewFeedback(1))


def test_feedback_goes_with_its_answer_and_can_be_deleted_alone(store):
    answer, completion = add_answer(store), add_completion(store)
    first, second = (store.feedback.add(entry, NewFeedback(1)) for entry in (answer, completion))
    store.completions.delete(completion.id)
    assert store.feedback.list() == ([first], False)
    store.feedback.delete(first.id)
    assert store.feedback.list() == ([], False)
    for id in (first.id, second.id):
        with pytest.raises(NotFound, match="no feedback"):
            store.feedback.delete(id)


def test_lists_have_pages(store):
    answer = add_answer(store)
    given = [store.feedback.add(answer, NewFeedback(1)) for _ in range(5)]
    assert store.feedback.list(limit=2) == (given[:2], True)
    assert store.feedback.list(limit=3, after=given[1].id) == (given[2:], False)
    conversation = store.list()[0].id
    assert store.feedback.of_conversation(conversation) == given


def test_a_reviewer_rates_answers_of_others_if_their_consent_is_full(store):
    own, agent = (store.for_principal(Principal(name, role)) for name, role in (("ada", "user"), ("eve", "agent")))
    full, metadata = add_answer(own), add_answer(own, "metadata")
    verdict = NewFeedback(1, user="Eve", role="reviewer")
    assert agent.feedback.add(full, verdict).contributor == "key:eve/user:Eve"
    for answer, content in ((metadata, verdict), (full, NewFeedback(1))):
        with pytest.raises(NotFound):
            agent.feedback.add(answer, content)
    with pytest.raises(NotFound):
        store.for_principal(Principal("bob", "user")).feedback.add(full, verdict)


def test_tags_are_normalized():
    assert normalize_tags(["Too long", "wrong", "WRONG", "中文"]) == ("too_long", "wrong", "中文")
    for invalid in (["no/slash"], [""], ["x" * 41], [f"t{i}" for i in range(11)]):
        with pytest.raises(InvalidParameter):
            normalize_tags(invalid)


@pytest.mark.parametrize("text", ["message:msg_1", "completion:chatcmpl-1:3", "completion:a:b:0"])
def test_a_reference_is_read_as_it_is_written(text):
    assert str(AnswerReference.parse(text)) == text


@pytest.mark.parametrize("field", ["correction", "comment"])
def test_a_text_of_spaces_is_rejected(store, field):
    with pytest.raises(InvalidParameter, match="has no text"):
        store.feedback.add(add_answer(store), NewFeedback(1, **{field: " \n"}))
    assert store.feedback.list() == ([], False)


@pytest.mark.parametrize("text", ["", "message:", "completion:a", "completion::1", "completion:a:-1", "answer:1"])
def test_an_invalid_reference_is_rejected(text):
    with pytest.raises(InvalidParameter, match="is not an answer"):
        AnswerReference.parse(text)


def test_feedback_of_an_older_file_belongs_to_the_owner_of_its_completion(tmp_path, monkeypatch):
    path = tmp_path / "chats.db"
    monkeypatch.setattr(migrations, "STEPS", migrations.STEPS[:12])
    connection = sqlite3.connect(path, isolation_level=None)
    migrations.migrate(connection, "here")
    monkeypatch.undo()
    connection.execute(
        "INSERT INTO completions (id, created, model, messages, request, response, metadata, owner) VALUES"
        """ ('chatcmpl-a', 1, 'm', '[]', '{"user": "ann"}', '{"choices": [{}]}', '{}', 'ada')"""
    )
    connection.execute(
        "INSERT INTO feedback (id, completion, answer, created, rating, correction, comment, user)"
        " VALUES ('fb_a', 1, 0, 5.5, -1, 'better', NULL, 'bob')"
    )
    connection.close()
    store = open_store(f"sqlite:///{path}")
    own = store.for_principal(Principal("ada", "user"))
    (feedback,) = own.feedback.of_completion("chatcmpl-a")
    assert (feedback.owner, feedback.created, feedback.content.correction) == ("ada", 5.5, "better")
    assert own.completions.get("chatcmpl-a").user == "ann"
    assert list(store.collected_answers.answers()) == [], "nobody was asked for consent then"
    assert set(store.collected_answers.contributors()) == {"key:ada/user:ann", "key:ada/user:bob"}
    store.close()
