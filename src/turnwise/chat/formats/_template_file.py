"""A person's own format: a Jinja file that is used as the chat template, in the sandbox of chat templates."""

from pathlib import Path

from turnwise.chat.interaction_format import InteractionFormat
from turnwise.core.errors import InvalidParameter, TemplateError
from turnwise.core.json_file import read_bytes
from turnwise.core.messages import Message
from turnwise.text.chat_templates.chat_template import MAX_TEMPLATE_CHARACTERS, apply_chat_template, check_template
from turnwise.text.chat_templates.turn_format import read_turn_format
from turnwise.text.tokenization.tokenizer import Tokenizer

MAX_TEMPLATE_BYTES = 4 * MAX_TEMPLATE_CHARACTERS  # of UTF-8
PROBE = "turnwise-probe"


class TemplateFileFormat(InteractionFormat):
    """A format whose chat template is a file.

    Attributes:
        source: the template.
        origin: the file, for error messages.
    """

    source: str
    origin: str = "The format"

    @classmethod
    def from_file(cls, path: Path) -> "TemplateFileFormat":
        """Read and check a file.

        Raises:
            InvalidParameter: the file is not UTF-8 text.
            TemplateError: it does not compile, or its turn format is invalid.
        """
        try:
            source = read_bytes(path, max_bytes=MAX_TEMPLATE_BYTES).decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidParameter("format", f"{path} is not UTF-8 text.") from error
        try:
            check_template(source)
            read_turn_format(source)
        except TemplateError as error:
            raise TemplateError(f"{path}: {error}") from error
        return cls(source=source, origin=str(path))

    def chat_template(self, tokenizer: Tokenizer) -> str:
        """The file, after it has rendered a question with the special tokens of the model.

        Raises:
            TemplateError: it fails, or leaves out the question.
        """
        question = Message("user", PROBE).as_dict()
        try:
            text = apply_chat_template(
                self.source, [question], variables=tokenizer.special_tokens_map, add_generation_prompt=True
            )
        except TemplateError as error:
            raise TemplateError(f"{self.origin}: {error}") from error
        if PROBE not in text:
            raise TemplateError(f"{self.origin} does not render the content of a user message.")
        return self.source
