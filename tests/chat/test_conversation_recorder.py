"""A stored conversation: every message that was sent, every answer, and the branch that is shown."""

import asyncio

import pytest
from fakes import FakeGenerator, reply, saying, stream

from turnwise.chat.conversation_recorder import TITLE_LENGTH, derive_title
from turnwise.chat.service import EngineChatService
from turnwise.core.chat_request import ChatRequest, ContextOptions
from turnwise.core.errors import ContextLengthExceeded, NotFound, TurnwiseError
from turnwise.core.inference import TokenEvent
from turnwise.core.messages import Message
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
def kept(store):
    """The id of an empty conversation."""
    return store.create(title="", model="tiny").id


@pytest.fixture
def says(tokenizer, store):
    """`says(text)`: a service with a store that says it."""

    def says(text, finish="stop", *, error=None):
        generator = FakeGenerator(saying(tokenizer.encode(text), finish, error))
        return EngineChatService("tiny", 0, "fp", Renderer.from_tokenizer(tokenizer), generator, store=store)

    return says


def messages(store, kept):
    return [stored.message for stored in store.get(kept).messages]


def all_messages(store, kept):
    """Every message of every branch, with what it follows."""
    tree = store.get(kept).tree
    contents = {stored.id: stored.message.content for stored in tree}
    return [(contents.get(stored.parent_id), stored.message.content) for stored in tree]


def test_question_and_answer_are_kept_with_how_it_ended(says, store, kept):
    reply(says("Hello!"), ChatRequest((user("Hi"),), conversation_id=kept))
    assert messages(store, kept) == [user("Hi"), assistant("Hello!")]
    assert store.get(kept).messages[1].meta == {"finish": "stop", "model": "tiny"}


def test_the_next_turn_is_added(says, store, kept):
    talk = (user("Hi"), assistant("Hello!"), user("The lamp?"))
    reply(says("Hello!"), ChatRequest(talk[:1], conversation_id=kept))
    ids = [stored.id for stored in store.get(kept).messages]
    reply(says("Broken."), ChatRequest(talk, conversation_id=kept))
    assert messages(store, kept) == [*talk, assistant("Broken.")]
    assert [stored.id for stored in store.get(kept).messages][:2] == ids  # added to, not written anew


def test_an_edited_turn_is_a_branch_beside_what_came_after(says, store, kept):
    reply(says("Oh."), ChatRequest((user("Hi"), assistant("Hello!"), user("The lamp?")), conversation_id=kept))
    reply(says("Good evening!"), ChatRequest((user("Good evening"),), conversation_id=kept))
    assert messages(store, kept) == [user("Good evening"), assistant("Good evening!")]
    assert all_messages(store, kept) == [
        (None, "Hi"), ("Hi", "Hello!"), ("Hello!", "The lamp?"), ("The lamp?", "Oh."),
        (None, "Good evening"), ("Good evening", "Good evening!"),
    ]  # fmt: skip


def test_a_retry_adds_an_answer_and_does_not_repeat_the_question(says, store, kept):
    reply(says("Hello!"), ChatRequest((user("Hi"),), conversation_id=kept))
    reply(says("Hello again!"), ChatRequest((user("Hi"),), conversation_id=kept))
    assert messages(store, kept) == [user("Hi"), assistant("Hello again!")]
    assert all_messages(store, kept) == [(None, "Hi"), ("Hi", "Hello!"), ("Hi", "Hello again!")]


def test_the_old_answer_is_shown_until_there_is_a_new_one(says, store, kept):
    reply(says("Hello!"), ChatRequest((user("Hi"),), conversation_id=kept))
    with pytest.raises(TurnwiseError):
        reply(says("", "error", error="It melted."), ChatRequest((user("Hi"),), conversation_id=kept))
    assert messages(store, kept) == [user("Hi"), assistant("Hello!")]


def test_a_request_with_an_older_history_is_a_branch(says, store, kept):
    talk = (user("Ada"), assistant("Hello!"), user("Paris"), assistant("Fine."), user("I am 30"))
    reply(says("Good."), ChatRequest(talk, conversation_id=kept))
    reply(says("Tea!"), ChatRequest((*talk[:2], user("I like tea.")), conversation_id=kept))
    assert messages(store, kept) == [*talk[:2], user("I like tea."), assistant("Tea!")]
    assert {content for _, content in all_messages(store, kept)} >= {"Paris", "I am 30", "Good."}


