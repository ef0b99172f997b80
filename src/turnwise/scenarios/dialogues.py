"""`examples.yaml` and `tests/*.yaml`: dialogues that show and that check how a scenario answers.

::

    # examples.yaml: user and assistant alternate, the assistant comes last
    en:
      - [Is my order on its way?, "May I have your order number?"]

    # tests/orders.yaml
    - id: order_status_en                     # unique in the scenario
      language: en
      messages: [where is LW-123456]          # user, assistant, user, ...; the last message is the user's
      decision: "template:order_status"       # or a list of accepted ones
      must_include: [[LW-123456]]             # at least one alternative of every group
      must_not_include: [tomorrow]
      passing_answer: Order LW-123456 is on its way.      # optional; it has to pass

`must_include` and `must_not_include` are matched as in the golden set (`evaluation.golden_case`).
"""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import Message, Role
from turnwise.core.strict_model import StrictModel
from turnwise.scenarios.field_types import MAX_ENTRIES, Language, Line, Lines, Text

DECISION = re.compile(r"(template|safety|refusal):[a-z][a-z0-9_]{0,63}|knowledge|clarify|hand_off|generate|refusal")
"""A decision: template:INTENT, safety:NAME, refusal:TOPIC or refusal, knowledge, clarify, hand_off, generate."""

_ROLES: tuple[Role, Role] = ("user", "assistant")
Turns = Annotated[tuple[Text, ...], Field(min_length=1, max_length=50)]


def _check_decision(decision: str) -> str:
    if DECISION.fullmatch(decision) is None:
        raise InvalidParameter(
            "decision",
            f"'{decision}' is no decision: write template:INTENT, safety:NAME, refusal, refusal:TOPIC, knowledge, "
            "clarify, hand_off or generate.",
        )
    return decision


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def as_messages(turns: tuple[str, ...]) -> tuple[Message, ...]:
    """Texts as messages of the user and the assistant in turn."""
    return tuple(Message(_ROLES[index % 2], text) for index, text in enumerate(turns))


def _check_example(turns: tuple[str, ...]) -> tuple[str, ...]:
    if len(turns) % 2:
        raise InvalidParameter("examples", "an example alternates between user and assistant and ends with the latter.")
    return turns


ExampleDialogue = Annotated[Turns, AfterValidator(_check_example)]
ExampleDialogues = Annotated[tuple[ExampleDialogue, ...], Field(max_length=MAX_ENTRIES)]


class TestConversation(StrictModel):
    """A conversation and the answer that is expected.

    Attributes:
        id: unique in the scenario.
        language: language of the answer.
        messages: texts of user and assistant in turn; the last one is the user's.
        decisions: accepted decisions, see `DECISION`.
        must_include: groups of alternatives; the answer has at least one of every group.
        must_not_include: alternatives that the answer does not have.
        passing_answer: an answer that passes; "" if there is none.
    """

    __test__ = False  # not a class of pytest's

    id: Line
    language: Language
    messages: Turns
    decisions: Annotated[
        tuple[Annotated[str, AfterValidator(_check_decision)], ...], BeforeValidator(_as_list), Field(min_length=1)
    ] = Field(alias="decision")
    must_include: Annotated[tuple[Annotated[Lines, BeforeValidator(_as_list)], ...], Field(max_length=50)] = ()
    must_not_include: Annotated[tuple[Line, ...], Field(max_length=100)] = ()
    passing_answer: Text | None = None

    @model_validator(mode="after")
    def _check_messages(self) -> "TestConversation":
        if len(self.messages) % 2 == 0:
            raise InvalidParameter("messages", "the messages alternate between user and assistant and end with a user.")
        return self

    def accepts(self, decision: str) -> bool:
        """True if a decision is one of the expected ones. `refusal` accepts every topic."""
        return decision in self.decisions or decision.partition(":")[0] in self.decisions

    @property
    def history(self) -> tuple[Message, ...]:
        """The conversation as messages."""
        return as_messages(self.messages)
