"""A generator that says what it is told to, and hands its thread to nobody."""

import asyncio

from turnwise.core.errors import TurnwiseError
from turnwise.core.inference import ErrorEvent, FinishEvent, TokenEvent


class FakeTicket:
    def __init__(self):
        self.cancelled = 0

    def cancel(self):
        self.cancelled += 1


class FakeGenerator:
    """Answers every request with `events`; keeps requests and tickets."""

    is_encoder_decoder = False
    is_healthy = True

    def __init__(self, events=(), context_length=200):
        self.events = list(events)
        self.context_length = context_length
        self.requests, self.tickets = [], []

    def max_new_tokens(self, prompt):
        return self.context_length - prompt

    def submit(self, request, on_event):
        self.requests.append(request)
        self.tickets.append(FakeTicket())
        for event in self.events:
            on_event(event)
        return self.tickets[-1]

    def close(self):
        pass


def saying(ids, finish="stop", error=None):
    """The events of an answer."""
    last = FinishEvent(finish) if error is None else ErrorEvent(TurnwiseError(error))
    return [*(TokenEvent(id) for id in ids), last]


async def _collect(stream):
    return [delta async for delta in stream]


def stream(service, turn):
    """The deltas of an answer."""
    return asyncio.run(_collect(service.stream(turn)))


def reply(service, turn):
    return asyncio.run(service.reply(turn))


def text(deltas):
    return "".join(delta.text for delta in deltas)
