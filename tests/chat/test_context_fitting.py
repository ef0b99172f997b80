"""Context policies in a service: what the model reads of a talk that is too long, and what is told of it."""

from dataclasses import replace

import pytest
from fakes import reply, stream, text
from talks import ALTERNATING, TOOLED, assistant, read, system, talk, user

from turnwise.chat.context_policies import CONTEXT_POLICIES
from turnwise.chat.service import EngineChatService
from turnwise.core.chat_request import ChatRequest, ContextOptions, OutputOptions, ToolOptions
from turnwise.core.chat_response import Usage
from turnwise.core.errors import ContextLengthExceeded, InvalidParameter
from turnwise.core.messages import Message
from turnwise.core.tools import Tool
from turnwise.engine.engine import Engine
from turnwise.models.checkpoint import create
from turnwise.store import open_store
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer

pytestmark = pytest.mark.timeout(60)


def test_what_fits_is_left_alone(says):
    for name in CONTEXT_POLICIES.names():
        service = says("Yes.", context_policy=name)
        answer = reply(service, ChatRequest(talk(1), {"max_tokens": 5}))
        assert answer.context is None
        assert "Question 0" in read(service)


def test_refuse_is_the_default_and_refuses(says):
    with pytest.raises(
        ContextLengthExceeded, match=r"length is 200 tokens. However, your messages resulted in \d\d\d+"
    ):
        reply(says("Yes."), ChatRequest(talk(20)))


def test_the_oldest_rounds_go_and_it_is_told_with_the_last_piece(says):
    service = says("Yes.", context_policy="drop_oldest")
    *before, last = stream(service, ChatRequest(talk(20)))
    assert all(delta.context is None for delta in before)
    assert last.context.policy == "drop_oldest"
    dropped = last.context.dropped_messages
    assert dropped % 2 == 0
    assert last.context.description == f"{dropped} older messages were left out"
    seen = read(service)
    assert "Be kind." in seen
    assert "And now?" in seen
    assert f"Question {dropped // 2 - 1}:" not in seen
    assert f"Question {dropped // 2}:" in seen
    assert last.usage == Usage(len(service.engine.requests[0].prompt_ids), last.usage.completion_tokens)
    assert reply(service, ChatRequest(talk(20))).context == last.context


@pytest.mark.parametrize(("asked", "defaults", "free"), [
    ({}, {}, 50), ({"max_tokens": 7}, {}, 7), ({"max_tokens": 90}, {}, 90), ({}, {"max_tokens": 20}, 20),
    ({}, {"max_tokens": 1000}, 50), ({"max_tokens": 30}, {"max_tokens": 9}, 30),
])  # fmt: skip
def test_the_answer_has_the_room_it_asks_for_or_a_quarter_of_the_context(says, asked, defaults, free):
    service = says("Yes.", context_policy="drop_oldest", defaults=defaults)
    reply(service, ChatRequest(talk(20), asked))
    length = len(service.engine.requests[0].prompt_ids)
    assert 200 - free - 25 - 60 < length <= 200 - free, "and no more is dropped than one step and one round too many"


def test_a_turn_may_ask_for_another_policy(says):
    with pytest.raises(ContextLengthExceeded):
        reply(
            says("Yes.", context_policy="drop_oldest"), ChatRequest(talk(20), context=ContextOptions(policy="refuse"))
        )
    assert (
        reply(says("Yes."), ChatRequest(talk(20), context=ContextOptions(policy="drop_oldest"))).context.policy
        == "drop_oldest"
    )
    with pytest.raises(InvalidParameter):
        reply(says("Yes."), ChatRequest(talk(1), context=ContextOptions(policy="forget")))


@pytest.mark.parametrize("name", sorted(set(CONTEXT_POLICIES.names()) - {"sliding_window"}))
def test_what_may_not_be_dropped_is_refused_as_it_came(says, name):
    long = "lamp " * 300
    for messages in [
        (system(long), *talk(3)[1:]),
        (*talk(3), assistant("Well"), user(long)),
        (user(long, pinned=True), assistant("Yes"), user("And now?")),
    ]:
        service = says("Yes.", context_policy=name)
        whole = len(service.prompt_ids(ChatRequest(messages)))
        with pytest.raises(ContextLengthExceeded, match=f"resulted in {whole} tokens"):
            reply(service, ChatRequest(messages))
        assert service.engine.requests == [], "nothing was read or written for it"


def test_a_window_takes_a_long_message_too_but_no_long_opening(says):
    long = "lamp " * 300
    service = says("Yes.", context_policy="sliding_window")
    answer = reply(service, ChatRequest((*talk(3), assistant("Well"), user(long + "the end"))))
    seen, read_ids = read(service), service.engine.requests[-1].prompt_ids
    assert "Be kind." in seen
    assert "the end" in seen
    assert answer.context.dropped_messages == 0
    assert answer.context.description == f"{answer.context.dropped_tokens} older tokens were left out"
    whole = service.prompt_ids(ChatRequest((*talk(3), assistant("Well"), user(long + "the end"))))
    assert len(read_ids) == len(whole) - answer.context.dropped_tokens <= 150
    with pytest.raises(ContextLengthExceeded):
        reply(service, ChatRequest((system(long), *talk(3)[1:])))


@pytest.fixture
def tokenized(monkeypatch):
    """The lengths of the texts that were tokenized."""
    lengths = []
    encode = Tokenizer._encode

    def noting(self, text, *args):
        lengths.append(len(text))
        return encode(self, text, *args)

    monkeypatch.setattr(Tokenizer, "_encode", noting)
    return lengths


