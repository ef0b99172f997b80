"""The recorder stores requests and responses as branches of a conversation."""

import asyncio

import pytest
from fakes import FakeEngine, answer_events, reply, stream

from turnwise.chat.conversation_recorder import TITLE_LENGTH, derive_title
from turnwise.chat.service import EngineChatService
from turnwise.core.chat_request import ChatRequest, ContextOptions
from turnwise.core.errors import ContextLengthExceeded, NotFound, TurnwiseError
from turnwise.core.inference import TokenEvent
from turnwise.core.messages import Message
from turnwise.core.stored_conversations import ConversationChanges
from turnwise.store import open_store
from turnwise.text.rendering.renderer import Renderer

pytestmark = pytest.mark.timeout(60)


def user(content):
    return Message("user", content)


def assistant(content):
    return Message("assistant", content)


@pytest.fixture
def store():
    store = open_store("sqlite:///:memory:")
    yield store
    store.close()


@pytest.fixture
def conversation_id(store):
    """The id of an empty conversation."""
    return store.create(title="", model="tiny").id


@pytest.fixture
def says(tokenizer, store):
    """`says(text)`: a service with a store that answers with the text."""

    def says(text, finish="stop", *, error=None):
        engine = FakeEngine(answer_events(tokenizer.encode(text), finish, error))
        return EngineChatService("tiny", 0, "fp", Renderer.from_tokenizer(tokenizer), engine, store=store)

    return says


def messages(store, conversation_id):
    return [stored.message for stored in store.get(conversation_id).messages]


def all_messages(store, conversation_id):
    """(text of the previous message, text) of the messages of all branches."""
    tree = store.get(conversation_id).tree
    contents = {stored.id: stored.message.content for stored in tree}
    return [(contents.get(stored.parent_id), stored.message.content) for stored in tree]


def test_request_and_response_are_stored_with_the_finish_reason(says, store, conversation_id):
    reply(says("Hello!"), ChatRequest((user("Hi"),), conversation_id=conversation_id))
    assert messages(store, conversation_id) == [user("Hi"), assistant("Hello!")]
    meta = dict(store.get(conversation_id).messages[1].meta)
    assert meta.pop("usage") == {"prompt_tokens": 5, "completion_tokens": 3}
    assert meta == {"finish": "stop", "model": "tiny", "consent": "full"}


def test_the_next_request_extends_the_branch(says, store, conversation_id):
    dialogue = (user("Hi"), assistant("Hello!"), user("The lamp?"))
    reply(says("Hello!"), ChatRequest(dialogue[:1], conversation_id=conversation_id))
    ids = [stored.id for stored in store.get(conversation_id).messages]
    reply(says("Broken."), ChatRequest(dialogue, conversation_id=conversation_id))
    assert messages(store, conversation_id) == [*dialogue, assistant("Broken.")]
    assert [stored.id for stored in store.get(conversation_id).messages][:2] == ids  # stored messages keep their ids


def test_an_edited_message_starts_a_branch(says, store, conversation_id):
    reply(
        says("Oh."), ChatRequest((user("Hi"), assistant("Hello!"), user("The lamp?")), conversation_id=conversation_id)
    )
    reply(says("Good evening!"), ChatRequest((user("Good evening"),), conversation_id=conversation_id))
    assert messages(store, conversation_id) == [user("Good evening"), assistant("Good evening!")]
    assert all_messages(store, conversation_id) == [
        (None, "Hi"), ("Hi", "Hello!"), ("Hello!", "The lamp?"), ("The lamp?", "Oh."),
        (None, "Good evening"), ("Good evening", "Good evening!"),
    ]  # fmt: skip


def test_a_retry_adds_a_response_to_the_same_message(says, store, conversation_id):
    reply(says("Hello!"), ChatRequest((user("Hi"),), conversation_id=conversation_id))
    reply(says("Hello again!"), ChatRequest((user("Hi"),), conversation_id=conversation_id))
    assert messages(store, conversation_id) == [user("Hi"), assistant("Hello again!")]
    assert all_messages(store, conversation_id) == [(None, "Hi"), ("Hi", "Hello!"), ("Hi", "Hello again!")]


def test_a_failed_retry_keeps_the_previous_response(says, store, conversation_id):
    reply(says("Hello!"), ChatRequest((user("Hi"),), conversation_id=conversation_id))
    with pytest.raises(TurnwiseError):
        reply(says("", "error", error="It melted."), ChatRequest((user("Hi"),), conversation_id=conversation_id))
    assert messages(store, conversation_id) == [user("Hi"), assistant("Hello!")]


