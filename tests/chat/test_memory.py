"""The kept conversation is what was sent, and then what was answered."""

import asyncio

import pytest
from fakes import FakeGenerator, reply, saying, stream

from turnwise.chat.memory import TITLE_LENGTH, title_of
from turnwise.chat.service import ChatService, Turn
from turnwise.core.errors import NotFound, TurnwiseError
from turnwise.core.messages import Message
from turnwise.core.ports import TokenEvent
from turnwise.store import open_store
from turnwise.text.render import Renderer

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
        return ChatService("tiny", 0, "fp", Renderer.of(tokenizer), generator, store=store)

    return says


def messages(store, kept):
    return [stored.message for stored in store.get(kept).messages]


def test_question_and_answer_are_kept_with_how_it_ended(says, store, kept):
    reply(says("Hello!"), Turn((user("Hi"),), conversation_id=kept))
    assert messages(store, kept) == [user("Hi"), assistant("Hello!")]
    assert store.get(kept).messages[1].meta == {"finish": "stop", "model": "tiny"}


def test_the_next_turn_is_added(says, store, kept):
    talk = (user("Hi"), assistant("Hello!"), user("The lamp?"))
    reply(says("Hello!"), Turn(talk[:1], conversation_id=kept))
    ids = [stored.id for stored in store.get(kept).messages]
    reply(says("Broken."), Turn(talk, conversation_id=kept))
    assert messages(store, kept) == [*talk, assistant("Broken.")]
    assert [stored.id for stored in store.get(kept).messages][:2] == ids  # added to, not written anew


def test_an_edited_turn_replaces_what_came_after(says, store, kept):
    reply(says("Hello!"), Turn((user("Hi"), assistant("Hello!"), user("The lamp?")), conversation_id=kept))
    reply(says("Good evening!"), Turn((user("Good evening"),), conversation_id=kept))
    assert messages(store, kept) == [user("Good evening"), assistant("Good evening!")]


def test_a_retry_replaces_the_answer(says, store, kept):
    reply(says("Hello!"), Turn((user("Hi"),), conversation_id=kept))
    reply(says("Hello again!"), Turn((user("Hi"),), conversation_id=kept))
    assert messages(store, kept) == [user("Hi"), assistant("Hello again!")]


def test_a_continued_answer_is_kept_as_one(says, store, kept):
    reply(says("The lamp"), Turn((user("Hi"),), conversation_id=kept))
    turn = Turn((user("Hi"), assistant("The lamp")), conversation_id=kept, continue_final=True)
    assert reply(says(" is broken."), turn).text == " is broken."
    assert messages(store, kept) == [user("Hi"), assistant("The lamp is broken.")]


def test_the_question_is_safe_before_the_answer_begins(says, store, kept):
    service = says("Hello!")

    async def first():
        deltas = service.stream(Turn((user("Hi"),), conversation_id=kept))
        await anext(deltas)
        before = messages(store, kept)
        await deltas.aclose()
        return before

    assert asyncio.run(first()) == [user("Hi")]


def test_who_leaves_early_finds_what_was_said_so_far(tokenizer, store, kept):
    generator = FakeGenerator([TokenEvent(id) for id in tokenizer.encode("The lamp")])  # and no end
    service = ChatService("tiny", 0, "fp", Renderer.of(tokenizer), generator, store=store)

    async def leave():
        heard = ""
        deltas = service.stream(Turn((user("Hi"),), conversation_id=kept))
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
        stream(says("The lamp", "error", error="It melted."), Turn((user("Hi"),), conversation_id=kept))
    assert messages(store, kept) == [user("Hi"), assistant("The lamp")]
    assert store.get(kept).messages[1].meta["finish"] == "error"


def test_nothing_said_is_not_kept(says, store, kept):
    reply(says(""), Turn((user("Hi"),), conversation_id=kept))
    assert messages(store, kept) == [user("Hi")]


def test_without_an_id_nothing_is_kept(says, store):
    reply(says("Hello!"), Turn((user("Hi"),)))
    assert store.list() == []


def test_an_unknown_conversation_is_refused_before_the_model_is_asked(says):
    service = says("Hello!")
    with pytest.raises(NotFound):
        stream(service, Turn((user("Hi"),), conversation_id="conv_unknown"))
    assert service.generator.requests == []


def test_what_is_refused_leaves_the_conversation_alone(says, store, kept):
    reply(says("Hello!"), Turn((user("Hi"),), conversation_id=kept))
    with pytest.raises(TurnwiseError):
        stream(says("Hello!"), Turn((user("lamp " * 500),), conversation_id=kept))
    assert messages(store, kept) == [user("Hi"), assistant("Hello!")]


def test_a_conversation_deleted_meanwhile_stays_deleted(says, store, kept):
    service = says("Hello!")

    async def delete_meanwhile():
        said = ""
        async for delta in service.stream(Turn((user("Hi"),), conversation_id=kept)):
            if not said:
                store.delete(kept)
            said += delta.text
        return said

    assert asyncio.run(delete_meanwhile()) == "Hello!"
    assert store.list() == []


def test_the_title_is_the_first_thing_the_user_said_and_stays(says, store, kept):
    opening = (Message("system", "Be kind."), user("\n  The lamp is broken.\nWhat now?"))
    reply(says("Oh."), Turn(opening, conversation_id=kept))
    assert store.get(kept).title == "The lamp is broken."
    store.rename(kept, "Lamp")
    reply(says("Oh!"), Turn((user("Something else"),), conversation_id=kept))
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
    assert title_of(said) == title
