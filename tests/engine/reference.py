"""Reference decoding and helpers for tests of the engine.

The reference computes the full sequence for every token, one request at a time.
"""

import random
from array import array

import torch

from turnwise.core.inference import GenerationEvent, GenerationRequest, TokenEvent
from turnwise.core.parameters import GenerationParams
from turnwise.core.scheduling_options import SchedulingOptions
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


def make_decoder(shape="llama-like", *, context=96, seed=0, **changes):
    """A tiny random decoder. Its weights are large, so that answers depend on every token of the prompt."""
    sizes = {"hidden_size": 32, "intermediate_size": 40, "num_layers": 2, "num_heads": 4, "head_dim": 16}
    settings = {"initializer_range": 0.4} | sizes | SHAPES[shape] | changes
    config = DecoderConfig(family="llama", vocab_size=VOCAB, context_length=context, **settings)
    return create(config, seed=seed).decoder.eval()


def request(prompt, *, params=GREEDY, max_tokens=8, stop=(), tenant="", priority=0, **options):
    scheduling = SchedulingOptions(tenant=tenant, priority=priority)
    return GenerationRequest(tuple(prompt), params, max_tokens, frozenset(stop), scheduling=scheduling, **options)


@torch.inference_mode()
def next_logits(model, ids):
    """Logits after `ids`, from one forward pass over all of them."""
    return model.logits(model(torch.tensor([ids]))[0, -1])


def greedy(model, prompt, max_tokens, stop=()):
    """Tokens and finish reason of an argmax loop."""
    ids = list(prompt)
    while len(ids) - len(prompt) < max_tokens:
        token = int(next_logits(model, ids).argmax())
        if token in stop:
            return ids[len(prompt) :], "stop"
        ids.append(token)
    return ids[len(prompt) :], "length"


class EventRecorder:
    """A callback that records the events of one request."""

    def __init__(self):
        self.events: list[GenerationEvent] = []

    def __call__(self, event):
        assert self.finish is None, "there are no events after the last one"
        self.events.append(event)

    @property
    def tokens(self):
        return [event.token_id for event in self.events if isinstance(event, TokenEvent)]

    @property
    def finish(self):
        return self.events[-1].finish_reason if self.events else None


RUNNERS = {"torch": TorchRunner, "native": NativeRunner}


class SchedulerHarness:
    """A scheduler that tests step by hand; counts forward passes and their tokens."""

    kind = ""  # key of RUNNERS; the default runner if empty

    def __init__(self, model, max_num_seqs=4, num_blocks=None):
        self.max_num_seqs = max_num_seqs
        self.num_blocks = num_blocks or max_num_seqs * blocks_for(model.config.context_length)
        self.runner = RUNNERS.get(self.kind, make_runner)(model, self.num_blocks)
        self.passes = self.tokens = 0
        self._forward, self.runner.forward = self.runner.forward, self._counting_forward
        self.scheduler = Scheduler(self.runner, self.num_blocks, max_num_seqs)

    def _counting_forward(self, entries, *, return_hidden=False):
        self.passes += 1
        self.tokens += sum(len(entry.ids) for entry in entries)
        return self._forward(entries, return_hidden=return_hidden)

    def submit(self, generation_request, recorder=None):
        group = SequenceGroup.from_request(generation_request, recorder or EventRecorder())
        self.scheduler.add(group)
        return group

    def step(self, times=1):
        for _ in range(times):
            self.scheduler.step()

    def finish(self, steps=5000):
        for _ in range(steps):
            if self.scheduler.is_idle:
                assert self.scheduler.queues.kv_cache.pool.num_available == self.num_blocks, (
                    "all blocks are available again"
                )
                return
            self.scheduler.step()
        raise AssertionError("the scheduler does not finish")


def prompts(lengths, seed=1):
    rng = random.Random(seed)
    return [[rng.randrange(VOCAB) for _ in range(length)] for length in lengths]


def run_requests(model, *requests, max_num_seqs=4, num_blocks=40, recorder=EventRecorder):
    """Submit all requests at once, finish them and return their recorders."""
    harness = SchedulerHarness(model, max_num_seqs, num_blocks)
    groups = [harness.submit(generation_request, recorder()) for generation_request in requests]
    harness.finish()
    return [group.on_event for group in groups]


class PagedSequences:
    """Sequences in the cache of a runner. Sequence i of `count` owns every `count`-th block, starting with block i."""

    def __init__(self, runner, count, max_length):
        self.runner = runner
        self.tables = [array("i", range(number, count * blocks_for(max_length), count)) for number in range(count)]
        self.lengths = [0] * count

    @staticmethod
    def num_blocks(count, max_length):
        return count * blocks_for(max_length)

    def forward(self, numbers, ids, num_outputs=1, return_hidden=False):
        """One forward pass over new tokens of the sequences `numbers`."""
        pairs = list(zip(numbers, ids, strict=True))
        entries = [
            BatchEntry(self.tables[number], self.lengths[number], new_ids, num_outputs) for number, new_ids in pairs
        ]
        out = self.runner.forward(entries, return_hidden=return_hidden)
        for number, new_ids in pairs:
            self.lengths[number] += len(new_ids)
        return out
