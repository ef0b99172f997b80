"""Decoding as the textbooks have it: the whole sequence through the model for every token, one request at a time.

Slow and obvious; the engine is compared with it.
"""

import random
from array import array

import torch

from turnwise.core.inference import GenerationEvent, GenerationRequest, TokenEvent
from turnwise.core.parameters import GenerationParams
from turnwise.engine.batch import BatchEntry
from turnwise.engine.kv_cache.block_pool import blocks_for
from turnwise.engine.native.native_runner import NativeRunner
from turnwise.engine.runners.model_runner import make_runner
from turnwise.engine.runners.torch_runner import TorchRunner
from turnwise.engine.scheduling.scheduler import Scheduler
from turnwise.engine.sequence import SequenceGroup
from turnwise.models.checkpoint import create
from turnwise.models.decoder_config import DecoderConfig

GREEDY = GenerationParams(temperature=0)
VOCAB = 61

LLAMA_LIKE = {"num_kv_heads": 2, "tied": False}
GPT2_LIKE = {
    "num_kv_heads": 4, "norm": "layer", "positions": "learned", "activation": "gelu_tanh", "gated_mlp": False,
    "qkv_bias": True, "out_bias": True, "mlp_bias": True,
}  # fmt: skip
WINDOWED = {"num_kv_heads": 1, "qk_norm": True, "sliding_window": 7, "windowed_layers": frozenset({1})}
SHAPES = {"llama-like": LLAMA_LIKE, "gpt2-like": GPT2_LIKE, "windowed": WINDOWED}


def make(shape="llama-like", *, context=96, seed=0, **changes):
    """A tiny random decoder; large weights, so that its answers differ with every token of the prompt."""
    sizes = {"hidden_size": 32, "intermediate_size": 40, "num_layers": 2, "num_heads": 4, "head_dim": 16}
    settings = {"initializer_range": 0.4} | sizes | SHAPES[shape] | changes
    config = DecoderConfig(family="llama", vocab_size=VOCAB, context_length=context, **settings)
    return create(config, seed=seed).decoder.eval()


def request(prompt, *, params=GREEDY, most=8, stop=(), **more):
    return GenerationRequest(tuple(prompt), params, most, frozenset(stop), **more)


@torch.inference_mode()
def next_logits(model, ids):
    """Logits after `ids`, by one pass over all of them."""
    return model.logits(model(torch.tensor([ids]))[0, -1])


def greedy(model, prompt, most, stop=()):
    """The tokens and the finish reason of an argmax loop."""
    ids = list(prompt)
    while len(ids) - len(prompt) < most:
        token = int(next_logits(model, ids).argmax())
        if token in stop:
            return ids[len(prompt) :], "stop"
        ids.append(token)
    return ids[len(prompt) :], "length"


class Listener:
    """Keeps the events of one request."""

    def __init__(self):
        self.events: list[GenerationEvent] = []

    def __call__(self, event):
        assert self.finish is None, "nothing comes after the end"
        self.events.append(event)

    @property
    def tokens(self):
        return [event.token_id for event in self.events if isinstance(event, TokenEvent)]

    @property
    def finish(self):
        return self.events[-1].finish_reason if self.events else None


RUNNERS = {"torch": TorchRunner, "native": NativeRunner}


class Desk:
    """A scheduler that is stepped by hand, and the chats that were handed to it."""

    kind = ""  # of its runner; the quickest there is, if a module tries not both

    def __init__(self, model, slots=4, blocks=None):
        self.slots = slots
        self.blocks = blocks or slots * blocks_for(model.config.context_length)
        self.runner = RUNNERS.get(self.kind, make_runner)(model, self.blocks)
        self.passes = self.tokens = 0  # that the runner has made and read
        self._forward, self.runner.forward = self.runner.forward, self._counted
        self.scheduler = Scheduler(self.runner, self.blocks, slots)

    def _counted(self, spans, *, hidden=False):
        self.passes += 1
        self.tokens += sum(len(span.ids) for span in spans)
        return self._forward(spans, hidden=hidden)

    def submit(self, asked, listener=None):
        group = SequenceGroup.from_request(asked, listener or Listener())
        self.scheduler.add(group)
        return group

    def step(self, times=1):
        for _ in range(times):
            self.scheduler.step()

    def finish(self, steps=5000):
        for _ in range(steps):
            if self.scheduler.is_idle:
                assert self.scheduler.queues.kv_cache.pool.num_available == self.blocks, "all memory is back"
                return
            self.scheduler.step()
        raise AssertionError("the scheduler does not come to an end")


def prompts(lengths, seed=1):
    rng = random.Random(seed)
    return [[rng.randrange(VOCAB) for _ in range(length)] for length in lengths]


def run(model, *requests, slots=4, blocks=40, listener=Listener):
    """The listeners of requests that were all handed in at once."""
    desk = Desk(model, slots, blocks)
    groups = [desk.submit(one, listener()) for one in requests]
    desk.finish()
    return [group.on_event for group in groups]


class Lines:
    """A runner's cache, parted among `count` lines: line i has every `count`-th block from the i-th on."""

    def __init__(self, runner, count, most):
        self.runner = runner
        self.tables = [array("i", range(line, count * blocks_for(most), count)) for line in range(count)]
        self.lengths = [0] * count

    @staticmethod
    def blocks(count, most):
        return count * blocks_for(most)

    def read(self, lines, ids, num_outputs=1, hidden=False):
        """Read tokens of some lines in one pass."""
        pairs = list(zip(lines, ids, strict=True))
        spans = [BatchEntry(self.tables[line], self.lengths[line], part, num_outputs) for line, part in pairs]
        out = self.runner.forward(spans, hidden=hidden)
        for line, part in pairs:
            self.lengths[line] += len(part)
        return out
