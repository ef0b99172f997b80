"""Builds the constraints of a request: tool calls or the response format, stop strings of a search, bad words."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from turnwise.chat.tool_calling import tool_constraint
from turnwise.core.chat_request import ChatRequest, ResponseFormat
from turnwise.core.errors import InvalidParameter
from turnwise.core.inference import Constraint
from turnwise.core.parameters import GenerationParams
from turnwise.text.constraints.bad_words import BadWordsConstraint
from turnwise.text.constraints.stop_strings import StopStringConstraint
from turnwise.text.rendering.renderer import Renderer

MAX_CACHED_BAD_WORDS = 16  # lists of bad words, because a client sends the same list with every request


class ConstraintBuilder:
    """Builds the constraints of requests for one model."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._bad_words_constraint = lru_cache(MAX_CACHED_BAD_WORDS)(self._create_bad_words_constraint)

    def build(
        self, params: GenerationParams, request: ChatRequest, template_stops: tuple[str, ...] = ()
    ) -> tuple[Constraint, ...]:
        """The constraints of a request; `template_stops` are the stop strings of the chat template.

        Raises:
            InvalidParameter: fields contradict each other, or a format cannot be enforced.
        """
        constraints: list[Constraint] = []
        tool_calls = tool_constraint(request, self._renderer, self._renderer.grammar_compiler)
        if tool_calls is not None:
            constraints.append(tool_calls)
        elif request.output.format is not None:
            constraints.append(self._compile_format(request.output.format))
        # A sampled response ends at a stop string in `ChoiceStream`. The beams of a search must end there themselves.
        if params.num_beams > 1 and (params.stop or template_stops):
            if params.stop and request.tools.visible:
                raise InvalidParameter(
                    "stop", "'stop' cannot be combined with both 'num_beams' and 'tools'. Leave one of them out."
                )
            constraints.append(StopStringConstraint((*params.stop, *template_stops), self._renderer.vocabulary))
        if params.bad_words:
            constraints.append(self._bad_words_constraint(params.bad_words))
        return tuple(constraints)

    def _create_bad_words_constraint(self, bad_words: tuple[str, ...]) -> BadWordsConstraint:
        return BadWordsConstraint(bad_words, self._renderer.vocabulary)

    def _compile_format(self, format: ResponseFormat) -> Constraint:
        compiler = self._renderer.grammar_compiler
        if format.kind == "json_object":
            return compiler.compile_json_object()
        compilers: dict[str, Callable[[Any, str], Constraint]] = {
            "json_schema": compiler.compile_json_schema,
            "regex": compiler.compile_regex,
            "choice": compiler.compile_choice,
            "lark": compiler.compile_lark,
        }
        return compilers[format.kind](format.source, format.param)