def test_a_request_with_an_older_history_starts_a_branch(says, store, conversation_id):
    dialogue = (user("Ada"), assistant("Hello!"), user("Paris"), assistant("Fine."), user("I am 30"))
    reply(says("Good."), ChatRequest(dialogue, conversation_id=conversation_id))
    reply(says("Tea!"), ChatRequest((*dialogue[:2], user("I like tea.")), conversation_id=conversation_id))
    assert messages(store, conversation_id) == [*dialogue[:2], user("I like tea."), assistant("Tea!")]
    assert {content for _, content in all_messages(store, conversation_id)} >= {"Paris", "I am 30", "Good."}


def test_concurrent_requests_become_separate_branches(tokenizer, store, conversation_id):
    async def stream_both():
        def service(text):
            engine = FakeEngine(answer_events(tokenizer.encode(text)))
            return EngineChatService("tiny", 0, "fp", Renderer.from_tokenizer(tokenizer), engine, store=store)

        cat = service("The cat.").stream(ChatRequest((user("cat?"),), conversation_id=conversation_id))
        dog = service("The dog.").stream(ChatRequest((user("dog?"),), conversation_id=conversation_id))
        await anext(cat)
        await anext(dog)
        for deltas in (cat, dog):
            async for _ in deltas:
                pass

    asyncio.run(stream_both())
    assert sorted(all_messages(store, conversation_id), key=lambda pair: (pair[0] or "", pair[1])) == [
        (None, "cat?"), (None, "dog?"), ("cat?", "The cat."), ("dog?", "The dog."),
    ]  # fmt: skip


def test_a_continued_response_is_stored_as_a_sibling(says, store, conversation_id):
    reply(says("The lamp"), ChatRequest((user("Hi"),), conversation_id=conversation_id))
    request = ChatRequest(
        (user("Hi"), assistant("The lamp")),
        conversation_id=conversation_id,
        context=ContextOptions(continue_final_message=True),
    )
    assert reply(says(" is broken."), request).text == " is broken."
    assert messages(store, conversation_id) == [user("Hi"), assistant("The lamp is broken.")]
    assert all_messages(store, conversation_id) == [(None, "Hi"), ("Hi", "The lamp"), ("Hi", "The lamp is broken.")]


def test_a_prefix_written_by_the_client_is_stored_before_it_is_continued(says, store, conversation_id):
    request = ChatRequest(
        (assistant("The lamp"),), conversation_id=conversation_id, context=ContextOptions(continue_final_message=True)
    )
    with pytest.raises(TurnwiseError):
        reply(says("", "error", error="It melted."), request)
    assert messages(store, conversation_id) == [assistant("The lamp")]
    reply(says(" is broken."), request)
    assert all_messages(store, conversation_id) == [(None, "The lamp"), (None, "The lamp is broken.")]


def test_a_growing_response_is_saved(tokenizer, store, conversation_id, monkeypatch):
    monkeypatch.setattr("turnwise.chat.conversation_recorder.SAVE_SECONDS", 0.0)
    engine = FakeEngine([TokenEvent(id) for id in tokenizer.encode("The lamp is broken.")])  # without a last event
    service = EngineChatService("tiny", 0, "fp", Renderer.from_tokenizer(tokenizer), engine, store=store)

    async def read_during_generation():
        deltas = service.stream(ChatRequest((user("Hi"),), conversation_id=conversation_id))
        received = ""
        while len(received) < 8:
            received += (await anext(deltas)).text
            await asyncio.sleep(0.05)
        saved = store.get(conversation_id).messages[-1]
        await deltas.aclose()
        return saved, received

    saved, received = asyncio.run(read_during_generation())
    assert saved.meta == {"finish": "in_progress", "model": "tiny", "consent": "full"}
    assert received.startswith(saved.message.content)
    _, response = store.get(conversation_id).tree
    assert (response.id, response.message.content, response.meta["finish"]) == (saved.id, received, "cancelled")


def test_the_complete_response_is_saved_before_its_last_delta_is_sent(says, store, conversation_id):
    async def read_to_the_end():
        deltas = says("Hello!").stream(ChatRequest((user("Hi"),), conversation_id=conversation_id))
        while (await anext(deltas)).usage is None:
            pass
        stored = store.get(conversation_id).messages
        await deltas.aclose()
        return [(entry.message, entry.meta.get("finish")) for entry in stored]

    assert asyncio.run(read_to_the_end()) == [(user("Hi"), None), (assistant("Hello!"), "stop")]


def test_the_request_is_saved_before_the_first_delta(says, store, conversation_id):
    service = says("Hello!")

    async def read_first_delta():
        deltas = service.stream(ChatRequest((user("Hi"),), conversation_id=conversation_id))
        await anext(deltas)
        stored = messages(store, conversation_id)
        await deltas.aclose()
        return stored

    assert asyncio.run(read_first_delta()) == [user("Hi")]


