"""The engine: a thread that steps the scheduler while there are requests and sleeps otherwise."""

import atexit
import itertools
import logging
import threading
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

from turnwise.core.errors import ContextLengthExceeded, InvalidParameter, TurnwiseError, Unavailable, UserError
from turnwise.core.inference import ErrorEvent, EventListener, GenerationRequest, Quantization
from turnwise.engine.kv_cache.block_pool import BLOCK_SIZE, blocks_for
from turnwise.engine.native.native_runner import is_quantized
from turnwise.engine.runners.memory_budget import check_weights_fit, max_retained_blocks, num_cache_blocks
from turnwise.engine.runners.model_runner import ModelRunner, make_runner
from turnwise.engine.scheduling.scheduler import Scheduler
from turnwise.engine.sequence import SequenceGroup
from turnwise.models.decoder import Decoder
from turnwise.models.decoder_weights import DecoderWeights, as_decoder_weights
from turnwise.models.lora_factors import LoraFactors

STOPPED = "The engine has stopped after an error. Restart the server."
MAX_BEAMS = 16  # allowed for a search even if `max_num_seqs` is lower; it then runs alone

log = logging.getLogger(__name__)

_open: "weakref.WeakSet[Engine]" = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Stop the threads before Python exits: it would end daemon threads inside C++ code, which aborts the process."""
    for engine in list(_open):
        engine.close()


class Engine:
    """Generates for many requests at once (implements `core.inference.InferenceEngine`).

    Args:
        decoder: the model in memory, or its weights, which are read one by one. From now on only the engine's thread
            uses it.
        max_num_seqs: maximum number of sequences that run at the same time; further requests wait.
        kv_cache_memory_bytes: size of the KV cache. Default: enough for `max_num_seqs` full contexts (at least eight),
            at most a quarter of the machine's memory; on a CPU, prefixes of earlier requests then take at most a
            share of it (`memory_budget.max_retained_blocks`), so that memory grows to what the requests that ran at
            the same time needed, and that share. It is not returned before the engine is closed.
        quantize: quantize the weights to "int8" or "int4"; `make_runner` says where that is not supported.
        enable_speculation: use speculative decoding where it saves time; answers are the same without.

    Raises:
        UserError: the weights do not fit into memory.
        InvalidParameter: `quantize` is not supported here.
    """

    is_encoder_decoder = False

    def __init__(
        self,
        decoder: Decoder | DecoderWeights,
        *,
        max_num_seqs: int = 32,
        kv_cache_memory_bytes: int | None = None,
        quantize: Quantization | None = None,
        enable_speculation: bool = True,
    ) -> None:
        weights = as_decoder_weights(decoder)
        check_weights_fit(weights, quantize)
        half = is_quantized(weights, quantize)
        num_blocks = num_cache_blocks(weights, max_num_seqs, kv_cache_memory_bytes, half=half)
        self._context_length = min(weights.config.context_length, num_blocks * BLOCK_SIZE)
        retained = None if kv_cache_memory_bytes is not None else max_retained_blocks(weights, half=half)
        runner = make_runner(weights, num_blocks, quantize)
        self._start(
            runner,
            num_blocks,
            max_num_seqs,
            weights.config.vocab_size,
            enable_speculation=enable_speculation,
            max_retained_blocks=retained,
        )

    def _start(
        self,
        runner: ModelRunner,
        num_blocks: int,
        max_num_seqs: int,
        vocab_size: int,
        *,
        enable_speculation: bool = True,
        max_retained_blocks: int | None = None,
    ) -> None:
        self._runner, self._num_blocks, self._vocab_size = runner, num_blocks, vocab_size
        self._max_beams = max(max_num_seqs, MAX_BEAMS)
        self._scheduler = Scheduler(
            runner,
            num_blocks,
            max_num_seqs,
            enable_speculation=enable_speculation,
            max_retained_blocks=max_retained_blocks,
        )
        self._inbox: deque[SequenceGroup] = deque()  # submitted, not yet in the scheduler
        self._wake = threading.Condition()  # guards the inbox, the set and the two flags below
        self._unloading: set[str] = set()  # adapters that are freed once no request uses them
        self._closing = self._failed = False
        self._thread = threading.Thread(target=self._run, name="turnwise-engine", daemon=True)
        self._thread.start()
        _open.add(self)

    @property
    def kind(self) -> str:
        """Id of the arithmetic: engines with the same id give the same answers to the same seeds."""
        return self._runner.kind

    def load_lora(self, name: str, factors: Mapping[str, LoraFactors]) -> bool:
        """Register a LoRA adapter by name; False if the runner does not support it.

        An adapter that is loaded again while it is unloaded stays loaded.
        """
        with self._wake:
            self._unloading.discard(name)
        return self._runner.load_lora(name, factors)

    def unload_lora(self, name: str) -> None:
        """Free a LoRA adapter and its cached prefixes, as soon as no request uses it. Submit no more requests for it.

        Returns at once. A request that was cancelled uses the adapter until the next step.
        """
        with self._wake:
            self._unloading.add(name)
            self._wake.notify()

    @property
    def context_length(self) -> int:
        """Maximum number of tokens of prompt and answer together."""
        return self._context_length

    def max_new_tokens(self, prompt_length: int) -> int:
        """Maximum number of tokens of an answer to a prompt of this length; negative if the prompt is too long."""
        return self.context_length - prompt_length

    def submit(self, request: GenerationRequest, on_event: EventListener) -> SequenceGroup:
        """Queue a request. `on_event` is called from the engine's thread.

        Raises:
            ContextLengthExceeded: prompt and answer do not fit into the context.
            InvalidParameter: the search needs more hypotheses than are allowed.
            UserError: the prompt is empty or has ids outside the vocabulary.
            Unavailable: the engine is shutting down or has failed.
        """
        assert request.max_tokens >= (request.prompt_output == "nothing"), "the caller bounds it by the context"
        assert request.prompt_output == "nothing" or not request.params.penalty_alpha, "the caller rejects it"
        self._check_ids(request.prompt_ids)
        if request.max_tokens > self.max_new_tokens(len(request.prompt_ids)):
            raise ContextLengthExceeded.for_prompt(self._context_length, len(request.prompt_ids), request.max_tokens)
        return self._queue(request, on_event)

    def _check_ids(self, ids: Sequence[int]) -> None:
        if not ids:
            raise UserError("The prompt is empty.")
        if not 0 <= min(ids) <= max(ids) < self._vocab_size:
            raise UserError(
                f"The prompt has token ids outside the model's vocabulary of {self._vocab_size}: "
                "the tokenizer does not belong to this model."
            )

    def _queue(self, request: GenerationRequest, on_event: EventListener) -> SequenceGroup:
        # A tokenizer, or the model's generation config, may have ids that the model's vocabulary lacks.
        prediction = tuple(itertools.takewhile(lambda id: 0 <= id < self._vocab_size, request.prediction))
        stop_ids = frozenset(id for id in request.stop_ids if 0 <= id < self._vocab_size)
        group = SequenceGroup.from_request(replace(request, prediction=prediction, stop_ids=stop_ids), on_event)
        if group.max_sequences > self._max_beams:
            name = "num_beams" if request.params.num_beams > 1 else "top_k"
            raise InvalidParameter(
                name, f"'{name}' may be at most {self._max_beams} on this server, got {group.max_sequences}."
            )
        # The prompt's blocks are shared; each hypothesis has its own for the answer, and one partly filled.
        needed = blocks_for(len(request.prompt_ids)) + group.max_sequences * (blocks_for(request.max_tokens) + 1)
        if group.max_sequences > 1 and needed > self._num_blocks:
            raise ContextLengthExceeded.for_prompt(
                self._num_blocks * BLOCK_SIZE, len(request.prompt_ids), request.max_tokens, beams=group.max_sequences
            )
        with self._wake:
            if self._failed:
                raise Unavailable(STOPPED)
            if self._closing:
                raise Unavailable("The engine is shutting down.")
            self._inbox.append(group)
            self._wake.notify()
        return group

    @property
    def load(self) -> tuple[int, int]:
        """Number of running and of waiting requests."""
        queues = self._scheduler.queues
        return len(queues.running), len(queues.waiting) + len(self._inbox)

    @property
    def is_healthy(self) -> bool:
        """False once the thread has stopped after an error; requests are then rejected."""
        return not self._failed

    def close(self) -> None:
        """Stop the thread. Unfinished requests end as cancelled."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._runner.enter()
            self._loop()
            self._scheduler.cancel_all()
        except BaseException:  # no client may wait for a thread that has ended
            log.critical("the engine has stopped after an error and rejects requests from now on", exc_info=True)
            self._fail_everything()

    def _loop(self) -> None:
        scheduler = self._scheduler
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._inbox or not scheduler.is_idle or self._unloading or self._closing)
                while self._inbox:
                    scheduler.add(self._inbox.popleft())
                if self._closing:
                    return
                self._unload_unused_adapters()
            try:
                scheduler.step()
            except BaseException:  # the scheduler handles exceptions that concern single requests; this is another one
                log.exception("a step of the scheduler failed")
                scheduler.fail_all()

    def _unload_unused_adapters(self) -> None:
        """Free the adapters of `_unloading` that no request uses. The caller holds the lock."""
        if not self._unloading:  # at nearly every step
            return
        for name in self._unloading - self._scheduler.adapters_in_use():
            self._unloading.remove(name)
            self._runner.unload_lora(name)
            self._scheduler.drop_prefixes(name)

    def _fail_everything(self) -> None:
        with self._wake:
            self._failed = True
            queues = self._scheduler.queues
            groups = [*queues.running, *queues.waiting, *self._inbox]
            for queue in (queues.running, queues.waiting, self._inbox):
                queue.clear()
        for group in groups:
            group.emit_to_all(ErrorEvent(TurnwiseError(STOPPED)))
