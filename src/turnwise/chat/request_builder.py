"""What the generator is asked for: a turn rendered, its parameters checked against the model, its format compiled."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

from turnwise.chat.search_checks import applicable_defaults, check_search_parameters
from turnwise.chat.tool_calling import tool_constraint, visible_tools
from turnwise.core.chat_request import ChatRequest, ResponseFormat
from turnwise.core.errors import ContextLengthExceeded, InvalidData, InvalidParameter, UserError
from turnwise.core.messages import Message
from turnwise.core.parameters import GenerationParams
from turnwise.core.ports import Constraint, GenerationRequest, InferenceEngine
from turnwise.core.sampling_presets import apply_sampling_preset
from turnwise.text.chat_templates.chat_template import find_template_variables
from turnwise.text.constraints.bad_words import BadWordsConstraint
from turnwise.text.constraints.stop_strings import StopStringConstraint
from turnwise.text.rendering.renderer import RenderedConversation, Renderer
from turnwise.text.tokenization.tokenizer import TooManyTokens
from turnwise.text.tokenization.tokenizer_files import SPECIAL_TOKEN_NAMES
from turnwise.text.tokenization.vocabulary import Vocabulary

NEVER = -100.0  # a bias that no logit makes up for
PREDICTED = 16  # characters of a prediction that are tokenized per token of the context
ANSWER_SHARE = 4  # a context policy keeps this part of the context free for the answer

THINKING = ("enable_thinking", "thinking")  # what published templates call the switch
# What the template gets from elsewhere.
RESERVED = frozenset({"messages", "tools", "documents", "add_generation_prompt", "raise_exception", "strftime_now"})


@dataclass(frozen=True)
class RequestBuilder:
    """Makes requests for one model.

    Attributes:
        name: what the model is called.
        renderer: its chat template.
        generator: what is asked: how much it reads and writes.
        defaults: generation parameters it prefers.
        suppressed: tokens that it never says.
    """

    name: str
    renderer: Renderer
    engine: InferenceEngine
    defaults: Mapping[str, Any] = field(default_factory=dict)
    suppressed: frozenset[int] = frozenset()

    @property
    def vocabulary(self) -> Vocabulary:
        """The bytes of the model's tokens."""
        return self.renderer.vocabulary

    def build_request(self, turn: ChatRequest) -> GenerationRequest:
        """The request for a turn's first answer.

        Raises:
            UserError: parameters out of range, messages the template refuses, a format that cannot be enforced, or more
                tokens than the context holds.
        """
        params = GenerationParams.resolve(
            turn.sampling, applicable_defaults(apply_sampling_preset(turn.preset, self.defaults), turn)
        )
        self._check(params, turn)
        check_search_parameters(params, turn)
        self._check_variables(turn.chat_template_kwargs)
        _refuse_broken_text(turn.messages)
        if turn.continue_final_message and (not turn.messages or turn.messages[-1].role != "assistant"):
            raise UserError("Only an assistant's message can be gone on with, and the last message is none.")
        if turn.continue_final_message and self.engine.is_encoder_decoder:
            raise UserError(f"The model '{self.name}' reads with an encoder and cannot go on with a message.")
        ids = self._fitting_ids(turn)
        return GenerationRequest(
            prompt_ids=ids,
            params=self._without_suppressed(params),
            max_tokens=(most := self._room(ids, params, turn)),
            stop_ids=self._stop_ids(params),
            constraints=tuple(self._constraints(params, turn)),
            prompt_output=turn.prompt_output,
            num_return_sequences=turn.n if params.num_beams > 1 else 1,
            scope=cache_scope(turn),
            tenant=turn.tenant,
            priority=turn.priority,
            prediction=self._prediction(params, turn)[:most],
        )

    def _without_suppressed(self, params: GenerationParams) -> GenerationParams:
        if not self.suppressed:
            return params
        asked = tuple(pair for pair in params.logit_bias if pair[0] not in self.suppressed)
        return replace(params, logit_bias=(*asked, *((id, NEVER) for id in sorted(self.suppressed))))

    def _fitting_ids(self, turn: ChatRequest) -> tuple[int, ...]:
        """What the model reads. Raises `ContextLengthExceeded` where that is certain before it is tokenized."""
        try:
            return self.prompt_ids(turn, None if turn.window else self.engine.context_length)
        except TooManyTokens as error:
            tokens = error.count if error.is_exact else f"at least {error.count}"
            answer = turn.sampling.get("max_tokens") or 0
            raise ContextLengthExceeded.for_prompt(
                self.engine.context_length, tokens, answer, _prompt_field(turn)
            ) from None

    def prompt_ids(self, turn: ChatRequest, limit: int | None = None) -> tuple[int, ...]:
        """What the model reads.

        Raises:
            UserError: the template refuses the messages, or the model does not have an id.
            TooManyTokens: there are more than `limit`; what is longer may pass.
        """
        if turn.prompt is None:
            ids = tuple(self.render(turn, limit).ids)
            if turn.window is None or sum(turn.window) >= len(ids):
                return ids
            first, last = turn.window
            return (*ids[:first], *ids[-last:])
        if isinstance(turn.prompt, str):
            tokenizer = self.renderer.tokenizer
            self.renderer.check_length(turn.prompt, limit)
            return (*tokenizer.bos_ids, *tokenizer.encode(turn.prompt, limit=limit)) or self._document_start()
        if any(id >= self.renderer.tokenizer.vocab_size for id in turn.prompt):
            name = _prompt_field(turn)
            raise InvalidParameter(
                name, f"'{name}' has token ids that this model does not have; they end at {len(self.vocabulary) - 1}."
            )
        return turn.prompt

    def _document_start(self) -> tuple[int, ...]:
        """The prompt that says nothing: the token that separates documents, as published for a missing prompt."""
        end = self.renderer.tokenizer.eos_id
        if end is None:
            raise InvalidParameter("prompt", "'prompt' is empty, and this model has no token to begin a document with.")
        return (end,)

    def render(self, turn: ChatRequest, limit: int | None = None) -> RenderedConversation:
        """The messages of a turn as the model sees them. Raises as `prompt_ids` does."""
        return self.renderer.render(
            turn.messages,
            add_generation_prompt=not turn.continue_final_message,
            continue_final_message=turn.continue_final_message,
            variables=turn.chat_template_kwargs,
            tools=visible_tools(turn),
            limit=limit,
        )

    def max_prompt_tokens(self, turn: ChatRequest) -> int:
        """Most tokens of a prompt for which a context policy has nothing to do.

        The rest of the context is the answer's: the tokens that were asked for; where none were, a share of the
        context, or the model's own limit if that is less. Where an encoder reads the prompt, the answer needs none.
        """
        whole = self.engine.context_length
        share = max(1, whole // ANSWER_SHARE)
        usual = apply_sampling_preset(turn.preset, self.defaults).get("max_tokens") or share
        answer = int(turn.sampling.get("max_tokens") or min(usual, share))
        return whole if self.engine.is_encoder_decoder else whole - answer

    def build_internal_request(self, text: str, most: int, turn: ChatRequest) -> GenerationRequest:
        """The request for a greedy answer to a text alone, of at most `most` tokens, for our own use in a turn."""
        # Models that can think aloud would spend all of it on that.
        quiet = {name: False for name in THINKING if name in find_template_variables(self.renderer.template)}
        rendered = self.renderer.render([Message("user", text)], add_generation_prompt=True, variables=quiet)
        return GenerationRequest(
            tuple(rendered.ids),
            GenerationParams(temperature=0),
            min(most, self.engine.max_new_tokens(len(rendered.ids))),
            self.renderer.tokenizer.stop_ids,
            scope=cache_scope(turn),
            tenant=turn.tenant,
            priority=turn.priority,
        )

    def _prediction(self, params: GenerationParams, turn: ChatRequest) -> tuple[int, ...]:
        if turn.prediction is None:
            return ()
        if params.num_beams > 1:
            raise InvalidParameter("prediction", "'prediction' is of no use to 'num_beams': leave one of them out.")
        # No answer is longer than the context, so the rest would be tokenized in vain.
        start = turn.prediction[: self.engine.context_length * PREDICTED]
        return tuple(self.renderer.tokenizer.encode(start))

    def _room(self, ids: Sequence[int], params: GenerationParams, turn: ChatRequest) -> int:
        room, most = self.engine.max_new_tokens(len(ids)), turn.sampling.get("max_tokens") or 0
        only_read = turn.prompt_only or turn.prompt_output == "embedding"
        if room < (0 if only_read else max(1, most)):
            raise ContextLengthExceeded.for_prompt(self.engine.context_length, len(ids), most, _prompt_field(turn))
        if only_read:
            return 0
        return min(params.max_tokens or room, room)

    def _check(self, params: GenerationParams, turn: ChatRequest) -> None:
        """What only shows when parameters are seen together, or beside the model."""
        known = self.renderer.tokenizer.vocab_size
        for name, ids in (
            ("logit_bias", [id for id, _ in params.logit_bias]),
            ("stop_token_ids", params.stop_token_ids),
        ):
            for id in ids:
                if id >= known:
                    raise InvalidParameter(name, f"'{name}' names token {id}; this model's ids end at {known - 1}.")
        if params.top_logprobs and not params.logprobs:
            raise InvalidParameter("top_logprobs", "'top_logprobs' needs 'logprobs': true.")
        if params.max_tokens is not None and params.min_tokens > params.max_tokens:
            raise InvalidParameter(
                "min_tokens", f"'min_tokens' ({params.min_tokens}) is more than the token limit ({params.max_tokens})."
            )
        shaped = turn.format.param if turn.format is not None else "tools" if visible_tools(turn) else None
        if shaped is not None:
            for name, said in (("ignore_eos", params.ignore_eos), ("min_tokens", params.min_tokens)):
                if said:
                    raise InvalidParameter(
                        name, f"'{name}' contradicts '{shaped}', which says itself when an answer is whole."
                    )
        if turn.n > 1 and turn.conversation_id is not None:
            name = "best_of" if turn.best_of > 1 else "n"
            raise InvalidParameter(
                name, f"A conversation goes on with one answer; leave '{name}' or 'conversation_id' out."
            )

    def _check_variables(self, variables: Mapping[str, Any]) -> None:
        """Values for the template must be ones it uses, and must not write what only the template may write."""
        for name, value in variables.items():
            if (
                name in RESERVED
                or name in SPECIAL_TOKEN_NAMES
                or not re.search(rf"\b{re.escape(name)}\b", self.renderer.template)
            ):
                raise InvalidParameter(
                    name, f"The chat template of the model '{self.name}' has no '{name[:60]}' to set."
                )
            written = json.dumps(value, ensure_ascii=False)
            if any(token in written for token in self.renderer.tokenizer.special_tokens):
                raise InvalidParameter(name, f"'{name[:60]}' spells one of the model's special tokens.")

    def _stop_ids(self, params: GenerationParams) -> frozenset[int]:
        own: frozenset[int] = frozenset() if params.ignore_eos else self.renderer.tokenizer.stop_ids
        return own | frozenset(params.stop_token_ids)

    def _constraints(self, params: GenerationParams, turn: ChatRequest) -> list[Constraint]:
        found: list[Constraint] = []
        if (calls := tool_constraint(turn, self.renderer, self.renderer.grammars)) is not None:
            found.append(calls)
        elif turn.format is not None:
            found.append(self._grammar(turn.format))
        if params.num_beams > 1 and params.stop:
            if visible_tools(turn):
                raise InvalidParameter("stop", "'stop' does not go with both 'num_beams' and 'tools': leave one out.")
            found.append(StopStringConstraint(params.stop, self.vocabulary))
        if params.bad_words:
            found.append(self._banned(params.bad_words))
        return found

    @cached_property
    def _banned(self) -> Any:
        return lru_cache(maxsize=16)(lambda words: BadWordsConstraint(words, self.vocabulary))

    def _grammar(self, format: ResponseFormat) -> Constraint:
        if format.kind == "json_object":
            return self.renderer.grammars.json_object()
        compilers: dict[str, Callable[[Any, str], Constraint]] = {
            "json_schema": self.renderer.grammars.json_schema,
            "regex": self.renderer.grammars.regex,
            "choice": self.renderer.grammars.choice,
            "lark": self.renderer.grammars.lark,
        }
        return compilers[format.kind](format.source, format.param)


def _prompt_field(turn: ChatRequest) -> str:
    """The field of the request that the prompt comes from."""
    return "input" if turn.prompt_output == "embedding" else "messages" if turn.prompt is None else "prompt"


def cache_scope(turn: ChatRequest) -> str:
    """Whose requests may share what was read and written for one of them."""
    return f"{turn.tenant}\n{turn.prompt_cache_key}"


def split_choices(request: GenerationRequest, answers: int) -> list[GenerationRequest]:
    """The requests that bring so many answers: a search gives them all, otherwise each is drawn on its own."""
    return [request] if request.params.num_beams > 1 else [_numbered(request, index) for index in range(answers)]


def _numbered(request: GenerationRequest, index: int) -> GenerationRequest:
    """The same request for a further answer: with a seed of its own, which is the same at every time."""
    seed = request.params.seed
    if index == 0 or seed is None:
        return request
    other = int.from_bytes(hashlib.sha256(f"{seed}:{index}".encode()).digest()[:7], "big")
    return replace(request, params=replace(request.params, seed=other))


def _refuse_broken_text(messages: Sequence[Message]) -> None:
    """Half a surrogate pair, which Python makes of bytes that are no UTF-8, is nothing a tokenizer could encode."""
    for message in messages:
        called = "".join(f"{call.id}{call.name}{call.arguments}" for call in message.tool_calls)
        try:
            f"{message.content}{message.name}{called}{message.tool_call_id}".encode()
        except UnicodeEncodeError:
            raise InvalidData(f"A message of the {message.role} is not valid Unicode text.") from None
