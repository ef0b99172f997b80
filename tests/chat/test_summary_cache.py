"""Summaries of dropped messages: content, usage, reuse and cache scope."""

import asyncio
from dataclasses import replace

import pytest
from dialogues import ALTERNATING_TEMPLATE, assistant, dialogue, rendered_prompt, system, user
from fakes import answer_events, reply

from turnwise.chat.summary_cache import SummaryCache, summary_keys
from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import ConversationSummary, Usage
from turnwise.core.errors import TurnwiseError, Unavailable
from turnwise.core.exchanges import droppable_exchanges
from turnwise.core.messages import Question
from turnwise.core.scheduling_options import SchedulingOptions

pytestmark = pytest.mark.timeout(60)


LONG = 600


def test_a_summary_replaces_the_oldest_exchanges(says):
    service = says("It is about lamps.", "Yes.", context_length=LONG, context_policy="summarise")
    answer = reply(service, ChatRequest(dialogue(20)))
    assert answer.text == "Yes."
    summary = answer.context.summary
    assert summary.text == "It is about lamps."
    assert 0 < summary.num_messages <= answer.context.dropped_messages
    assert answer.context.description.endswith("older messages were summarised")
    summary_prompt, prompt = rendered_prompt(service, 0), rendered_prompt(service, 1)
    assert "Write nothing but the summary." in summary_prompt
    last = answer.context.dropped_messages // 2 - 1
    assert f"user: Question {last}:" in summary_prompt
    assert prompt.startswith("<|system|>Be kind.\n\nSummary of the earlier conversation")
    assert "It is about lamps.<|end|>" in prompt
    assert f"Question {last}:" not in prompt
    assert f"Question {last + 1}:" in prompt
    assert service.engine.requests[1].question == Question("And now?", "Be kind.")


def test_the_summary_request_is_greedy_and_bounded_regardless_of_the_chat_request(says):
    service = says("Lamps.", "Yes.", context_length=LONG, context_policy="summarise")
    reply(service, ChatRequest(dialogue(20), {"temperature": 2.0, "stop": ["a"], "logprobs": True, "min_tokens": 3}))
    summary_request, chat_request = service.engine.requests
    assert summary_request.params.temperature == 0
    assert (summary_request.params.stop, summary_request.params.logprobs, summary_request.constraints) == (
        (),
        False,
        (),
    )
    assert summary_request.max_tokens == LONG // 8
    assert len(summary_request.prompt_ids) + summary_request.max_tokens <= LONG
    assert chat_request.params.temperature == 2.0


def test_usage_includes_the_summary(says):
    service = says("It is about lamps.", "Yes.", context_length=LONG, context_policy="summarise")
    answer = reply(service, ChatRequest(dialogue(20)))
    summary_tokens, chat_tokens = (len(request.prompt_ids) for request in service.engine.requests)
    output_tokens = [len(service.tokens.encode_text(text)) for text in ("It is about lamps.", "Yes.")]
    assert answer.usage == Usage(summary_tokens + chat_tokens, sum(output_tokens))
    assert answer.context.summary.usage == Usage(summary_tokens, output_tokens[0])


def test_later_requests_reuse_and_extend_the_summary(says):
    service = says("First.", "Yes.", context_length=LONG, context_policy="summarise")
    first = reply(service, ChatRequest(dialogue(20)))
    second = reply(service, ChatRequest((*dialogue(20), assistant("Yes."), user("And then?"))))
    assert len(service.engine.requests) == 3, "no second summary"
    assert second.context.dropped_messages == first.context.dropped_messages
    assert second.context.summary == replace(first.context.summary, usage=Usage(0, 0))
    assert second.usage.prompt_tokens == len(service.engine.requests[-1].prompt_ids)

    service.engine.answers = [answer_events(service.tokens.encode_text("Second.")), service.engine.answers[-1]]
    longer = reply(service, ChatRequest(dialogue(40)))
    assert longer.context.summary.text == "Second."
    assert longer.context.dropped_messages > first.context.dropped_messages
    summary_prompt = rendered_prompt(service, 3)
    assert "Summary of what came before: First." in summary_prompt
    assert "Question 0:" not in summary_prompt, "the first summary covers it"
    assert longer.context.summary.num_messages >= first.context.summary.num_messages


def test_a_changed_conversation_gets_a_new_summary(says):
    service = says("First.", "Yes.", context_length=LONG, context_policy="summarise")
    reply(service, ChatRequest(dialogue(20)))
    reply(service, ChatRequest((dialogue(20)[0], user("Something else"), *dialogue(20)[2:])))
    assert len(service.engine.requests) == 4