def test_two_requests_at_once_do_not_interleave(tokenizer, store, kept):
    async def both():
        def service(text):
            generator = FakeGenerator(saying(tokenizer.encode(text)))
            return EngineChatService("tiny", 0, "fp", Renderer.from_tokenizer(tokenizer), generator, store=store)

        cat = service("The cat.").stream(ChatRequest((user("cat?"),), conversation_id=kept))
        dog = service("The dog.").stream(ChatRequest((user("dog?"),), conversation_id=kept))
        heard = [await anext(cat), await anext(dog)]
        heard += [delta async for delta in cat]
        heard += [delta async for delta in dog]

    asyncio.run(both())
    assert sorted(all_messages(store, kept), key=lambda pair: (pair[0] or "", pair[1])) == [
        (None, "cat?"), (None, "dog?"), ("cat?", "The cat."), ("dog?", "The dog."),
    ]  # fmt: skip


def test_a_continued_answer_is_stored_beside_the_shorter_one(says, store, kept):
    reply(says("The lamp"), ChatRequest((user("Hi"),), conversation_id=kept))
    turn = ChatRequest(
        (user("Hi"), assistant("The lamp")), conversation_id=kept, context=ContextOptions(continue_final_message=True)
    )
    assert reply(says(" is broken."), turn).text == " is broken."
    assert messages(store, kept) == [user("Hi"), assistant("The lamp is broken.")]
    assert all_messages(store, kept) == [(None, "Hi"), ("Hi", "The lamp"), ("Hi", "The lamp is broken.")]


def test_a_beginning_that_the_client_wrote_is_stored_before_it_is_continued(says, store, kept):
    turn = ChatRequest(
        (assistant("The lamp"),), conversation_id=kept, context=ContextOptions(continue_final_message=True)
    )
    with pytest.raises(TurnwiseError):
        reply(says("", "error", error="It melted."), turn)
    assert messages(store, kept) == [assistant("The lamp")]
    reply(says(" is broken."), turn)
    assert all_messages(store, kept) == [(None, "The lamp"), (None, "The lamp is broken.")]


def test_an_answer_is_saved_while_it_is_written(tokenizer, store, kept, monkeypatch):
    monkeypatch.setattr("turnwise.chat.conversation_recorder.SAVE_SECONDS", 0.0)
    generator = FakeGenerator([TokenEvent(id) for id in tokenizer.encode("The lamp is broken.")])  # and no end
    service = EngineChatService("tiny", 0, "fp", Renderer.from_tokenizer(tokenizer), generator, store=store)

    async def look_meanwhile():
        deltas = service.stream(ChatRequest((user("Hi"),), conversation_id=kept))
        heard = ""
        while len(heard) < 8:
            heard += (await anext(deltas)).text
            await asyncio.sleep(0.05)
        seen = store.get(kept).messages[-1]
        await deltas.aclose()
        return seen, heard

    seen, heard = asyncio.run(look_meanwhile())
    assert seen.meta == {"finish": "in_progress", "model": "tiny"}
    assert heard.startswith(seen.message.content)
    _, answer = store.get(kept).tree
    assert (answer.id, answer.message.content, answer.meta["finish"]) == (seen.id, heard, "cancelled")


def test_the_answer_is_safe_before_the_client_has_the_end_of_it(says, store, kept):
    async def last():
        deltas = says("Hello!").stream(ChatRequest((user("Hi"),), conversation_id=kept))
        while (await anext(deltas)).usage is None:
            pass
        stored = store.get(kept).messages
        await deltas.aclose()
        return [(entry.message, entry.meta.get("finish")) for entry in stored]

    assert asyncio.run(last()) == [(user("Hi"), None), (assistant("Hello!"), "stop")]


def test_the_question_is_safe_before_the_answer_begins(says, store, kept):
    service = says("Hello!")

    async def first():
        deltas = service.stream(ChatRequest((user("Hi"),), conversation_id=kept))
        await anext(deltas)
        before = messages(store, kept)
        await deltas.aclose()
        return before

    assert asyncio.run(first()) == [user("Hi")]