def test_a_response_interrupted_by_a_disconnect_is_saved(tokenizer, store, conversation_id):
    engine = FakeEngine([TokenEvent(id) for id in tokenizer.encode("The lamp")])  # without a last event
    service = EngineChatService("tiny", 0, "fp", Renderer.from_tokenizer(tokenizer), engine, store=store)

    async def disconnect():
        received = ""
        deltas = service.stream(ChatRequest((user("Hi"),), conversation_id=conversation_id))
        async for delta in deltas:
            received += delta.text
            if len(received) >= 3:
                break
        await deltas.aclose()
        return received

    received = asyncio.run(disconnect())
    assert messages(store, conversation_id) == [user("Hi"), assistant(received)]
    assert store.get(conversation_id).messages[1].meta["finish"] == "cancelled"


def test_a_response_interrupted_by_an_error_is_saved(says, store, conversation_id):
    with pytest.raises(TurnwiseError):
        stream(
            says("The lamp", "error", error="It melted."), ChatRequest((user("Hi"),), conversation_id=conversation_id)
        )
    assert messages(store, conversation_id) == [user("Hi"), assistant("The lamp")]
    assert store.get(conversation_id).messages[1].meta["finish"] == "error"


def test_an_empty_response_is_not_stored(says, store, conversation_id):
    reply(says(""), ChatRequest((user("Hi"),), conversation_id=conversation_id))
    assert messages(store, conversation_id) == [user("Hi")]


def test_without_a_conversation_id_nothing_is_stored(says, store):
    reply(says("Hello!"), ChatRequest((user("Hi"),)))
    assert store.list() == []


def test_an_unknown_conversation_is_rejected_before_generation(says):
    service = says("Hello!")
    with pytest.raises(NotFound):
        stream(service, ChatRequest((user("Hi"),), conversation_id="conv_unknown"))
    assert service.engine.requests == []


def test_a_rejected_message_is_stored_with_the_error(says, store, conversation_id):
    reply(says("Hello!"), ChatRequest((user("Hi"),), conversation_id=conversation_id))
    long_message = user("lamp " * 500)
    with pytest.raises(ContextLengthExceeded) as error:
        stream(
            says("Hello!"),
            ChatRequest((user("Hi"), assistant("Hello!"), long_message), conversation_id=conversation_id),
        )
    stored = store.get(conversation_id).messages
    assert [entry.message for entry in stored] == [user("Hi"), assistant("Hello!"), long_message]
    assert stored[-1].meta["error"] == {"code": "context_length_exceeded", "message": str(error.value)}


def test_the_stored_error_is_removed_when_the_message_is_answered(says, store, conversation_id):
    long_message = user("lamp " * 500)
    with pytest.raises(ContextLengthExceeded):
        stream(says("Hello!"), ChatRequest((long_message,), conversation_id=conversation_id))
    service = says("Hello!")
    service.engine.context_length = 4096
    reply(service, ChatRequest((long_message,), conversation_id=conversation_id))
    assert [entry.message for entry in store.get(conversation_id).messages] == [long_message, assistant("Hello!")]
    assert store.get(conversation_id).messages[0].meta == {"consent": "full"}


def test_a_conversation_deleted_during_generation_stays_deleted(says, store, conversation_id):
    service = says("Hello!")

    async def delete_during_generation():
        received = ""
        async for delta in service.stream(ChatRequest((user("Hi"),), conversation_id=conversation_id)):
            if not received:
                store.delete(conversation_id)
            received += delta.text
        return received

    assert asyncio.run(delete_during_generation()) == "Hello!"
    assert store.list() == []


def test_the_title_is_the_first_user_message_and_is_set_once(says, store, conversation_id):
    opening = (Message("system", "Be kind."), user("\n  The lamp is broken.\nWhat now?"))
    reply(says("Oh."), ChatRequest(opening, conversation_id=conversation_id))
    assert store.get(conversation_id).title == "The lamp is broken."
    store.update(conversation_id, ConversationChanges(title="Lamp"))
    reply(says("Oh!"), ChatRequest((user("Something else"),), conversation_id=conversation_id))
    assert store.get(conversation_id).title == "Lamp"


@pytest.mark.parametrize(
    ("messages", "title"),
    [
        ([], ""),
        ([Message("system", "Be kind."), assistant("Hello!")], ""),
        ([user(" \n ")], ""),
        ([user("x" * TITLE_LENGTH)], "x" * TITLE_LENGTH),
        ([user("x" * (TITLE_LENGTH + 1))], "x" * (TITLE_LENGTH - 1) + "…"),
    ],
)
def test_a_title_is_the_first_line_cut_to_its_limit(messages, title):
    assert derive_title(messages) == title
