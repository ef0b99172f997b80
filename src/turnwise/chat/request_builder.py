"""Builds engine requests: renders the messages, checks the parameters against the model, compiles the format."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

from turnwise.chat.search_checks import applicable_defaults, check_search_parameters
from turnwise.chat.tool_calling import tool_constraint
from turnwise.core.chat_request import ChatRequest, ResponseFormat
from turnwise.core.errors import ContextLengthExceeded, InvalidData, InvalidParameter, UserError
from turnwise.core.inference import Constraint, GenerationRequest, InferenceEngine
from turnwise.core.messages import Message
from turnwise.core.parameters import GenerationParams
from turnwise.core.sampling_presets import apply_sampling_preset
from turnwise.text.chat_templates.chat_template import find_template_variables
from turnwise.text.constraints.bad_words import BadWordsConstraint
from turnwise.text.constraints.stop_strings import StopStringConstraint
from turnwise.text.rendering.renderer import RenderedConversation, Renderer
from turnwise.text.tokenization.tokenizer import TooManyTokens
from turnwise.text.tokenization.tokenizer_files import SPECIAL_TOKEN_NAMES
from turnwise.text.tokenization.vocabulary import Vocabulary

BANNED_TOKEN_BIAS = -100.0  # logit bias that no logit exceeds
PREDICTION_CHARS_PER_TOKEN = 16  # prefix of a prediction that is tokenized, in characters per token of the context
RESPONSE_CONTEXT_DIVISOR = 4  # a context policy reserves 1/4 of the context for the response

THINKING_VARIABLES = ("enable_thinking", "thinking")  # names of the thinking switch in common chat templates
# Template variables that a request cannot set.
RESERVED_VARIABLES = frozenset(
    {"messages", "tools", "documents", "add_generation_prompt", "raise_exception", "strftime_now"}
)


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

    def build_request(self, request: ChatRequest) -> GenerationRequest:
        """Build the engine request for the first choice.

        Raises:
            UserError: a parameter is out of range, the template rejects the messages, the format cannot be enforced or
                the prompt exceeds the context.
        """
        params = GenerationParams.resolve(
            request.sampling, applicable_defaults(apply_sampling_preset(request.preset, self.defaults), request)
        )
        self._check_parameters(params, request)
        check_search_parameters(params, request)
        self._check_variables(request.context.chat_template_kwargs)
        _check_unicode(request.messages)
        if request.context.continue_final_message and (
            not request.messages or request.messages[-1].role != "assistant"
        ):
            raise UserError("'continue_final_message' needs the last message to be from the assistant.")
        if request.context.continue_final_message and self.engine.is_encoder_decoder:
            raise UserError(f"The model '{self.name}' is an encoder-decoder model and cannot continue a message.")
        ids = self._prompt_ids_within_context(request)
        return GenerationRequest(
            prompt_ids=ids,
            params=self._ban_suppressed_tokens(params),
            max_tokens=(max_tokens := self._max_tokens(ids, params, request)),
            stop_ids=self._stop_ids(params),
            constraints=tuple(self._constraints(params, request)),
            prompt_output=request.output.prompt_output,
            num_return_sequences=request.output.n if params.num_beams > 1 else 1,
            scope=request.scheduling.cache_scope,
            tenant=request.scheduling.tenant,
            priority=request.scheduling.priority,
            prediction=self._prediction(params, request)[:max_tokens],
        )

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
        if any(id >= self.renderer.tokenizer.vocab_size for id in request.prompt):
            name = request.prompt_field
            raise InvalidParameter(
                name, f"'{name}' has token ids that this model does not have; they end at {len(self.vocabulary) - 1}."
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
        rendered = self.renderer.render([Message("user", text)], add_generation_prompt=True, variables=no_thinking)
        return GenerationRequest(
            tuple(rendered.ids),
            GenerationParams(temperature=0),
            min(max_tokens, self.engine.max_new_tokens(len(rendered.ids))),
            self.renderer.tokenizer.stop_ids,
            scope=request.scheduling.cache_scope,
            tenant=request.scheduling.tenant,
            priority=request.scheduling.priority,
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
        prompt_only = request.output.prompt_only or request.output.prompt_output == "embedding"
        if available < (0 if prompt_only else max(1, max_tokens)):
            raise ContextLengthExceeded.for_prompt(
                self.engine.context_length, len(ids), max_tokens, request.prompt_field
            )
        if prompt_only:
            return 0
        return min(params.max_tokens or available, available)

    def _check_parameters(self, params: GenerationParams, request: ChatRequest) -> None:
        """Check parameters that depend on each other or on the model."""
        vocab_size = self.renderer.tokenizer.vocab_size
        for name, ids in (
            ("logit_bias", [id for id, _ in params.logit_bias]),
            ("stop_token_ids", params.stop_token_ids),
        ):
            for id in ids:
                if id >= vocab_size:
                    raise InvalidParameter(
                        name, f"'{name}' names token {id}; this model's ids end at {vocab_size - 1}."
                    )
        if params.top_logprobs and not params.logprobs:
            raise InvalidParameter("top_logprobs", "'top_logprobs' needs 'logprobs': true.")
        if params.max_tokens is not None and params.min_tokens > params.max_tokens:
            raise InvalidParameter(
                "min_tokens", f"'min_tokens' ({params.min_tokens}) is more than the token limit ({params.max_tokens})."
            )
        format_field = (
            request.output.format.param
            if request.output.format is not None
            else "tools"
            if request.tools.visible
            else None
        )
        if format_field is not None:
            for name, value in (("ignore_eos", params.ignore_eos), ("min_tokens", params.min_tokens)):
                if value:
                    raise InvalidParameter(
                        name, f"'{name}' contradicts '{format_field}', whose grammar decides when the response ends."
                    )
        if request.output.n > 1 and request.conversation_id is not None:
            name = "best_of" if request.output.best_of > 1 else "n"
            raise InvalidParameter(
                name, f"A stored conversation continues with one choice. Leave '{name}' or 'conversation_id' out."
            )

    def _check_variables(self, variables: Mapping[str, Any]) -> None:
        """Check that the template uses each variable and that no value contains a special token."""
        for name, value in variables.items():
            if (
                name in RESERVED_VARIABLES
                or name in SPECIAL_TOKEN_NAMES
                or not re.search(rf"\b{re.escape(name)}\b", self.renderer.chat_template)
            ):
                raise InvalidParameter(
                    name, f"The chat template of the model '{self.name}' has no '{name[:60]}' to set."
                )
            text = json.dumps(value, ensure_ascii=False)
            if any(token in text for token in self.renderer.tokenizer.special_tokens):
                raise InvalidParameter(name, f"'{name[:60]}' contains one of the model's special tokens.")

    def _stop_ids(self, params: GenerationParams) -> frozenset[int]:
        stop_ids: frozenset[int] = frozenset() if params.ignore_eos else self.renderer.tokenizer.stop_ids
        return stop_ids | frozenset(params.stop_token_ids)

    def _constraints(self, params: GenerationParams, request: ChatRequest) -> list[Constraint]:
        constraints: list[Constraint] = []
        if (tool_calls := tool_constraint(request, self.renderer, self.renderer.grammar_compiler)) is not None:
            constraints.append(tool_calls)
        elif request.output.format is not None:
            constraints.append(self._grammar(request.output.format))
        if params.num_beams > 1 and params.stop:
            if request.tools.visible:
                raise InvalidParameter(
                    "stop", "'stop' cannot be combined with both 'num_beams' and 'tools'. Leave one of them out."
                )
            constraints.append(StopStringConstraint(params.stop, self.vocabulary))
        if params.bad_words:
            constraints.append(self._bad_words_constraint(params.bad_words))
        return constraints

    @cached_property
    def _bad_words_constraint(self) -> Any:
        return lru_cache(maxsize=16)(lambda words: BadWordsConstraint(words, self.vocabulary))

    def _grammar(self, format: ResponseFormat) -> Constraint:
        if format.kind == "json_object":
            return self.renderer.grammar_compiler.compile_json_object()
        compilers: dict[str, Callable[[Any, str], Constraint]] = {
            "json_schema": self.renderer.grammar_compiler.compile_json_schema,
            "regex": self.renderer.grammar_compiler.compile_regex,
            "choice": self.renderer.grammar_compiler.compile_choice,
            "lark": self.renderer.grammar_compiler.compile_lark,
        }
        return compilers[format.kind](format.source, format.param)


def split_choices(generation_request: GenerationRequest, n: int) -> list[GenerationRequest]:
    """Engine requests for `n` choices: one for a beam search, which returns all of them, else one per choice."""
    return (
        [generation_request]
        if generation_request.params.num_beams > 1
        else [_with_choice_seed(generation_request, index) for index in range(n)]
    )


def _with_choice_seed(generation_request: GenerationRequest, index: int) -> GenerationRequest:
    """The request with a seed derived from `seed` and the index of the choice. Reproducible."""
    seed = generation_request.params.seed
    if index == 0 or seed is None:
        return generation_request
    choice_seed = int.from_bytes(hashlib.sha256(f"{seed}:{index}".encode()).digest()[:7], "big")
    return replace(generation_request, params=replace(generation_request.params, seed=choice_seed))


def _check_unicode(messages: Sequence[Message]) -> None:
    """Reject unpaired surrogates, which a tokenizer cannot encode. Python creates them from invalid UTF-8."""
    for message in messages:
        call_text = "".join(f"{call.id}{call.name}{call.arguments}" for call in message.tool_calls)
        try:
            f"{message.content}{message.name}{call_text}{message.tool_call_id}".encode()
        except UnicodeEncodeError:
            raise InvalidData(f"A message of the {message.role} is not valid Unicode text.") from None
