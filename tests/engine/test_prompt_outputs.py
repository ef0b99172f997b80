"""What is reported of a prompt: its tokens' log-probabilities and its embedding, by both runners, in any company."""

from dataclasses import replace

import pytest
import reference
import torch
from reference import GREEDY, greedy, make

from turnwise.core.inference import GenerationRequest
from turnwise.core.parameters import GenerationParams
from turnwise.engine.scheduling import batch_builder as plan_file

pytestmark = pytest.mark.usefixtures("one_thread", "both_runners")

PROMPT = [7, 30, 2, 2, 51, 9, 9, 14, 3, 60, 1, 22, 5]


@pytest.fixture
def run(monkeypatch):
    """`run(*requests)`: their listeners, all handed in at once; prompts are read in parts of five tokens."""
    monkeypatch.setattr(plan_file, "MAX_PREFILL_TOKENS", 5)
    monkeypatch.setattr(plan_file, "MAX_PREFILL_TOKENS_WITH_DECODE", 3)
    model = make()

    def run(*requests, slots=3):
        return reference.run(model, *requests, slots=slots)

    run.model = model
    return run


def asked(reading, most=0, top=0, prompt=PROMPT):
    params = GenerationParams(temperature=0, logprobs=True, top_logprobs=top)
    return GenerationRequest(tuple(prompt), params, most, frozenset(), prompt_output=reading)


def whole(model, ids=PROMPT):
    """Hidden states and log-probabilities by one pass over everything."""
    with torch.inference_mode():
        hidden_TC = model(torch.tensor([ids]))[0]
        return hidden_TC, model.logits(hidden_TC).double().log_softmax(dim=1)


def test_every_prompt_token_but_the_first_has_its_log_probability(run):
    (heard,) = run(asked("logprobs", top=3))
    (event,) = heard.events
    assert event.finish_reason == "length"
    _, logprobs_TV = whole(run.model)
    assert len(event.prompt_logprobs) == len(PROMPT) - 1
    for place, report in enumerate(event.prompt_logprobs):
        assert report.logprob == pytest.approx(float(logprobs_TV[place, PROMPT[place + 1]]), abs=1e-4)
        values, ids = logprobs_TV[place].topk(3)
        assert [id for id, _ in report.top_logprobs] == ids.tolist()
        assert [value for _, value in report.top_logprobs] == pytest.approx(values.tolist(), abs=1e-4)


@pytest.mark.parametrize("start", [0, 1, 2, 5, 9, len(PROMPT) - 1])
def test_of_a_long_beginning_nothing_need_be_told(run, start):
    """What was read of it is then shared, and the rest has the same numbers."""
    long = [*range(40), *PROMPT]
    (alone,) = run(asked("logprobs", prompt=long))
    told = alone.events[0].prompt_logprobs
    first, again = run(
        *(replace(asked("logprobs", prompt=long), prompt_logprobs_start=40 + start) for _ in range(2)), slots=1
    )
    expected = [report.logprob for report in told[40 + start - 1 :]]
    for heard in (first, again):
        assert [report.logprob for report in heard.events[0].prompt_logprobs] == pytest.approx(expected, abs=1e-4)
    assert again.events[0].stats.cached_tokens == 40 + start - 1


def test_candidates_share_what_they_answer(run):
    talk = list(range(48))
    requests = [replace(asked("logprobs", prompt=[*talk, 5 + n, n]), prompt_logprobs_start=48) for n in range(6)]
    heard = run(*requests, slots=6)
    assert all(each.events[0].stats.cached_tokens >= 32 for each in heard[1:])
    for request, each in zip(requests, heard, strict=True):
        _, logprobs_TV = whole(run.model, list(request.prompt_ids))
        found = [report.logprob for report in each.events[0].prompt_logprobs]
        expected = [float(logprobs_TV[47 + at, id]) for at, id in enumerate(request.prompt_ids[48:])]
        assert found == pytest.approx(expected, abs=1e-4)


def test_an_answer_may_follow_and_is_the_one_it_always_is(run):
    (heard,) = run(asked("logprobs", most=6))
    assert heard.events[0].prompt_logprobs
    assert heard.events[0].finish_reason is None
    assert (heard.tokens, heard.finish) == greedy(run.model, PROMPT, 6)


def test_an_embedding_is_the_last_hidden_state_of_length_one(run):
    (heard,) = run(asked("embedding"))
    (event,) = heard.events
    assert event.finish_reason == "stop"
    hidden_TC, _ = whole(run.model)
    expected = torch.nn.functional.normalize(hidden_TC[-1].double(), dim=0)
    torch.testing.assert_close(torch.tensor(event.embedding, dtype=torch.float64), expected, rtol=1e-4, atol=1e-5)


def test_a_prompt_of_one_token(run):
    scored, embedded = run(asked("logprobs", prompt=[4]), asked("embedding", prompt=[4]))
    assert scored.events[0].prompt_logprobs == ()
    assert sum(value**2 for value in embedded.events[0].embedding) == pytest.approx(1)


def test_readers_and_talkers_do_not_disturb_each_other(run):
    talk = GenerationRequest(tuple(PROMPT[::-1]), GREEDY, 9, frozenset())
    heard = run(talk, asked("embedding"), talk, asked("logprobs", most=4), asked("logprobs"), talk, slots=2)
    for one in (heard[0], heard[2], heard[5]):
        assert (one.tokens, one.finish) == greedy(run.model, PROMPT[::-1], 9)
    (alone,) = run(asked("embedding"))
    assert heard[1].events[0].embedding == pytest.approx(alone.events[0].embedding, abs=1e-6)
    assert heard[3].tokens == greedy(run.model, PROMPT, 4)[0]
