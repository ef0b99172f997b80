"""`best_of`: which choices are returned, by scores or by likelihood."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.chat.best_of import expand_best_of, select_best, with_scores
from turnwise.chat.delta_accumulator import collect_response
from turnwise.core.chat_request import ChatRequest, OutputOptions
from turnwise.core.chat_response import ChatChoice, ChatDelta, ChatResponse, Usage
from turnwise.core.scheduling_options import SchedulingOptions
from turnwise.core.tools import ToolCallDelta

BEST_TWO_OF_THREE = ChatRequest(output=OutputOptions(n=2, best_of=3), scheduling=SchedulingOptions("me"))
LOGPROBS = (-3.0, -1.0, -2.0)


class LengthRanker:
    """Prefers long choices, and records the calls."""

    def __init__(self):
        self.calls = []

    async def score(self, prompt_ids, replies, *, tenant):
        self.calls.append((tuple(prompt_ids), tuple(replies), tenant))
        return [float(len(reply)) for reply in replies]


async def deltas_of(texts, tool_calls=()):
    """The deltas of choices, in two parts each."""
    for index, text in enumerate(texts):
        yield ChatDelta(text[:1], index=index, tool_calls=tool_calls if index == 0 else ())
    for index, text in enumerate(texts):
        usage = Usage(3, 9) if index == len(texts) - 1 else None
        yield ChatDelta(text[1:], "stop", usage, index, mean_logprob=LOGPROBS[index])


def best(texts, ranker, **fields):
    def stream(request):
        deltas = deltas_of(texts, **fields)
        return deltas if ranker is None else with_scores(deltas, ranker, request, (5, 6))

    return [choice.text for choice in asyncio.run(collect_response(stream, BEST_TWO_OF_THREE)).choices]


def test_without_a_ranker_the_most_likely_choices_are_returned():
    assert best(["abc", "b", "cc"], None) == ["b", "cc"]


def test_a_ranker_scores_the_whole_texts_of_all_choices_once():
    ranker = LengthRanker()
    assert best(["abc", "b", "cc"], ranker) == ["abc", "cc"]
    assert ranker.calls == [((5, 6), ("abc", "b", "cc"), "me")]


def test_an_empty_choice_ranks_last_whatever_its_score():
    class BrevityRanker(LengthRanker):
        async def score(self, prompt_ids, replies, *, tenant):
            return [-score for score in await super().score(prompt_ids, replies, tenant=tenant)]

    assert best(["abc", "", "cc"], BrevityRanker()) == ["cc", "abc"]


def test_choices_with_a_tool_call_are_ranked_by_likelihood():
    ranker = LengthRanker()
    calls = (ToolCallDelta(0, "id", "look", "{}"),)
    assert best(["abc", "b", "cc"], ranker, tool_calls=calls) == ["b", "cc"]
    assert not ranker.calls


def test_only_candidates_are_ranked():
    assert expand_best_of(BEST_TWO_OF_THREE).output == OutputOptions(n=3, best_of=3, is_ranked=True)
    request = ChatRequest(output=OutputOptions(n=3, best_of=3))
    assert expand_best_of(request) is request


@given(st.lists(st.floats(-9, 9), min_size=2, max_size=8), st.data())
def test_the_choices_with_the_highest_scores_come_first_and_ties_stay_in_order(scores, data):
    n = data.draw(st.integers(1, len(scores) - 1))
    choices = tuple(ChatChoice(str(index), "stop") for index in range(len(scores)))
    response = ChatResponse(choices, Usage(1, 1), choice_scores=tuple(scores))
    selected = select_best(response, ChatRequest(output=OutputOptions(n=n, best_of=len(scores))))
    order = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
    assert [choice.text for choice in selected.choices] == [str(index) for index in order[:n]]


def test_closing_the_stream_closes_that_of_the_model():
    closed = []

    async def deltas():
        try:
            async for delta in deltas_of(["abc", "b", "cc"]):
                yield delta
        finally:
            closed.append(True)

    async def read_one():
        ranked = with_scores(deltas(), LengthRanker(), expand_best_of(BEST_TWO_OF_THREE), ())
        await anext(ranked)
        await ranked.aclose()

    asyncio.run(read_one())
    assert closed == [True]


def test_an_error_of_the_ranker_ends_the_request():
    class FailingRanker:
        async def score(self, prompt_ids, replies, *, tenant):
            raise RuntimeError("no score")

    with pytest.raises(RuntimeError, match="no score"):
        best(["a", "b", "c"], FailingRanker())