def test_who_leaves_early_finds_what_was_said_so_far(tokenizer, store, kept):
    generator = FakeGenerator([TokenEvent(id) for id in tokenizer.encode("The lamp")])  # and no end
    service = EngineChatService("tiny", 0, "fp", Renderer.from_tokenizer(tokenizer), generator, store=store)

    async def leave():
        heard = ""
        deltas = service.stream(ChatRequest((user("Hi"),), conversation_id=kept))
        async for delta in deltas:
            heard += delta.text
            if len(heard) >= 3:
                break
        await deltas.aclose()
        return heard

    heard = asyncio.run(leave())
    assert messages(store, kept) == [user("Hi"), assistant(heard)]
    assert store.get(kept).messages[1].meta["finish"] == "cancelled"


def test_what_was_said_before_a_failure_is_kept_as_such(says, store, kept):
    with pytest.raises(TurnwiseError):
        stream(says("The lamp", "error", error="It melted."), ChatRequest((user("Hi"),), conversation_id=kept))
    assert messages(store, kept) == [user("Hi"), assistant("The lamp")]
    assert store.get(kept).messages[1].meta["finish"] == "error"


def test_nothing_said_is_not_kept(says, store, kept):
    reply(says(""), ChatRequest((user("Hi"),), conversation_id=kept))
    assert messages(store, kept) == [user("Hi")]


def test_without_an_id_nothing_is_kept(says, store):
    reply(says("Hello!"), ChatRequest((user("Hi"),)))
    assert store.list() == []


def test_an_unknown_conversation_is_refused_before_the_model_is_asked(says):
    service = says("Hello!")
    with pytest.raises(NotFound):
        stream(service, ChatRequest((user("Hi"),), conversation_id="conv_unknown"))
    assert service.engine.requests == []


def test_a_question_that_is_refused_is_stored_with_the_reason(says, store, kept):
    reply(says("Hello!"), ChatRequest((user("Hi"),), conversation_id=kept))
    long = user("lamp " * 500)
    with pytest.raises(ContextLengthExceeded) as refusal:
        stream(says("Hello!"), ChatRequest((user("Hi"), assistant("Hello!"), long), conversation_id=kept))
    stored = store.get(kept).messages
    assert [entry.message for entry in stored] == [user("Hi"), assistant("Hello!"), long]
    assert stored[-1].meta == {"error": {"code": "context_length_exceeded", "message": str(refusal.value)}}


def test_the_reason_of_a_refusal_goes_once_the_question_is_answered(says, store, kept):
    long = user("lamp " * 500)
    with pytest.raises(ContextLengthExceeded):
        stream(says("Hello!"), ChatRequest((long,), conversation_id=kept))
    service = says("Hello!")
    service.engine.context_length = 4096
    reply(service, ChatRequest((long,), conversation_id=kept))
    assert [entry.message for entry in store.get(kept).messages] == [long, assistant("Hello!")]
    assert store.get(kept).messages[0].meta == {}


def test_a_conversation_deleted_meanwhile_stays_deleted(says, store, kept):
    service = says("Hello!")

    async def delete_meanwhile():
        said = ""
        async for delta in service.stream(ChatRequest((user("Hi"),), conversation_id=kept)):
            if not said:
                store.delete(kept)
            said += delta.text
        return said

    assert asyncio.run(delete_meanwhile()) == "Hello!"
    assert store.list() == []


def test_the_title_is_the_first_thing_the_user_said_and_stays(says, store, kept):
    opening = (Message("system", "Be kind."), user("\n  The lamp is broken.\nWhat now?"))
    reply(says("Oh."), ChatRequest(opening, conversation_id=kept))
    assert store.get(kept).title == "The lamp is broken."
    store.rename(kept, "Lamp")
    reply(says("Oh!"), ChatRequest((user("Something else"),), conversation_id=kept))
    assert store.get(kept).title == "Lamp"


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ([], ""),
        ([Message("system", "Be kind."), assistant("Hello!")], ""),
        ([user(" \n ")], ""),
        ([user("x" * TITLE_LENGTH)], "x" * TITLE_LENGTH),
        ([user("x" * (TITLE_LENGTH + 1))], "x" * (TITLE_LENGTH - 1) + "…"),
    ],
)
def test_titles(said, title):
    assert derive_title(said) == title
