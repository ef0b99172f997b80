"""Context policies in the chat service: the prompt of a long conversation, and the report of the policy."""

from dataclasses import replace

import pytest
from dialogues import ALTERNATING_TEMPLATE, TOOL_EXCHANGE, assistant, dialogue, rendered_prompt, system, user
from fakes import joined_text, reply, stream

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


def test_a_conversation_that_fits_is_unchanged(says):
    for name in CONTEXT_POLICIES.names():
        service = says("Yes.", context_policy=name)
        answer = reply(service, ChatRequest(dialogue(1), {"max_tokens": 5}))
        assert answer.context is None
        assert "Question 0" in rendered_prompt(service)


def test_the_default_policy_rejects_long_conversations(says):
    with pytest.raises(
        ContextLengthExceeded, match=r"length is 200 tokens. However, your messages resulted in \d\d\d+"
    ):
        reply(says("Yes."), ChatRequest(dialogue(20)))


def test_the_oldest_exchanges_are_dropped_and_the_last_delta_reports_it(says):
    service = says("Yes.", context_policy="drop_oldest")
    *earlier, last = stream(service, ChatRequest(dialogue(20)))
    assert all(delta.context is None for delta in earlier)
    assert last.context.policy == "drop_oldest"
    dropped = last.context.dropped_messages
    assert dropped % 2 == 0
    assert last.context.description == f"{dropped} older messages were left out"
    prompt = rendered_prompt(service)
    assert "Be kind." in prompt
    assert "And now?" in prompt
    assert f"Question {dropped // 2 - 1}:" not in prompt
    assert f"Question {dropped // 2}:" in prompt
    assert last.usage == Usage(len(service.engine.requests[0].prompt_ids), last.usage.completion_tokens)
    assert reply(service, ChatRequest(dialogue(20))).context == last.context


@pytest.mark.parametrize(("sampling", "defaults", "reserved"), [
    ({}, {}, 50), ({"max_tokens": 7}, {}, 7), ({"max_tokens": 90}, {}, 90), ({}, {"max_tokens": 20}, 20),
    ({}, {"max_tokens": 1000}, 50), ({"max_tokens": 30}, {"max_tokens": 9}, 30),
])  # fmt: skip
def test_the_response_gets_max_tokens_or_a_quarter_of_the_context(says, sampling, defaults, reserved):
    service = says("Yes.", context_policy="drop_oldest", defaults=defaults)
    reply(service, ChatRequest(dialogue(20), sampling))
    length = len(service.engine.requests[0].prompt_ids)
    assert 200 - reserved - 25 - 60 < length <= 200 - reserved, "at most one step and one exchange too many are dropped"


def test_a_request_can_set_its_policy(says):
    with pytest.raises(ContextLengthExceeded):
        reply(
            says("Yes.", context_policy="drop_oldest"),
            ChatRequest(dialogue(20), context=ContextOptions(policy="refuse")),
        )
    assert (
        reply(says("Yes."), ChatRequest(dialogue(20), context=ContextOptions(policy="drop_oldest"))).context.policy
        == "drop_oldest"
    )
    with pytest.raises(InvalidParameter):
        reply(says("Yes."), ChatRequest(dialogue(1), context=ContextOptions(policy="forget")))


@pytest.mark.parametrize("name", sorted(set(CONTEXT_POLICIES.names()) - {"sliding_window"}))
def test_undroppable_messages_that_are_too_long_are_rejected_with_the_original_length(says, name):
    long_text = "lamp " * 300
    for messages in [
        (system(long_text), *dialogue(3)[1:]),
        (*dialogue(3), assistant("Well"), user(long_text)),
        (user(long_text, pinned=True), assistant("Yes"), user("And now?")),
    ]:
        service = says("Yes.", context_policy=name)
        prompt_tokens = len(service.prompt_ids(ChatRequest(messages)))
        with pytest.raises(ContextLengthExceeded, match=f"resulted in {prompt_tokens} tokens"):
            reply(service, ChatRequest(messages))
        assert service.engine.requests == [], "nothing was generated"


def test_a_sliding_window_cuts_a_long_message_but_not_the_system_message(says):
    long_text = "lamp " * 300
    service = says("Yes.", context_policy="sliding_window")
    answer = reply(service, ChatRequest((*dialogue(3), assistant("Well"), user(long_text + "the end"))))
    prompt, window_ids = rendered_prompt(service), service.engine.requests[-1].prompt_ids
    assert "Be kind." in prompt
    assert "the end" in prompt
    assert answer.context.dropped_messages == 0
    assert answer.context.description == f"{answer.context.dropped_tokens} older tokens were left out"
    all_ids = service.prompt_ids(ChatRequest((*dialogue(3), assistant("Well"), user(long_text + "the end"))))
    assert len(window_ids) == len(all_ids) - answer.context.dropped_tokens <= 150
    with pytest.raises(ContextLengthExceeded):
        reply(service, ChatRequest((system(long_text), *dialogue(3)[1:])))


