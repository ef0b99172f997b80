"""Self-chat: who sees what, how a dialogue ends, and that it depends on seed and number alone."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.core.errors import ContextLengthExceeded, InvalidParameter, TemplateError
from turnwise.synthesis.ordered_tasks import iterate_sync
from turnwise.synthesis.scenario_file import ScenarioFile
from turnwise.synthesis.self_chat import SelfChat
from turnwise.testing import ScriptedChatService

SCENES = ScenarioFile.model_validate(
    {"scenes": {"shop": {"assistants": ["You sell."], "users": ["You buy."], "openers": ["hi"]}}}
)


def held(chat, count, at_once=3):
    return list(iterate_sync(chat.simulate_all(range(count), at_once)))


def numbered(word):
    """Says something new at every turn."""
    return lambda turn: [f"{word} {len(turn.messages)}"]


def talk(assistant, user, *, exchanges=3, finish="stop"):
    """The only dialogue of two parties with scripts."""
    parties = ScriptedChatService(assistant, name="a", finish=finish), ScriptedChatService(user, name="u")
    (made,) = held(SelfChat(*parties, SCENES, (exchanges, exchanges), seed=7), 1)
    return made, parties


def texts(made):
    return [message.content for message in made.conversation.messages if message.role != "system"]


def test_the_user_sees_the_talk_with_roles_swapped():
    made, (assistant, user) = talk(numbered("yes"), numbered("but"), exchanges=2)
    assert [(m.role, m.content) for m in assistant.requests[1].messages] == [
        ("system", "You sell."), ("user", "hi"), ("assistant", "yes 2"), ("user", "but 3"),
    ]  # fmt: skip
    assert [(m.role, m.content) for m in user.requests[0].messages] == [
        ("system", "You buy."), ("assistant", "hi"), ("user", "yes 2"),
    ]  # fmt: skip
    assert texts(made) == ["hi", "yes 2", "but 3", "yes 4"]


def test_what_was_made_is_marked():
    made, _ = talk(numbered("yes"), numbered("but"))
    assert made.conversation.is_synthetic
    assert dict(made.conversation.meta) == {
        "generated": True, "by": "self-chat", "assistant": "a", "user": "u", "persona": "You buy.", "scene": "shop",
        "seed": 7, "number": 0, "ended": "turns",
    }  # fmt: skip


def test_it_ends_after_the_exchanges_that_were_drawn():
    made, _ = talk(numbered("yes"), numbered("but"), exchanges=3)
    assert (made.ended, len(texts(made))) == ("turns", 6)


def test_a_goodbye_is_answered_and_then_it_is_over():
    made, _ = talk(numbered("yes"), ["Thanks, bye!"], exchanges=5)
    assert made.ended == "goodbye"
    assert texts(made) == ["hi", "yes 2", "Thanks, bye!", "yes 4"]


@pytest.mark.parametrize(
    ("assistant", "user", "ended"),
    [(["Same."], numbered("but"), "loop"), (numbered("yes"), ["HI"], "loop"), (numbered("yes"), [" "], "empty")],
    ids=["assistant repeats", "user repeats", "user is silent"],
)
def test_it_ends_on_a_repeat_and_on_silence_and_keeps_what_was_answered(assistant, user, ended):
    made, _ = talk(assistant, user)
    assert made.ended == ended
    assert len(texts(made)) == 2


@pytest.mark.parametrize(("script", "finish", "ended"), [([""], "stop", "empty"), (["half a"], "length", "cut")])
def test_a_dialogue_without_a_whole_reply_comes_to_nothing(script, finish, ended):
    made, _ = talk(script, numbered("but"), finish=finish)
    assert (made.ended, made.conversation) == (ended, None)


def test_a_full_context_ends_it():
    def script(turn):
        if len(turn.messages) > 3:
            raise ContextLengthExceeded("full")
        return ["yes"]

    made, _ = talk(script, numbered("but"))
    assert made.ended == "context"
    assert texts(made) == ["hi", "yes"]


def test_a_template_that_wants_a_user_first_gets_the_persona_as_the_user():
    def strict(turn):
        if turn.messages[0].role != "user":
            raise TemplateError("roles must alternate")
        return [f"but {len(turn.messages)}"]

    made, (_, user) = talk(numbered("yes"), strict, exchanges=2)
    assert texts(made) == ["hi", "yes 2", "but 3", "yes 4"]
    assert [m.role for m in user.requests[-1].messages] == ["user", "assistant", "user"]


@settings(max_examples=25, deadline=None)
@given(fewer=st.integers(1, 6), more=st.integers(0, 6), seed=st.integers(0, 9), at_once=st.integers(1, 5))
def test_more_dialogues_begin_with_the_same_ones_however_many_run_at_once(fewer, more, seed, at_once):
    party = ScriptedChatService(lambda turn: [f"I say {turn.sampling['seed']}."])
    chat = SelfChat(party, party, SCENES, (1, 3), seed)
    assert held(chat, fewer + more, at_once)[:fewer] == held(chat, fewer, 1)


def test_another_seed_makes_other_dialogues(dice):
    assert held(dice(1), 5) != held(dice(2), 5)


def test_every_turn_has_a_seed_of_its_own(dice):
    chat = dice(exchanges=(3, 3))
    held(chat, 4)
    seeds = [turn.sampling["seed"] for turn in chat.assistant.requests]
    assert len(set(seeds)) == len(seeds) == 4 * 5


@pytest.mark.parametrize("exchanges", [(0, 2), (3, 2)])
def test_impossible_lengths_are_refused(dice, exchanges):
    with pytest.raises(InvalidParameter, match="FEWEST:MOST"):
        dice(exchanges=exchanges)


def test_a_failure_ends_the_run_after_what_came_before_it(scenes):
    def script(turn):
        if len(party.requests) > 3:
            raise RuntimeError("broken")
        return ["yes"]

    party = ScriptedChatService(script)
    talks = iterate_sync(SelfChat(party, party, scenes, (1, 1)).simulate_all(range(9), 1))
    assert [next(talks).number for _ in range(3)] == [0, 1, 2]
    with pytest.raises(RuntimeError, match="broken"):
        next(talks)


def test_leaving_early_cancels_what_is_under_way(scenes):
    party = ScriptedChatService(["slow"], delay=0.01)
    talks = iterate_sync(SelfChat(party, party, scenes, (1, 1)).simulate_all(range(50), 4))
    next(talks)
    talks.close()
    assert len(party.requests) < 50
    assert party.num_cancelled > 0


@pytest.mark.usefixtures("one_thread")
def test_a_real_model_says_the_same_again(box):
    chat = SelfChat(box, box, SCENES, (1, 2), seed=3, asked={"max_tokens": 60})

    async def twice():
        return await chat.simulate(0), await chat.simulate(0)

    first, second = asyncio.run(twice())
    assert first == second
    assert first.conversation is not None