HUGE = "lamp " * 200_000


@pytest.mark.parametrize(
    "turn",
    [
        ChatRequest((user(HUGE),)),
        ChatRequest((), prompt=HUGE),
        ChatRequest(prompt=HUGE, output=OutputOptions(prompt_output="embedding")),
    ],
)
def test_what_is_certainly_too_long_is_refused_without_being_tokenized(says, tokenized, turn):
    for name in CONTEXT_POLICIES.names():
        service = says("Yes.", context_policy=name)
        tokenized.clear()
        with pytest.raises(ContextLengthExceeded, match=r"resulted in at least \d{5,}"):
            reply(service, turn)
        assert max(tokenized, default=0) < 1000


@pytest.mark.parametrize("name", sorted(set(CONTEXT_POLICIES.names()) - {"refuse"}))
def test_policies_do_not_tokenize_exchanges_that_no_policy_could_keep(says, tokenized, name):
    service = says("Yes.", context_policy=name)
    tokenized.clear()
    messages = (
        system("Be kind."),
        user("Old"),
        assistant(HUGE),
        user("A story?"),
        assistant("Once."),
        user("And now?"),
    )
    answer = reply(service, ChatRequest(messages))
    assert answer.context.policy == name
    assert answer.context.dropped_messages == 2
    assert "A story?" in read(service)
    assert max(tokenized) < 1000


def test_a_prediction_is_tokenized_as_far_as_an_answer_could_go(says, tokenized):
    service = says("Yes.")
    reply(service, ChatRequest((user("Hello"),), output=OutputOptions(prediction=HUGE)))
    assert max(tokenized) <= 200 * 16


def test_where_the_wish_cannot_be_met_what_fits_at_all_is_answered(says):
    """Without a limit that was asked for, one token of room is enough, as it always was."""
    messages = (*talk(2)[:-1], user("lamp " * 55))
    service = says("Yes.", context_length=150, context_policy="drop_oldest")
    answer = reply(service, ChatRequest(messages))
    assert answer.context.dropped_messages == 4
    assert 150 - 150 // 4 < answer.usage.prompt_tokens < 150


def test_pins_stay(says):
    messages = list(talk(20))
    messages[3] = replace(messages[3], pinned=True)
    service = says("Yes.", context_policy="drop_oldest")
    reply(service, ChatRequest(tuple(messages)))
    seen = read(service)
    assert "Question 0" not in seen
    assert "Question 1:" in seen
    assert "Answer 1:" in seen
    assert "Question 2:" not in seen


def test_a_template_that_insists_on_turns_accepts_what_is_left(says):
    messages = list(talk(20)[1:])
    messages[5] = replace(messages[5], pinned=True)
    service = says("Yes.", context_policy="drop_oldest", template=ALTERNATING)
    assert reply(service, ChatRequest(tuple(messages))).context.dropped_messages > 10


def test_tool_calls_go_with_their_results(says):
    rounds = [replace(m, content=m.content and "lamp " * 9, tool_calls=m.tool_calls) for _ in range(6) for m in TOOLED]
    tool = Tool("look", definition={"type": "function", "function": {"name": "look"}})
    service = says("Yes.", context_policy="drop_oldest", context_length=800)
    answer = reply(service, ChatRequest((*rounds, user("And now?")), {"max_tokens": 30}, tools=ToolOptions((tool,))))
    assert answer.context.dropped_messages % 4 == 0
    assert 0 < answer.context.dropped_messages < 24


def test_a_message_that_is_continued_is_the_last_one(says):
    service = says(" again.", context_policy="drop_oldest")
    answer = reply(
        service, ChatRequest((*talk(20), assistant("The lamp")), context=ContextOptions(continue_final_message=True))
    )
    assert answer.context.dropped_messages > 0
    assert read(service).endswith("And now?<|end|><|assistant|>The lamp")


def test_the_stored_conversation_is_the_whole_one(says):
    for name in ("drop_oldest", "summarise"):
        store = open_store("sqlite:///:memory:")
        id = store.create(title="", model="tiny").id
        reply(says("Yes.", store=store, context_policy=name), ChatRequest(talk(20), conversation_id=id))
        assert [kept.message for kept in store.get(id).messages] == [*talk(20), assistant("Yes.")]
        store.close()


# A real engine


@pytest.fixture(scope="module")
def engine(tiny_config, one_thread):
    engine = Engine(create(tiny_config, seed=0).decoder, max_num_seqs=2)
    yield engine
    engine.close()


@pytest.mark.parametrize("name", ["drop_oldest", "summarise"])
def test_a_real_model_goes_on_for_ever(engine, tokenizer, name):
    service = EngineChatService("tiny", 0, "fp", Renderer.from_tokenizer(tokenizer), engine, context_policy=name)
    messages: tuple[Message, ...] = ()
    reports = []
    for number in range(12):
        messages += (user(f"Question {number}, lamp"),)
        answer = reply(service, ChatRequest(messages, {"max_tokens": 8, "seed": number}))
        assert answer.usage.completion_tokens - (answer.context.usage.completion_tokens if answer.context else 0) <= 8
        messages += (assistant(answer.text),)
        reports.append(answer.context)
    assert reports[0] is None
    assert reports[-1] is not None
    dropped = [report.dropped_messages for report in reports if report is not None]
    assert dropped == sorted(dropped)
    same = [stream(service, ChatRequest((*messages, user("Well?")), {"max_tokens": 8, "seed": 1})) for _ in range(2)]
    assert text(same[0]) == text(same[1])
