"""Summaries of long talks: what they stand for, what they cost, who finds them."""

import asyncio
from dataclasses import replace

import pytest
from fakes import reply, saying
from talks import ALTERNATING, assistant, read, system, talk, user

from turnwise.chat.summary_cache import SummaryCache, summary_keys
from turnwise.core.chat_request import ChatRequest, SchedulingOptions
from turnwise.core.chat_response import ConversationSummary, Usage
from turnwise.core.errors import TurnwiseError, Unavailable
from turnwise.core.exchanges import droppable_exchanges

pytestmark = pytest.mark.timeout(60)


LONG = 600


def test_a_summary_stands_for_the_oldest_rounds(says):
    service = says("It is about lamps.", "Yes.", context_length=LONG, context_policy="summarise")
    answer = reply(service, ChatRequest(talk(20)))
    assert answer.text == "Yes."
    summary = answer.context.summary
    assert summary.text == "It is about lamps."
    assert 0 < summary.num_messages <= answer.context.dropped_messages
    assert answer.context.description.endswith("older messages were summarised")
    asked, seen = read(service, 0), read(service, 1)
    assert "Write nothing but the summary." in asked
    last = answer.context.dropped_messages // 2 - 1
    assert f"user: Question {last}:" in asked
    assert seen.startswith("<|system|>Be kind.\n\nSummary of the earlier conversation")
    assert "It is about lamps.<|end|>" in seen
    assert f"Question {last}:" not in seen
    assert f"Question {last + 1}:" in seen


def test_the_summary_is_greedy_and_bounded_whatever_the_turn_asks_for(says):
    service = says("Lamps.", "Yes.", context_length=LONG, context_policy="summarise")
    reply(service, ChatRequest(talk(20), {"temperature": 2.0, "stop": ["a"], "logprobs": True, "min_tokens": 3}))
    own, turns = service.engine.requests
    assert own.params.temperature == 0
    assert (own.params.stop, own.params.logprobs, own.constraints) == ((), False, ())
    assert own.max_tokens == LONG // 8
    assert len(own.prompt_ids) + own.max_tokens <= LONG
    assert turns.params.temperature == 2.0


def test_usage_counts_all_that_was_read_and_written_and_says_what_the_summary_took(says):
    service = says("It is about lamps.", "Yes.", context_length=LONG, context_policy="summarise")
    answer = reply(service, ChatRequest(talk(20)))
    own, turns = (len(request.prompt_ids) for request in service.engine.requests)
    written = [len(service.tokens.encode_text(said)) for said in ("It is about lamps.", "Yes.")]
    assert answer.usage == Usage(own + turns, sum(written))
    assert answer.context.summary.usage == Usage(own, written[0])


def test_later_turns_find_the_summary_and_it_grows_from_there(says):
    service = says("First.", "Yes.", context_length=LONG, context_policy="summarise")
    first = reply(service, ChatRequest(talk(20)))
    again = reply(service, ChatRequest((*talk(20), assistant("Yes."), user("And then?"))))
    assert len(service.engine.requests) == 3, "no second summary"
    assert again.context.dropped_messages == first.context.dropped_messages
    assert again.context.summary == replace(first.context.summary, usage=Usage(0, 0))
    assert again.usage.prompt_tokens == len(service.engine.requests[-1].prompt_ids)

    service.engine.answers = [saying(service.tokens.encode_text("Second.")), service.engine.answers[-1]]
    much = reply(service, ChatRequest(talk(40)))
    assert much.context.summary.text == "Second."
    assert much.context.dropped_messages > first.context.dropped_messages
    asked = read(service, 3)
    assert "Summary of what came before: First." in asked
    assert "Question 0:" not in asked, "what the first summary told of is not read again"
    assert much.context.summary.num_messages >= first.context.summary.num_messages


def test_a_conversation_that_was_changed_is_summarised_anew(says):
    service = says("First.", "Yes.", context_length=LONG, context_policy="summarise")
    reply(service, ChatRequest(talk(20)))
    reply(service, ChatRequest((talk(20)[0], user("Something else"), *talk(20)[2:])))
    assert len(service.engine.requests) == 4


def test_an_empty_summary_is_none_and_what_it_took_is_counted(says):
    service = says(" ", "Yes.", context_length=LONG, context_policy="summarise")
    answer = reply(service, ChatRequest(talk(20)))
    assert (answer.context.summary.text, answer.context.summary.num_messages) == ("", 0)
    assert answer.context.description.endswith("left out")
    assert answer.usage.prompt_tokens == sum(len(request.prompt_ids) for request in service.engine.requests)
    assert "Summary" not in read(service, 1)


