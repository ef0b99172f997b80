"""Builds engine requests: checks the chat request, renders its messages and bounds the response by the context."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from turnwise.chat.constraint_builder import ConstraintBuilder
from turnwise.chat.request_checks import (
    check_continuation,
    check_parameters,
    check_template_variables,
    check_unicode,
)
from turnwise.chat.search_checks import applicable_defaults, check_search_parameters, check_tree_size
from turnwise.core.chat_request import ChatRequest
from turnwise.core.errors import ContextLengthExceeded, InvalidParameter
from turnwise.core.inference import GenerationRequest, InferenceEngine
from turnwise.core.messages import Message, last_question
from turnwise.core.parameters import GenerationParams
from turnwise.core.sampling_presets import apply_sampling_preset
from turnwise.text.chat_templates.chat_template import find_template_variables
from turnwise.text.rendering.rendered_conversation import RenderedConversation
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.streaming.reply_trimmer import ReplyTrimmer
from turnwise.text.tokenization.encoding import TooManyTokens
from turnwise.text.tokenization.vocabulary import Vocabulary

BANNED_TOKEN_BIAS = -100.0  # logit bias that no logit exceeds
PREDICTION_CHARS_PER_TOKEN = 16  # prefix of a prediction that is tokenized, in characters per token of the context
RESPONSE_CONTEXT_DIVISOR = 4  # a context policy reserves 1/4 of the context for the response

THINKING_VARIABLES = ("enable_thinking", "thinking")  # names of the thinking switch in common chat templates


@dataclass(frozen=True)
class RequestBuilder:
    """Builds engine requests for one model.

    Attributes:
        name: served model name.
        renderer: chat template and tokenizer.
        engine: inference engine; gives the context length.
        defaults: generation parameters of the model.
        suppressed: token ids that are never generated.
    """

    name: str
    renderer: Renderer
    engine: InferenceEngine
    defaults: Mapping[str, Any] = field(default_factory=dict)
    suppressed: frozenset[int] = frozenset()

    @property
    def vocabulary(self) -> Vocabulary:
        """Bytes of the model's tokens."""
        return self.renderer.vocabulary

    @cached_property
    def _constraint_builder(self) -> ConstraintBuilder:
        return ConstraintBuilder(self.renderer)

    def build_request(self, request: ChatRequest) -> GenerationRequest:
        """Build the engine request for the first choice.

        Raises:
            UserError: a parameter is out of range, the template rejects the messages, the format cannot be enforced or
                the prompt exceeds the context.
        """
        params, stops = self.check_request(request), self._template_stops(request)
        answer_ids, output = request.context.answer_ids, request.output
        ids = (*self._prompt_ids_within_context(request), *answer_ids)
        max_tokens = self._max_tokens(ids, params, request)
        check_tree_size(request, params.num_beams, max_tokens)
        return GenerationRequest(
            prompt_ids=ids,
            params=self._ban_suppressed_tokens(params),
            max_tokens=max_tokens,
            stop_ids=self._stop_ids(params),
            constraints=self._constraint_builder.build(params, request, stops),
            prompt_output=output.prompt_output,
            prompt_logprobs_start=len(ids) - len(answer_ids) if answer_ids else 0,
            num_return_sequences=output.n if params.num_beams > 1 else 1,
            scope=request.scheduling.cache_scope,
            scheduling=request.scheduling,
            prediction=self._prediction(params, request)[:max_tokens],
            template_stops=stops,
            question=last_question(request.messages),
            num_answer_ids=len(answer_ids),
            distribution=output.distribution,
            trace_search=output.trace_search,
        )

    def check_request(self, request: ChatRequest) -> GenerationParams:
        """Check the request without rendering it, and return its parameters. Raises `UserError`."""
        params = GenerationParams.resolve(
            request.sampling, applicable_defaults(apply_sampling_preset(request.preset, self.defaults), request)
        )
        check_parameters(params, request, self.renderer.tokenizer.vocab_size)
        check_search_parameters(params, request)
        check_template_variables(request.context.chat_template_kwargs, self.renderer, self.name)
        check_unicode(request.messages)
        check_continuation(request, self.name, is_encoder_decoder=self.engine.is_encoder_decoder)
        return params

    def _template_stops(self, request: ChatRequest) -> tuple[str, ...]:
        """The stop strings of the chat template."""
        variables = request.context.chat_template_kwargs
        return self.renderer.stop_strings(request.messages, variables) if self.is_turn(request) else ()

    def is_turn(self, request: ChatRequest) -> bool:
        """True if the response is one turn: the prompt is messages, or a text that ends like their prompt."""
        if request.prompt is None:
            return True
        opening = self.renderer.generation_prompt
        return isinstance(request.prompt, str) and bool(opening) and request.prompt.endswith(opening)

    def reply_trimmer(self, request: ChatRequest) -> ReplyTrimmer | None:
        """Removes white space around a reply; None if the text is returned as it is generated."""
        trims = self.renderer.turn_format.trim and request.prompt is None and not request.is_continuation
        return ReplyTrimmer() if trims else None

    def _ban_suppressed_tokens(self, params: GenerationParams) -> GenerationParams:
        if not self.suppressed:
            return params
        logit_bias = tuple(pair for pair in params.logit_bias if pair[0] not in self.suppressed)
        return replace(params, logit_bias=(*logit_bias, *((id, BANNED_TOKEN_BIAS) for id in sorted(self.suppressed))))

    def _prompt_ids_within_context(self, request: ChatRequest) -> tuple[int, ...]:
        """Prompt ids. Raises `ContextLengthExceeded` for a prompt that exceeds the context on its own."""
        try:
            return self.prompt_ids(request, None if request.context.window else self.engine.context_length)
        except TooManyTokens as error:
            tokens = error.count if error.is_exact else f"at least {error.count}"
            response_tokens = request.sampling.get("max_tokens") or 0
            raise ContextLengthExceeded.for_prompt(
                self.engine.context_length, tokens, response_tokens, request.prompt_field
            ) from None

    def prompt_ids(self, request: ChatRequest, limit: int | None = None) -> tuple[int, ...]:
        """Token ids of the prompt.

        Raises:
            UserError: the template rejects the messages, or an id is outside the vocabulary.
            TooManyTokens: the prompt certainly has more than `limit` tokens. Not all longer prompts are detected.
        """
        if request.prompt is None:
            ids = tuple(self.render(request, limit).ids)
            if request.context.window is None or sum(request.context.window) >= len(ids):
                return ids
            first, last = request.context.window
            return (*ids[:first], *ids[-last:])
        if isinstance(request.prompt, str):
            tokenizer = self.renderer.tokenizer
            self.renderer.check_length(request.prompt, limit)
            return (*tokenizer.bos_ids, *tokenizer.encode(request.prompt, max_tokens=limit)) or self._empty_prompt_ids()
        vocab_size = self.renderer.tokenizer.vocab_size
        if (highest := max(request.prompt, default=0)) >= vocab_size:
            name = request.prompt_field
            raise InvalidParameter(
                name, f"'{name}': token {highest} is outside the vocabulary (0 to {vocab_size - 1})."
            )
        return request.prompt

    def _empty_prompt_ids(self) -> tuple[int, ...]:
        """Ids of an empty prompt: the end-of-text token, as in the OpenAI reference for a missing prompt."""
        eos_id = self.renderer.tokenizer.eos_token_id
        if eos_id is None:
            raise InvalidParameter("prompt", "'prompt' is empty, and this model has no token to begin a document with.")
        return (eos_id,)

    def render(self, request: ChatRequest, limit: int | None = None) -> RenderedConversation:
        """Render the messages. Raises as `prompt_ids` does."""
        return self.renderer.render(
            request.messages,
            add_generation_prompt=not request.context.continue_final_message,
            continue_final_message=request.context.continue_final_message,
            variables=request.context.chat_template_kwargs,
            tools=request.tools.visible,
            max_tokens=limit,
        )

    def max_prompt_tokens(self, request: ChatRequest) -> int:
        """Maximum prompt length that leaves enough context for the response; longer prompts go to the context policy.

        The response gets `max_tokens` of the request, else the model's default or a fixed share of the context,
        whichever is smaller. An encoder-decoder model needs no space for it.
        """
        context_length = self.engine.context_length
        share = max(1, context_length // RESPONSE_CONTEXT_DIVISOR)
        default = apply_sampling_preset(request.preset, self.defaults).get("max_tokens") or share
        response_tokens = int(request.sampling.get("max_tokens") or min(default, share))
        return context_length if self.engine.is_encoder_decoder else context_length - response_tokens

    def build_internal_request(self, text: str, max_tokens: int, request: ChatRequest) -> GenerationRequest:
        """Build a greedy request with `text` as its only message, for internal use (summaries)."""
        # Switch thinking off: it would use up the token limit.
        no_thinking = {
            name: False for name in THINKING_VARIABLES if name in find_template_variables(self.renderer.chat_template)
        }
        messages = [Message("user", text)]
        rendered = self.renderer.render(messages, add_generation_prompt=True, variables=no_thinking)
        return GenerationRequest(
            tuple(rendered.ids),
            GenerationParams(temperature=0),
            min(max_tokens, self.engine.max_new_tokens(len(rendered.ids))),
            self.renderer.tokenizer.stop_ids,
            scope=request.scheduling.cache_scope,
            scheduling=request.scheduling,
            template_stops=self.renderer.stop_strings(messages),
        )

    def _prediction(self, params: GenerationParams, request: ChatRequest) -> tuple[int, ...]:
        if request.output.prediction is None:
            return ()
        if params.num_beams > 1:
            raise InvalidParameter(
                "prediction", "'prediction' cannot be combined with 'num_beams'. Leave one of them out."
            )
        # A response is not longer than the context, so the rest of the prediction is useless.
        text = request.output.prediction[: self.engine.context_length * PREDICTION_CHARS_PER_TOKEN]
        return tuple(self.renderer.tokenizer.encode(text))

    def _max_tokens(self, ids: Sequence[int], params: GenerationParams, request: ChatRequest) -> int:
        available, max_tokens = self.engine.max_new_tokens(len(ids)), request.sampling.get("max_tokens") or 0
        prompt_only = not request.output.generates
        if available < (0 if prompt_only else max(1, max_tokens)):
            raise ContextLengthExceeded.for_prompt(
                self.engine.context_length, len(ids), max_tokens, request.prompt_field
            )
        if prompt_only:
            return 0
        return min(params.max_tokens or available, available)

    def _stop_ids(self, params: GenerationParams) -> frozenset[int]:
        stop_ids: frozenset[int] = frozenset() if params.ignore_eos else self.renderer.tokenizer.stop_ids
        return stop_ids | frozenset(params.stop_token_ids)
