"""The turn format of a chat template: a constant that says where a reply ends and how it is trimmed.

A template for models without special turn tokens sets it at its top::

    {%- set turn_format = {"name": "human_assistant", "stop": ["\nHuman:"], "trim": true} -%}

It is an ordinary Jinja variable, so other programs render the template as before. A folder that is trained with the
template is served with its stop strings, because they are a part of the template.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

import jinja2
from jinja2 import nodes
from pydantic import Field

from turnwise.core.errors import InvalidParameter, TemplateError
from turnwise.core.strict_model import StrictModel, parse_strict_model
from turnwise.text.chat_templates.chat_template import parse_template

VARIABLE = "turn_format"
MAX_STOP_STRINGS = 64  # of a template; each is searched in every response


class TurnFormat(StrictModel):
    """How the turns of a template end.

    Attributes:
        name: name of the interaction format that made the template; empty for a template of its own.
        stop: texts that end a reply. In training, the one that follows a reply in the rendering is trained with it.
        stop_at_speakers: the start of a line with the name of a speaker of the conversation ends a reply too. The
            template gets the name of the speaker to write for in its variable `speaker`.
        trim: remove white space around a reply.
        user: name of users without a name, if replies stop at speakers.
        speaker: name of assistants without a name, if replies stop at speakers.
        options: options of the interaction format.
    """

    name: str = ""
    stop: tuple[str, ...] = Field((), max_length=MAX_STOP_STRINGS)
    stop_at_speakers: bool = False
    trim: bool = False
    user: str = "User"
    speaker: str = "Assistant"
    options: Mapping[str, Any] = Field(default_factory=dict)

    @property
    def statement(self) -> str:
        """The Jinja statement that sets the variable, for the top of a template. JSON is also valid Jinja."""
        values = self.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
        return f"{{%- set {VARIABLE} = {json.dumps(values, ensure_ascii=False)} -%}}"


@lru_cache(maxsize=32)
def read_turn_format(source: str) -> TurnFormat:
    """The first turn format that a template sets at its top level; the default if it sets none.

    Raises:
        TemplateError: the value is not a constant, or not a turn format.
    """
    try:
        tree = parse_template(source)
    except (jinja2.TemplateSyntaxError, RecursionError):  # `apply_chat_template` reports it
        return TurnFormat()
    for node in tree.body:
        if isinstance(node, nodes.Assign) and isinstance(node.target, nodes.Name) and node.target.name == VARIABLE:
            try:
                value = cast(nodes.Expr, node.node).as_const()
                return parse_strict_model(TurnFormat, value, origin="The chat template", at=VARIABLE)
            except nodes.Impossible:
                raise TemplateError(f"The chat template computes '{VARIABLE}'; it has to be a constant.") from None
            except InvalidParameter as error:
                raise TemplateError(str(error)) from error
    return TurnFormat()
