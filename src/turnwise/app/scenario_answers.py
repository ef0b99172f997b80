"""Answers the test conversations of a scenario with a model."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from turnwise.app.systems_under_test import open_model_under_test
from turnwise.core.inference import Quantization
from turnwise.core.response_cache import ResponseCache
from turnwise.evaluation.samples import GenerationQuery
from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.dialogues import TestConversation

OnAnswersDone = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class ScenarioAnswer:
    """An answer.

    Attributes:
        text: its text.
        decision: how it was found, as in `TestConversation.decisions`; None if that is not recorded.
    """

    text: str
    decision: str | None = None


AnswerConversations = Callable[[Sequence[tuple[TestConversation, int]], OnAnswersDone], list[ScenarioAnswer]]
"""Answers conversations, each with a random seed, in order."""

METHOD_NOTE = (
    "The model answers with the scenario's instruction and examples alone: no intents, templates, documents or safety "
    "lines are used yet, so decisions are not checked."
)


@contextmanager
def open_scenario_answers(
    scenario: ScenarioDefinition,
    model: str | None,
    cache: ResponseCache,
    *,
    quantize: Quantization | None = None,
    threads: int | None = None,
) -> Iterator[AnswerConversations]:
    """Open a model, and yield a function that answers test conversations of a scenario.

    The model is `model`, else the scenario's adapter, else the default model. The answers come from the model alone
    (see `METHOD_NOTE`).

    Raises:
        UserError: as `open_chat_service`.
    """
    scenarios = {language: scenario.as_scenario(language) for language in scenario.settings.languages}
    with open_model_under_test(
        model or scenario.settings.adapter, cache, sampling=scenario.settings.sampling, quantize=quantize,
        threads=threads,
    ) as system:  # fmt: skip

        def answer(
            conversations: Sequence[tuple[TestConversation, int]], on_done: OnAnswersDone
        ) -> list[ScenarioAnswer]:
            queries = [
                (GenerationQuery(scenarios[test.language].prepend_to(test.history)), seed)
                for test, seed in conversations
            ]
            return [ScenarioAnswer(output.text) for output in system.generate(queries, on_done)]

        yield answer
