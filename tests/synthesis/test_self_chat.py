"""Self-chat: what each model sees, how a dialogue ends, and that it depends on the seed and its number only."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.core.errors import ContextLengthExceeded, InvalidParameter, TemplateError
from turnwise.core.ordered_results import iterate_sync
from turnwise.synthesis.scenario_file import ScenarioFile
from turnwise.synthesis.self_chat import SelfChat
from turnwise.testing import ScriptedChatService

SCENARIOS = ScenarioFile.model_validate(
    {"scenarios": {"shop": {"system_prompts": ["You sell."], "user_personas": ["You buy."], "first_messages": ["hi"]}}}
)


def simulate(self_chat, count, max_in_flight=3):
    return list(iterate_sync(self_chat.simulate_all(range(count), max_in_flight)))


def numbered(word):
    """A script whose replies are all different."""
    return lambda request: [f"{word} {len(request.messages)}"]


def simulate_one(assistant_script, user_script, *, exchanges=3, finish="stop"):
    """Simulate one dialogue; returns it and the services of the assistant and the user."""
    services = (
        ScriptedChatService(assistant_script, name="a", finish=finish), ScriptedChatService(user_script, name="u")
    )  # fmt: skip
    (dialogue,) = simulate(SelfChat(*services, SCENARIOS, (exchanges, exchanges), seed=7), 1)
    return dialogue, services


def texts(dialogue):
    return [message.content for message in dialogue.conversation.messages if message.role != "system"]


def test_the_user_model_sees_the_dialogue_with_swapped_roles():
    dialogue, (assistant, user) = simulate_one(numbered("yes"), numbered("but"), exchanges=2)
    assert [(m.role, m.content) for m in assistant.requests[1].messages] == [
        ("system", "You sell."), ("user", "hi"), ("assistant", "yes 2"), ("user", "but 3"),
    ]  # fmt: skip
    assert [(m.role, m.content) for m in user.requests[0].messages] == [
        ("system", "You buy."), ("assistant", "hi"), ("user", "yes 2"),
    ]  # fmt: skip
    assert texts(dialogue) == ["hi", "yes 2", "but 3", "yes 4"]


def test_the_metadata_marks_the_dialogue_as_synthetic():
    dialogue, _ = simulate_one(numbered("yes"), numbered("but"))
    assert dialogue.conversation.is_synthetic
    assert dict(dialogue.conversation.meta) == {
        "generated": True, "generator": "self-chat", "assistant": "a", "user": "u", "persona": "You buy.",
        "scenario": "shop", "seed": 7, "number": 0, "end_reason": "max_exchanges",
    }  # fmt: skip


def test_a_dialogue_ends_after_the_drawn_number_of_exchanges():
    dialogue, _ = simulate_one(numbered("yes"), numbered("but"), exchanges=3)
    assert (dialogue.end_reason, len(texts(dialogue))) == ("max_exchanges", 6)


def test_a_dialogue_ends_after_the_reply_to_a_goodbye():
    dialogue, _ = simulate_one(numbered("yes"), ["Thanks, bye!"], exchanges=5)
    assert dialogue.end_reason == "goodbye"
    assert texts(dialogue) == ["hi", "yes 2", "Thanks, bye!", "yes 4"]


@pytest.mark.parametrize(
    ("assistant", "user", "end_reason"),
    [
        (["Same."], numbered("but"), "repetition"),
        (numbered("yes"), ["HI"], "repetition"),
        (numbered("yes"), [" "], "empty"),
    ],
    ids=["assistant repeats", "user repeats", "user is silent"],
)
def test_a_repeated_or_empty_message_ends_the_dialogue_after_the_last_reply(assistant, user, end_reason):
    dialogue, _ = simulate_one(assistant, user)
    assert dialogue.end_reason == end_reason
    assert len(texts(dialogue)) == 2


@pytest.mark.parametrize(
    ("script", "finish", "end_reason"), [([""], "stop", "empty"), (["half a"], "length", "length")]
)
def test_a_dialogue_without_a_complete_reply_has_no_conversation(script, finish, end_reason):
    dialogue, _ = simulate_one(script, numbered("but"), finish=finish)
    assert (dialogue.end_reason, dialogue.conversation) == (end_reason, None)


def test_a_full_context_ends_the_dialogue():
    def script(request):
        if len(request.messages) > 3:
            raise ContextLengthExceeded("full")
        return ["yes"]

    dialogue, _ = simulate_one(script, numbered("but"))
    assert dialogue.end_reason == "context_length"
    assert texts(dialogue) == ["hi", "yes"]


def test_a_template_that_requires_a_user_message_first_gets_the_persona_as_one():
    def script(request):
        if request.messages[0].role != "user":
            raise TemplateError("roles must alternate")
        return [f"but {len(request.messages)}"]

    dialogue, (_, user) = simulate_one(numbered("yes"), script, exchanges=2)
    assert texts(dialogue) == ["hi", "yes 2", "but 3", "yes 4"]
    assert [message.role for message in user.requests[-1].messages] == ["user", "assistant", "user"]


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 6), num_more=st.integers(0, 6), seed=st.integers(0, 9), max_in_flight=st.integers(1, 5))
def test_a_longer_run_starts_with_the_same_dialogues_at_any_concurrency(count, num_more, seed, max_in_flight):
    service = ScriptedChatService(lambda request: [f"I say {request.sampling['seed']}."])
    self_chat = SelfChat(service, service, SCENARIOS, (1, 3), seed)
    assert simulate(self_chat, count + num_more, max_in_flight)[:count] == simulate(self_chat, count, 1)


def test_different_seeds_give_different_dialogues(seeded_self_chat):
    assert simulate(seeded_self_chat(1), 5) != simulate(seeded_self_chat(2), 5)


def test_every_message_is_generated_with_a_different_seed(seeded_self_chat):
    self_chat = seeded_self_chat(exchanges=(3, 3))
    simulate(self_chat, 4)
    seeds = [request.sampling["seed"] for request in self_chat.assistant.requests]
    assert len(set(seeds)) == len(seeds) == 4 * 5


@pytest.mark.parametrize("exchanges", [(0, 2), (3, 2)])
def test_an_impossible_range_of_exchanges_is_rejected(seeded_self_chat, exchanges):
    with pytest.raises(InvalidParameter, match="MIN:MAX"):
        seeded_self_chat(exchanges=exchanges)


def test_an_error_ends_the_run_after_the_dialogues_before_it(scenarios):
    def script(request):
        if len(service.requests) > 3:
            raise RuntimeError("broken")
        return ["yes"]

    service = ScriptedChatService(script)
    dialogues = iterate_sync(SelfChat(service, service, scenarios, (1, 1)).simulate_all(range(9), 1))
    assert [next(dialogues).number for _ in range(3)] == [0, 1, 2]
    with pytest.raises(RuntimeError, match="broken"):
        next(dialogues)


def test_closing_the_generator_cancels_running_dialogues(scenarios):
    service = ScriptedChatService(["slow"], delay=0.01)
    dialogues = iterate_sync(SelfChat(service, service, scenarios, (1, 1)).simulate_all(range(50), 4))
    next(dialogues)
    dialogues.close()
    assert len(service.requests) < 50
    assert service.num_cancelled > 0


@pytest.mark.usefixtures("one_thread")
def test_a_real_model_generates_the_same_dialogue_twice(bundled_model):
    self_chat = SelfChat(bundled_model, bundled_model, SCENARIOS, (1, 2), seed=3, sampling={"max_tokens": 60})

    async def simulate_twice():
        return await self_chat.simulate(0), await self_chat.simulate(0)

    first, second = asyncio.run(simulate_twice())
    assert first == second
    assert first.conversation is not None
