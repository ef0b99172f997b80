"""Compiles grammars for structured output: JSON schemas, regular expressions, choices and Lark grammars.

llguidance (https://github.com/guidance-ai/llguidance) computes at every step which tokens keep a response in the
grammar, so a response is valid at any temperature. Grammars come from requests, so their size, their number of states
and the work per step are limited.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from turnwise.core.errors import InvalidParameter
from turnwise.text.constraints.grammar_cache import GrammarCache
from turnwise.text.constraints.grammar_constraint import GrammarConstraint, matcher_error
from turnwise.text.constraints.json_schema import normalize_schema
from turnwise.text.constraints.json_schema_errors import find_unsupported_keywords, summarize_error
from turnwise.text.constraints.schema_keywords import SchemaError
from turnwise.text.tokenization.llguidance_tokenizer import LLGuidanceTokenizer
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.text.tokenization.vocabulary import Vocabulary

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer
    from llguidance._lib import JsonCompileOptions

MAX_GRAMMAR_CHARACTERS = 65_536
# Of a normalized schema, or of the schemas of all tools. The published limit is 120,000 characters of names, enums and
# constants; this limit counts all characters.
MAX_SCHEMA_CHARACTERS = 400_000
# A lexer state takes 1 to 2 kB. The library itself limits the work of a step, to about 14 ms.
MAX_LEXER_STATES = 50_000
MAX_GRAMMAR_SIZE = 100_000
# Fixed white space. Flexible white space would allow a model to generate it without end.
JSON_STYLE: "JsonCompileOptions" = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
# Path of the schema in fields that contain more than a schema.
SCHEMA_PATHS = {"response_format": "response_format.json_schema.schema"}


class GrammarCompiler:
    """Compiles grammars for one tokenizer, and caches them.

    In all methods, `param` is the request field that contains the grammar, for errors. All methods raise
    `InvalidParameter` if the grammar is invalid or exceeds a limit.
    """

    def __init__(self, tokenizer: Tokenizer, vocabulary: Vocabulary | None = None) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary or Vocabulary(tokenizer)
        self._backend: LLTokenizer | None = None
        self._cache = GrammarCache()

    def prepare(self) -> None:
        """Build the tokenizer of llguidance now. Takes a second for 150,000 tokens and holds the GIL."""
        self._llguidance_tokenizer()

    def compile_json_object(self) -> GrammarConstraint:
        """Compile a grammar for any JSON object."""
        return self.compile_json_schema({"type": "object"}, "response_format")

    def compile_json_schema(self, schema: Any, param: str, *, arguments: bool = False) -> GrammarConstraint:
        """Compile a JSON schema. `arguments` as in `normalize_schema`. Errors name the unsupported keyword."""
        try:
            source = json.dumps(normalize_schema(schema, arguments=arguments))
            check_size(param, len(source), MAX_SCHEMA_CHARACTERS)
            return self._compile_cached(_matcher_class().grammar_from_json_schema(source, JSON_STYLE))
        except (SchemaError, ValueError, RecursionError) as error:
            if isinstance(error, InvalidParameter):
                raise
            unsupported = next(find_unsupported_keywords(schema), None)
            path = SCHEMA_PATHS.get(param, param)
            if unsupported is not None:
                raise _not_enforceable(param, f"{path}.{unsupported.keyword_path}", unsupported.reason) from None
            raise _not_enforceable(param, path, _reason(error)) from None

    def compile_regex(self, pattern: str, param: str) -> GrammarConstraint:
        """Compile a regular expression that the complete response matches."""
        return self._compile_source(param, pattern, lambda source: _matcher_class().grammar_from_regex(source))

    def compile_lark(self, grammar: str, param: str) -> GrammarConstraint:
        """Compile a context-free grammar in Lark's notation with the extensions of llguidance."""
        return self._compile_source(param, grammar, lambda source: _matcher_class().grammar_from_lark(source))

    def compile_choice(self, choices: Sequence[str], param: str) -> GrammarConstraint:
        """Compile a grammar for one of several texts."""
        alternatives = (json.dumps(choice, ensure_ascii=False) for choice in choices)
        return self.compile_lark("start: " + " | ".join(alternatives), param)

    def compile_tool_calls(self, grammar: str, subgrammars: Mapping[str, str], param: str) -> GrammarConstraint:
        """Compile a Lark grammar of `tool_call_grammar`, which refers to `subgrammars` of a request as `@name`."""
        size = len(grammar) + sum(map(len, subgrammars.values()))
        check_size(param, size, MAX_SCHEMA_CHARACTERS)
        grammars = [{"name": name, "lark_grammar": text} for name, text in {"calls": grammar, **subgrammars}.items()]
        return self._compile_reporting(param, lambda: json.dumps({"grammars": grammars}))

    def _compile_source(self, param: str, source: str, convert: Callable[[str], str]) -> GrammarConstraint:
        check_size(param, len(source), MAX_GRAMMAR_CHARACTERS)
        return self._compile_reporting(param, lambda: convert(source))

    def _compile_reporting(self, param: str, build: Callable[[], str]) -> GrammarConstraint:
        """Compile the grammar that `build` returns. Errors become `InvalidParameter`."""
        try:
            return self._compile_cached(build())
        except (ValueError, RecursionError) as error:
            raise _not_enforceable(param, param, _reason(error)) from None

    def _compile_cached(self, grammar: str) -> GrammarConstraint:
        if (constraint := self._cache.get(grammar)) is None:
            self._cache.put(grammar, constraint := self._compile(grammar))
        return constraint

    def _compile(self, grammar: str) -> GrammarConstraint:
        from llguidance import LLMatcher, LLParserLimits

        tokenizer = self._llguidance_tokenizer()
        limits = LLParserLimits(
            max_lexer_states=MAX_LEXER_STATES, max_grammar_size=MAX_GRAMMAR_SIZE, verbose_errors=False
        )
        matcher = LLMatcher(tokenizer, grammar, log_level=0, limits=limits)
        if not matcher.is_error():
            matcher.compute_bitmask()  # some errors occur only at the first step
        if matcher.is_error():
            raise ValueError(matcher_error(matcher))
        return GrammarConstraint(matcher, tokenizer.vocab_size)

    def _llguidance_tokenizer(self) -> "LLTokenizer":
        if self._backend is None:
            from llguidance import LLTokenizer, TokenizerWrapper

            wrapped = LLGuidanceTokenizer(self._tokenizer, self._vocabulary)
            self._backend = LLTokenizer(
                TokenizerWrapper(wrapped), n_vocab=wrapped.size, eos_token=sorted(self._tokenizer.stop_ids) or None
            )
        return self._backend


def check_size(param: str, size: int, limit: int) -> None:
    """Raise `InvalidParameter` if a grammar or schema has more than `limit` characters."""
    if size > limit:
        raise InvalidParameter(param, f"'{param}' is longer than {limit:,} characters.")


def _not_enforceable(param: str, path: str, reason: str) -> InvalidParameter:
    return InvalidParameter(param, f"'{path[:200]}' cannot be enforced: {reason}.", code="invalid_grammar")


def _reason(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else summarize_error(str(error))


def _matcher_class() -> "type[LLMatcher]":
    from llguidance import LLMatcher

    return LLMatcher
