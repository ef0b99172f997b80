"""Grammars for answers: JSON, JSON schemas, regular expressions, choices and Lark grammars, as constraints on tokens.

llguidance (https://github.com/guidance-ai/llguidance) does the work: at every step it says which tokens keep the answer
inside the grammar, so the answer is right by construction at any temperature. Grammars come from requests, so their
size, the states they may grow and the work of a step are bounded.
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from turnwise.core.errors import InvalidParameter, UserError
from turnwise.text.constraints.json_schema import SchemaError, normalize_schema
from turnwise.text.constraints.json_schema_errors import find_unsupported_keywords, summarize_error
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.text.tokenization.vocabulary import LLGuidanceTokenizer, Vocabulary

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer
    from llguidance._lib import JsonCompileOptions

MAX_SOURCE = 65_536  # characters of a grammar
# Of a normalized schema, or those of all tools. Published: 120,000 of names, enums and constants; here all are counted.
MAX_SCHEMA = 400_000
# Lexer states take 1 to 2 kB each. A step's work is bounded by the library's own limits, to about 14 ms.
MAX_STATES = 50_000
MAX_SYMBOLS = 100_000
# One way to write JSON: free white space would be free to go on for ever.
JSON_STYLE: "JsonCompileOptions" = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
SCHEMA_PLACES = {"response_format": "response_format.json_schema.schema"}  # where a field has its schema
# Compiled grammars that are kept for the next request with the same. One takes about 0.1 MB and 20 to 60 bytes for each
# character of its source, so the cache takes at most about 70 MB.
MAX_CACHED = 64
MAX_CACHED_CHARACTERS = 1_000_000


class GrammarConstraint:
    """A compiled grammar (the `core.inference.Constraint` port)."""

    def __init__(self, matcher: "LLMatcher", size: int) -> None:
        self._matcher = matcher
        self._size = size

    def start(self) -> "GrammarConstraintState":
        """At the beginning of an answer."""
        return GrammarConstraintState(self._matcher.deep_copy(), self._size)


class GrammarConstraintState:
    """Where an answer is in its grammar."""

    def __init__(self, matcher: "LLMatcher", size: int) -> None:
        self._matcher = matcher
        self._size = size

    def token_mask(self) -> NDArray[np.bool_]:
        """Which tokens keep the answer inside the grammar, `(V,)`; the end where it may end."""
        mask = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        if self._matcher.is_error():
            raise UserError(
                f"The answer's grammar could not be followed any further: {summarize_error(_reason(self._matcher))}."
            )
        return np.unpackbits(mask, count=self._size, bitorder="little").astype(np.bool_)

    def accept(self, token: int) -> None:
        """One token further."""
        self._matcher.consume_token(token)

    def fork(self) -> "GrammarConstraintState":
        """Another that stands at the same place."""
        return GrammarConstraintState(self._matcher.deep_copy(), self._size)

    @property
    def is_complete(self) -> bool:
        """Whether nothing but the end may follow."""
        return bool(self._matcher.is_stopped()) and not self._matcher.is_error()


class GrammarCache:
    """The grammars that were used last, by their source; bounded by their number and by the characters of the sources.

    Threads that compile use it at the same time.
    """

    def __init__(self, entries: int = MAX_CACHED, characters: int = MAX_CACHED_CHARACTERS) -> None:
        self._entries, self._characters = entries, characters
        self._grammars: OrderedDict[str, GrammarConstraint] = OrderedDict()
        self._lock = Lock()

    @property
    def characters(self) -> int:
        """Characters of the sources of all grammars in it."""
        return sum(map(len, self._grammars))

    def __len__(self) -> int:
        return len(self._grammars)

    def get(self, source: str) -> GrammarConstraint | None:
        """The grammar of this source, if it is in the cache."""
        with self._lock:
            if source in self._grammars:
                self._grammars.move_to_end(source)
            return self._grammars.get(source)

    def put(self, source: str, grammar: GrammarConstraint) -> None:
        """Add a grammar; those that were unused for longest are removed for it."""
        with self._lock:
            self._grammars[source] = grammar
            self._grammars.move_to_end(source)
            while len(self) > self._entries or self.characters > self._characters:
                self._grammars.popitem(last=False)


class GrammarCompiler:
    """Compiles grammars for one tokenizer."""

    def __init__(self, tokenizer: Tokenizer, vocabulary: Vocabulary | None = None) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary or Vocabulary(tokenizer)
        self._backend: LLTokenizer | None = None
        self._cache = GrammarCache()

    def prepare(self) -> None:
        """Build now what the first grammar would wait for: a second for 150,000 tokens, in which no thread runs."""
        self._tokens()

    def compile_json_object(self) -> GrammarConstraint:
        """Any JSON object."""
        return self.compile_json_schema({"type": "object"}, "response_format")

    def compile_json_schema(self, schema: Any, param: str, *, arguments: bool = False) -> GrammarConstraint:
        """JSON that a schema allows; `arguments` as in `normalize`.

        Raises:
            InvalidParameter: for `param`, naming the keyword that cannot be enforced.
        """
        try:
            source = json.dumps(normalize_schema(schema, arguments=arguments))
            check_size(param, len(source), MAX_SCHEMA)
            return self._compiled(_matcher().grammar_from_json_schema(source, JSON_STYLE))
        except (SchemaError, ValueError, RecursionError) as error:
            if isinstance(error, InvalidParameter):
                raise
            fault = next(find_unsupported_keywords(schema), None)
            place = SCHEMA_PLACES.get(param, param)
            if fault is not None:
                raise _not_enforced(param, f"{place}.{fault.keyword_path}", fault.reason) from None
            raise _not_enforced(param, place, _words(error)) from None

    def compile_regex(self, pattern: str, param: str) -> GrammarConstraint:
        """Text that matches a whole regular expression."""
        return self._of(param, pattern, lambda text: _matcher().grammar_from_regex(text))

    def compile_lark(self, grammar: str, param: str) -> GrammarConstraint:
        """Text of a context-free grammar in Lark's notation, with the extensions of llguidance."""
        return self._of(param, grammar, lambda text: _matcher().grammar_from_lark(text))

    def compile_tool_calls(self, grammar: str, others: Mapping[str, str], param: str) -> GrammarConstraint:
        """Text of a Lark grammar that we wrote; `others` are grammars from requests that it names as `@name`."""
        size = len(grammar) + sum(map(len, others.values()))
        parts = [{"name": name, "lark_grammar": text} for name, text in {"calls": grammar, **others}.items()]
        return self._of(param, json.dumps({"grammars": parts}), str, (size, MAX_SCHEMA))

    def compile_choice(self, choices: Sequence[str], param: str) -> GrammarConstraint:
        """One of several texts."""
        return self.compile_lark(
            "start: " + " | ".join(json.dumps(choice, ensure_ascii=False) for choice in choices), param
        )

    def _of(
        self, param: str, source: str, grammar_of: Callable[[str], str], size: tuple[int, int] | None = None
    ) -> GrammarConstraint:
        check_size(param, *(size or (len(source), MAX_SOURCE)))
        try:
            return self._compiled(grammar_of(source))
        except (ValueError, RecursionError) as error:
            raise _not_enforced(param, param, _words(error)) from None

    def _compiled(self, source: str) -> GrammarConstraint:
        if (grammar := self._cache.get(source)) is None:
            self._cache.put(source, grammar := self._compile(source))
        return grammar

    def _compile(self, grammar: str) -> GrammarConstraint:
        from llguidance import LLMatcher, LLParserLimits

        limits = LLParserLimits(max_lexer_states=MAX_STATES, max_grammar_size=MAX_SYMBOLS, verbose_errors=False)
        matcher = LLMatcher(self._tokens(), grammar, log_level=0, limits=limits)
        if not matcher.is_error():
            matcher.compute_bitmask()  # some mistakes only show at the first step
        if matcher.is_error():
            raise ValueError(_reason(matcher))
        return GrammarConstraint(matcher, self._tokens().vocab_size)

    def _tokens(self) -> "LLTokenizer":
        if self._backend is None:
            from llguidance import LLTokenizer, TokenizerWrapper

            tokens = LLGuidanceTokenizer(self._tokenizer, self._vocabulary)
            self._backend = LLTokenizer(
                TokenizerWrapper(tokens), n_vocab=tokens.size, eos_token=sorted(self._tokenizer.stop_ids) or None
            )
        return self._backend


def check_size(param: str, size: int, limit: int) -> None:
    """Raise `InvalidParameter` where a grammar or a schema is longer than `limit` characters."""
    if size > limit:
        raise InvalidParameter(param, f"'{param}' is longer than {limit:,} characters.")


def _not_enforced(param: str, place: str, reason: str) -> InvalidParameter:
    return InvalidParameter(param, f"'{place[:200]}' cannot be enforced: {reason}.", code="invalid_grammar")


def _words(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else summarize_error(str(error))


def _matcher() -> "type[LLMatcher]":
    from llguidance import LLMatcher

    return LLMatcher


def _reason(matcher: "LLMatcher") -> str:
    return str(matcher.get_error()).strip() or str(matcher.stop_reason())
