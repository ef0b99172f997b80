"""A prompt file: the versions of one system prompt. A version is a sandboxed template and never changes."""

import hashlib
import json
from collections.abc import Mapping

from pydantic import Field, model_validator

from turnwise.core.errors import InvalidParameter, TemplateError
from turnwise.core.strict_model import StrictModel
from turnwise.text.chat_templates.chat_template import (
    apply_chat_template,
    check_template,
    find_undeclared_variables,
)

HASH_DIGITS = 12
PARAMETER = "prompt_template"


class PromptVersion(StrictModel):
    """One version of a prompt.

    Attributes:
        text: the prompt, a Jinja template of its variables.
        variables: default value of each variable; null: the user of the prompt has to set it.
        note: what the version changes, for lists.
    """

    text: str = Field(min_length=1)
    variables: Mapping[str, str | None] = Field(default_factory=dict)
    note: str = ""

    @model_validator(mode="after")
    def _check_template(self) -> "PromptVersion":
        try:
            check_template(self.text)
        except TemplateError as error:
            raise ValueError(_name_prompt(error, "The text")) from error
        if undeclared := sorted(find_undeclared_variables(self.text) - set(self.variables)):
            raise ValueError(f"uses '{undeclared[0]}', which its 'variables' do not declare")
        return self

    @property
    def content_hash(self) -> str:
        """Digest of the text and the defaults: it changes with everything that changes the rendered prompt."""
        content = json.dumps([self.text, dict(sorted(self.variables.items()))], ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()[:HASH_DIGITS]

    def render(self, values: Mapping[str, str], reference: str) -> str:
        """The prompt with the variables filled in, without white space around it.

        Args:
            values: values of variables.
            reference: name of the prompt in error messages.

        Raises:
            InvalidParameter: a variable is unknown or has no value.
            TemplateError: the template fails.
        """
        if unknown := sorted(set(values) - set(self.variables)):
            names = ", ".join(self.variables) or "none"
            raise InvalidParameter(PARAMETER, f"{reference} has no variable '{unknown[0]}'; its variables: {names}.")
        filled = {**self.variables, **values}
        if missing := [name for name, value in filled.items() if value is None]:
            raise InvalidParameter(
                PARAMETER, f"{reference} needs a value of '{missing[0]}': --prompt-variable {missing[0]}=VALUE."
            )
        try:
            return apply_chat_template(self.text, [], variables=filled, add_generation_prompt=False).strip()
        except TemplateError as error:
            raise TemplateError(_name_prompt(error, reference)) from error


class PromptFile(StrictModel):
    """The content of a prompt file.

    Attributes:
        description: what the prompt is for.
        versions: versions by number.
    """

    description: str = ""
    versions: Mapping[int, PromptVersion] = Field(min_length=1)

    @property
    def latest(self) -> int:
        """The highest version number."""
        return max(self.versions)


def _name_prompt(error: TemplateError, reference: str) -> str:
    return str(error).replace("The chat template", reference)