@pytest.fixture
def tokenized_lengths(monkeypatch):
    """Lengths of the tokenized texts, in characters."""
    lengths = []
    encode = Tokenizer._encode

    def recording_encode(self, text, *args):
        lengths.append(len(text))
        return encode(self, text, *args)

    monkeypatch.setattr(Tokenizer, "_encode", recording_encode)
    return lengths


HUGE = "lamp " * 200_000


@pytest.mark.parametrize(
    "long_request",
    [
        ChatRequest((user(HUGE),)),
        ChatRequest((), prompt=HUGE),
        ChatRequest(prompt=HUGE, output=OutputOptions(prompt_output="embedding")),
    ],
)
def test_an_extremely_long_prompt_is_rejected_without_tokenization(says, tokenized_lengths, long_request):
    for name in CONTEXT_POLICIES.names():
        service = says("Yes.", context_policy=name)
        tokenized_lengths.clear()
        with pytest.raises(ContextLengthExceeded, match=r"resulted in at least \d{5,}"):
            reply(service, long_request)
        assert max(tokenized_lengths, default=0) < 1000


@pytest.mark.parametrize("name", sorted(set(CONTEXT_POLICIES.names()) - {"refuse"}))
def test_policies_do_not_tokenize_exchanges_that_no_policy_could_keep(says, tokenized_lengths, name):
    service = says("Yes.", context_policy=name)
    tokenized_lengths.clear()
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
    assert "A story?" in rendered_prompt(service)
    assert max(tokenized_lengths) < 1000


def test_a_prediction_is_tokenized_up_to_the_context_length(says, tokenized_lengths):
    service = says("Yes.")
    reply(service, ChatRequest((user("Hello"),), output=OutputOptions(prediction=HUGE)))
    assert max(tokenized_lengths) <= 200 * 16


def test_a_prompt_that_leaves_too_little_space_is_answered_without_max_tokens(says):
    """Without `max_tokens`, space for one token is enough."""
    messages = (*dialogue(2)[:-1], user("lamp " * 55))
    service = says("Yes.", context_length=150, context_policy="drop_oldest")
    answer = reply(service, ChatRequest(messages))
    assert answer.context.dropped_messages == 4
    assert 150 - 150 // 4 < answer.usage.prompt_tokens < 150


def test_pinned_exchanges_are_not_dropped(says):
    messages = list(dialogue(20))
    messages[3] = replace(messages[3], pinned=True)
    service = says("Yes.", context_policy="drop_oldest")
    reply(service, ChatRequest(tuple(messages)))
    prompt = rendered_prompt(service)
    assert "Question 0" not in prompt
    assert "Question 1:" in prompt
    assert "Answer 1:" in prompt
    assert "Question 2:" not in prompt


def test_the_remaining_messages_still_alternate(says):
    messages = list(dialogue(20)[1:])
    messages[5] = replace(messages[5], pinned=True)
    service = says("Yes.", context_policy="drop_oldest", template=ALTERNATING_TEMPLATE)
    assert reply(service, ChatRequest(tuple(messages))).context.dropped_messages > 10


def test_tool_calls_are_dropped_with_their_results(says):
    messages = [
        replace(message, content=message.content and "lamp " * 9) for _ in range(6) for message in TOOL_EXCHANGE
    ]
    tool = Tool("look", definition={"type": "function", "function": {"name": "look"}})
    service = says("Yes.", context_policy="drop_oldest", context_length=800)
    answer = reply(service, ChatRequest((*messages, user("And now?")), {"max_tokens": 30}, tools=ToolOptions((tool,))))
    assert answer.context.dropped_messages % 4 == 0
    assert 0 < answer.context.dropped_messages < 24


def test_a_continued_message_is_not_dropped(says):
    service = says(" again.", context_policy="drop_oldest")
    answer = reply(
        service,
        ChatRequest((*dialogue(20), assistant("The lamp")), context=ContextOptions(continue_final_message=True)),
    )
    assert answer.context.dropped_messages > 0
    assert rendered_prompt(service).endswith("And now?<|end|><|assistant|>The lamp")


def test_the_stored_conversation_is_complete(says):
    for name in ("drop_oldest", "summarise"):
        store = open_store("sqlite:///:memory:")
        id = store.create(title="", model="tiny").id
        reply(says("Yes.", store=store, context_policy=name), ChatRequest(dialogue(20), conversation_id=id))
        assert [stored.message for stored in store.get(id).messages] == [*dialogue(20), assistant("Yes.")]
        store.close()


# A real engine


@pytest.fixture(scope="module")
def engine(tiny_config, one_thread):
    engine = Engine(create(tiny_config, seed=0).decoder, max_num_seqs=2)
    yield engine
    engine.close()


@pytest.mark.parametrize("name", ["drop_oldest", "summarise"])
def test_a_conversation_can_exceed_the_context_of_a_real_model(engine, tokenizer, name):
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
    repeated = [
        stream(service, ChatRequest((*messages, user("Well?")), {"max_tokens": 8, "seed": 1})) for _ in range(2)
    ]
    assert joined_text(repeated[0]) == joined_text(repeated[1])