def test_an_empty_summary_is_left_out_and_its_usage_counts(says):
    service = says(" ", "Yes.", context_length=LONG, context_policy="summarise")
    answer = reply(service, ChatRequest(dialogue(20)))
    assert (answer.context.summary.text, answer.context.summary.num_messages) == ("", 0)
    assert answer.context.description.endswith("left out")
    assert answer.usage.prompt_tokens == sum(len(request.prompt_ids) for request in service.engine.requests)
    assert "Summary" not in rendered_prompt(service, 1)


def test_without_a_system_message_the_summary_becomes_one(says):
    service = says("Lamps.", "Yes.", context_length=LONG, context_policy="summarise")
    reply(service, ChatRequest(dialogue(20)[1:]))
    assert rendered_prompt(service, 1).startswith("<|system|>Summary of the earlier conversation")


NO_SYSTEM_TEMPLATE = (
    "{%- for message in messages if message['role'] != 'system' -%}{{ message['content'] }}<|end|>{%- endfor -%}"
)


@pytest.mark.parametrize("template", [ALTERNATING_TEMPLATE, NO_SYSTEM_TEMPLATE])
def test_without_system_messages_in_the_template_the_summary_prefixes_the_first_user_message(says, template):
    service = says("Lamps.", "Yes.", context_length=LONG, context_policy="summarise", template=template)
    answer = reply(service, ChatRequest(dialogue(20)[1:]))
    number = answer.context.dropped_messages // 2
    assert f"instructions): Lamps.\n\nQuestion {number}:" in rendered_prompt(service, 1)


THINKING_TEMPLATE = (
    "{%- if enable_thinking is not defined or enable_thinking -%}<think>{%- endif -%}" + NO_SYSTEM_TEMPLATE
)


def test_thinking_is_switched_off_for_summaries(says):
    service = says("Lamps.", "Yes.", context_length=LONG, context_policy="summarise", template=THINKING_TEMPLATE)
    reply(service, ChatRequest(dialogue(20)[1:]))
    assert "<think>" not in rendered_prompt(service, 0)
    assert "<think>" in rendered_prompt(service, 1)


def test_an_error_during_the_summary_fails_the_request(says, tokenizer):
    service = says("x", context_length=LONG, context_policy="summarise")
    service.engine.answers = [answer_events(tokenizer.encode("Lamps"), "error", "It melted.")]
    with pytest.raises(TurnwiseError, match="It melted"):
        reply(service, ChatRequest(dialogue(20)))


def test_a_cancelled_summary_fails_the_request_as_unavailable(says, tokenizer):
    service = says("x", context_length=LONG, context_policy="summarise")
    service.engine.answers = [answer_events(tokenizer.encode("Lamps"), "cancelled")]
    with pytest.raises(Unavailable):
        reply(service, ChatRequest(dialogue(20)))
    assert len(service.engine.requests) == 1


def test_a_disconnect_during_the_summary_cancels_its_request(says):
    service = says("x", context_length=LONG, context_policy="summarise")
    service.engine.answers = [[]]  # without a last event
    submit = service.engine.submit

    async def disconnect():
        is_submitted = asyncio.Event()
        service.engine.submit = lambda *arguments: is_submitted.set() or submit(*arguments)
        task = asyncio.create_task(service.reply(ChatRequest(dialogue(20))))
        await is_submitted.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(disconnect())
    assert [handle.num_cancels > 0 for handle in service.engine.handles] == [True]


def test_the_cache_evicts_the_least_recently_used_summary():
    cache = SummaryCache(max_summaries=2)
    for key in (b"a", b"b"):
        cache.put(key, ConversationSummary(key.decode(), 1, Usage(0, 0)))
    assert cache.get(b"a")
    cache.put(b"c", ConversationSummary("c", 1, Usage(0, 0)))
    assert [cache.get(key) is not None for key in (b"a", b"b", b"c")] == [True, False, True]


def test_keys_depend_on_the_exchanges_and_the_scope_only():
    def keys(messages, scope=""):
        return [*summary_keys(messages, droppable_exchanges(messages), scope)]

    original, changed = dialogue(3), (system("Be rude."), *dialogue(3)[1:-1], user("Well?"))
    assert keys(original) == keys(changed)
    assert len(set(keys(original))) == 3
    assert not {*keys(original)} & {*keys((original[0], user("Question 0?"), *original[2:]))}
    assert not {*keys(original)} & {*keys(original, "ada\n")}


def test_tenants_do_not_share_summaries(says):
    service = says("Lamps.", "Yes.", context_length=LONG, context_policy="summarise")
    for tenant in ("ada", "bob"):
        reply(
            service,
            ChatRequest(dialogue(20), scheduling=SchedulingOptions(tenant=tenant, prompt_cache_key="x", priority=3)),
        )
    assert [(r.scheduling.tenant, r.scope, r.scheduling.priority) for r in service.engine.requests] == [
        (tenant, f"{tenant}\nx", 3) for tenant in ("ada", "ada", "bob", "bob")
    ]