def test_without_a_system_message_the_summary_brings_one(says):
    service = says("Lamps.", "Yes.", context_length=LONG, context_policy="summarise")
    reply(service, ChatRequest(talk(20)[1:]))
    assert read(service, 1).startswith("<|system|>Summary of the earlier conversation")


IGNORING = "{%- for message in messages if message['role'] != 'system' -%}{{ message['content'] }}<|end|>{%- endfor -%}"


@pytest.mark.parametrize("template", [ALTERNATING, IGNORING])
def test_where_the_template_shows_no_system_message_the_summary_goes_to_the_first_users(says, template):
    service = says("Lamps.", "Yes.", context_length=LONG, context_policy="summarise", template=template)
    answer = reply(service, ChatRequest(talk(20)[1:]))
    place = answer.context.dropped_messages // 2
    assert f"instructions): Lamps.\n\nQuestion {place}:" in read(service, 1)


THINKING = "{%- if enable_thinking is not defined or enable_thinking -%}<think>{%- endif -%}" + IGNORING


def test_a_model_that_can_think_aloud_is_not_to_do_it_in_a_summary(says):
    service = says("Lamps.", "Yes.", context_length=LONG, context_policy="summarise", template=THINKING)
    reply(service, ChatRequest(talk(20)[1:]))
    assert "<think>" not in read(service, 0)
    assert "<think>" in read(service, 1)


def test_a_failure_while_summarising_is_a_failure(says, tokenizer):
    service = says("x", context_length=LONG, context_policy="summarise")
    service.engine.answers = [saying(tokenizer.encode("Lamps"), "error", "It melted.")]
    with pytest.raises(TurnwiseError, match="It melted"):
        reply(service, ChatRequest(talk(20)))


def test_a_summary_that_the_engine_gave_up_is_no_summary(says, tokenizer):
    service = says("x", context_length=LONG, context_policy="summarise")
    service.engine.answers = [saying(tokenizer.encode("Lamps"), "cancelled")]
    with pytest.raises(Unavailable):
        reply(service, ChatRequest(talk(20)))
    assert len(service.engine.requests) == 1


def test_leaving_while_a_summary_is_written_frees_its_slot(says):
    service = says("x", context_length=LONG, context_policy="summarise")
    service.engine.answers = [[]]  # it never ends
    submit = service.engine.submit

    async def leave():
        began = asyncio.Event()
        service.engine.submit = lambda *said: began.set() or submit(*said)
        task = asyncio.create_task(service.reply(ChatRequest(talk(20))))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    assert [ticket.cancelled > 0 for ticket in service.engine.tickets] == [True]


def test_the_latest_used_summaries_are_kept():
    kept = SummaryCache(max_summaries=2)
    for key in (b"a", b"b"):
        kept.put(key, ConversationSummary(key.decode(), 1, Usage(0, 0)))
    assert kept.get(b"a")
    kept.put(b"c", ConversationSummary("c", 1, Usage(0, 0)))
    assert [kept.get(key) is not None for key in (b"a", b"b", b"c")] == [True, False, True]


def test_keys_are_of_what_is_said_in_the_rounds_and_of_the_scope():
    def named(messages, scope=""):
        return [*summary_keys(messages, droppable_exchanges(messages), scope)]

    one, other = talk(3), (system("Be rude."), *talk(3)[1:-1], user("Well?"))
    assert named(one) == named(other)
    assert len(set(named(one))) == 3
    assert not {*named(one)} & {*named((one[0], user("Question 0?"), *one[2:]))}
    assert not {*named(one)} & {*named(one, "ada\n")}


def test_nobody_finds_the_summary_of_somebody_else(says):
    service = says("Lamps.", "Yes.", context_length=LONG, context_policy="summarise")
    for tenant in ("ada", "bob"):
        reply(
            service,
            ChatRequest(talk(20), scheduling=SchedulingOptions(tenant=tenant, prompt_cache_key="x", priority=3)),
        )
    assert [(r.tenant, r.scope, r.priority) for r in service.engine.requests] == [
        (tenant, f"{tenant}\nx", 3) for tenant in ("ada", "ada", "bob", "bob")
    ]
