"""A fake engine that answers with scripted events, in the thread of the caller."""

import asyncio

from turnwise.core.errors import TurnwiseError
from turnwise.core.inference import ErrorEvent, FinishEvent, TokenEvent


class FakeHandle:
    def __init__(self):
        self.num_cancels = 0

    def cancel(self):
        self.num_cancels += 1


class FakeEngine:
    """Answers every request with `events`. Records the requests and their handles."""

    is_encoder_decoder = False
    is_healthy = True

    def __init__(self, events=(), context_length=200):
        self.events = list(events)
        self.context_length = context_length
        self.requests, self.handles = [], []

    def max_new_tokens(self, prompt_length):
        return self.context_length - prompt_length

    def submit(self, request, on_event):
        self.requests.append(request)
        self.handles.append(FakeHandle())
        for event in self.events:
            on_event(event)
        return self.handles[-1]

    def close(self):
        pass


def answer_events(ids, finish="stop", error=None):
    """The events of an answer with these tokens."""
    last = FinishEvent(finish) if error is None else ErrorEvent(TurnwiseError(error))
    return [*(TokenEvent(id) for id in ids), last]


async def _collect(stream):
    return [delta async for delta in stream]


def stream(service, request):
    """The deltas of a response."""
    return asyncio.run(_collect(service.stream(request)))


def reply(service, request):
    return asyncio.run(service.reply(request))


def joined_text(deltas):
    return "".join(delta.text for delta in deltas)
