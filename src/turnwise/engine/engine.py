"""The engine: a thread that steps the scheduler while there is work and sleeps while there is none."""

import atexit
import itertools
import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from turnwise.core.errors import ContextLengthExceeded, InvalidParameter, Unavailable, UserError
from turnwise.core.ports import GenerationRequest, Quantization, TokenEvent
from turnwise.engine.kv_cache.block_pool import BLOCK_SIZE, blocks_for
from turnwise.engine.runners.memory_budget import check_weights_fit, num_cache_blocks
from turnwise.engine.runners.model_runner import ModelRunner, make_runner
from turnwise.engine.scheduling.scheduler import Scheduler
from turnwise.engine.sequence import SequenceGroup
from turnwise.models.decoder import Decoder
from turnwise.models.decoder_weights import DecoderWeights, as_decoder_weights
from turnwise.models.lora_factors import LoraFactors

STOPPED = "The engine has stopped after an error. Restart the server."
MAX_BEAMS = 16  # lines of a search where there are fewer slots: it then runs alone

log = logging.getLogger(__name__)

_open: "weakref.WeakSet[Engine]" = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Python stops daemon threads wherever they are, which C++ code beneath them answers with an abort."""
    for engine in list(_open):
        engine.close()


class Engine:
    """Generates for many requests at once (the `core.ports.Generator` port).

    Args:
        decoder: the model, in memory or to be read weight by weight; only the engine's thread touches it from now on.
        slots: most chats that run at the same time; further ones wait their turn.
        cache_bytes: most memory for keys and values, of chats under way and of what may be shared; None takes what
            `slots` whole contexts need, eight at least, but no more than a quarter of the machine's.
        quantize: round the weights to "int8" or "int4"; `make_runner` says where it is refused.
        drafts: try several tokens at once where that pays; answers are the same without.
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
        blocks = num_cache_blocks(weights, max_num_seqs, kv_cache_memory_bytes, half=quantize is not None)
        self._context_length = min(weights.config.context_length, blocks * BLOCK_SIZE)
        runner = make_runner(weights, blocks, quantize)
        self._begin(runner, blocks, max_num_seqs, weights.config.vocab_size, drafts=enable_speculation)

    def _begin(self, runner: ModelRunner, blocks: int, slots: int, vocab_size: int, *, drafts: bool = True) -> None:
        self._runner, self._blocks, self._vocab_size = runner, blocks, vocab_size
        self._widest = max(slots, MAX_BEAMS)
        self._scheduler = Scheduler(runner, blocks, slots, drafts=drafts)
        self._inbox: deque[SequenceGroup] = deque()
        self._wake = threading.Condition()
        self._closing = self._failed = False
        self._thread = threading.Thread(target=self._run, name="turnwise-engine", daemon=True)
        self._thread.start()
        _open.add(self)

    @property
    def kind(self) -> str:
        """Its arithmetic: engines of one kind give the same answers to the same seeds."""
        return self._runner.kind

    def load_lora(self, name: str, thin: Mapping[str, LoraFactors]) -> bool:
        """From now on answer requests of this adapter with these changes to the model; False where it cannot."""
        return self._runner.load_lora(name, thin)

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and answer together."""
        return self._context_length

    def max_new_tokens(self, prompt: int) -> int:
        """Most tokens of an answer to a prompt of so many; negative where that is too long itself."""
        return self.context_length - prompt

    def submit(self, request: GenerationRequest, on_event: Callable[[TokenEvent], None]) -> SequenceGroup:
        """Queue a request; events come from the engine's thread.

        Raises:
            ContextLengthExceeded: prompt and answer do not fit.
            UserError: the prompt is empty or holds ids that the model does not know.
            Unavailable: the engine is closing.
        """
        assert request.max_tokens >= (request.prompt_output == "nothing"), "the caller bounds it by the context"
        assert request.prompt_output == "nothing" or not request.params.penalty_alpha, "the caller refuses it"
        self._check_ids(request.prompt_ids)
        if request.max_tokens > self.max_new_tokens(len(request.prompt_ids)):
            raise ContextLengthExceeded.for_prompt(self._context_length, len(request.prompt_ids), request.max_tokens)
        return self._queue(request, on_event)

    def _check_ids(self, ids: Sequence[int]) -> None:
        if not ids:
            raise UserError("The prompt is empty: there is nothing to go on from.")
        if not 0 <= min(ids) <= max(ids) < self._vocab_size:
            raise UserError(
                f"The prompt holds token ids beyond the model's {self._vocab_size}: the tokenizer is not this model's."
            )

    def _queue(self, request: GenerationRequest, on_event: Callable[[TokenEvent], None]) -> SequenceGroup:
        # A tokenizer, or a model's own settings, may have ids that the model has no rows for.
        known = itertools.takewhile(lambda id: 0 <= id < self._vocab_size, request.prediction)
        stops = frozenset(id for id in request.stop_ids if 0 <= id < self._vocab_size)
        chat = SequenceGroup.of(replace(request, prediction=tuple(known), stop_ids=stops), on_event)
        if chat.width > self._widest:
            name = "num_beams" if request.params.num_beams > 1 else "top_k"
            raise InvalidParameter(name, f"'{name}' may be at most {self._widest} on this server, got {chat.width}.")
        needed = blocks_for(len(request.prompt_ids)) + chat.width * (blocks_for(request.max_tokens) + 1)
        if chat.width > 1 and needed > self._blocks:
            raise ContextLengthExceeded.for_prompt(
                self._blocks * BLOCK_SIZE, len(request.prompt_ids), request.max_tokens, beams=chat.width
            )
        with self._wake:
            if self._failed:
                raise Unavailable(STOPPED)
            if self._closing:
                raise Unavailable("The engine is shutting down.")
            self._inbox.append(chat)
            self._wake.notify()
        return chat

    @property
    def load(self) -> tuple[int, int]:
        """Chats running and chats waiting."""
        return len(self._scheduler.seats.running), len(self._scheduler.seats.waiting) + len(self._inbox)

    @property
    def is_healthy(self) -> bool:
        """False once its thread has stopped after an error: it takes no more requests."""
        return not self._failed

    def close(self) -> None:
        """Stop; requests under way end as cancelled."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._runner.enter()
            self._loop()
            self._scheduler.cancel_all()
        except BaseException:  # whatever it is, nobody may wait for a thread that is gone
            log.critical("the engine has stopped after an error and takes no more requests", exc_info=True)
            self._fail_everything()

    def _loop(self) -> None:
        scheduler = self._scheduler
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._inbox or not scheduler.idle or self._closing)
                while self._inbox:
                    scheduler.add(self._inbox.popleft())
                if self._closing:
                    return
            try:
                scheduler.step()
            except BaseException:
                # The scheduler handles what concerns single chats; this concerns nobody in particular.
                log.exception("a decoding step failed")
                scheduler.fail_all()

    def _fail_everything(self) -> None:
        with self._wake:
            self._failed = True
            seats = self._scheduler.seats
            chats = [*seats.running, *seats.waiting, *self._inbox]
            for left in (seats.running, seats.waiting, self._inbox):
                left.clear()
        for chat in chats:
            chat.emit_to_all(TokenEvent(None, "error", STOPPED))
