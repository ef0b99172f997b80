"""Answers the test conversations of a scenario by the service path, with the decision of every answer."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from turnwise.app.chat_services import open_chat_service
from turnwise.app.scenario_answers import AnswerConversations, OnAnswersDone, ScenarioAnswer
from turnwise.app.scenario_services import add_service_path, open_resources
from turnwise.core.chat_request import ChatRequest, ServiceOptions
from turnwise.core.chat_service import ChatService
from turnwise.core.embedding_service import EmbeddingService
from turnwise.core.executors import STORE_WRITE_EXECUTOR
from turnwise.core.inference import Quantization
from turnwise.core.service_report import ServiceReport
from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.dialogues import TestConversation
from turnwise.scenarios.scenario_library import ScenarioLibrary
from turnwise.store import open_store

MAX_CONCURRENT = 8
_IDLE_OUTCOMES = ("none", "not_needed", "model_speaks")


@contextmanager
def open_service_path_answers(
    scenario: ScenarioDefinition,
    model: str | None,
    *,
    embeddings: EmbeddingService | None = None,
    quantize: Quantization | None = None,
    threads: int | None = None,
) -> Iterator[AnswerConversations]:
    """Open a model, and yield a function that answers test conversations as the server does.

    Raises:
        UserError: as `open_chat_service`.
    """
    store = open_store("sqlite:///:memory:")
    try:
        name = model or scenario.settings.adapter
        with open_chat_service(name, quantize=quantize, threads=threads, store=store) as service:
            yield answer_by_service_path(scenario, service, embeddings)
    finally:
        store.close()


def answer_by_service_path(
    scenario: ScenarioDefinition, model: ChatService, embeddings: EmbeddingService | None = None
) -> AnswerConversations:
    """A function that answers test conversations with a model.

    Each answer has a conversation of its own in the model's store, so that a person can be called. Without a store the
    customer is told that nobody can take over.
    """
    models = {model.name: model} | ({scenario.settings.adapter: model} if scenario.settings.adapter else {})
    library = ScenarioLibrary([], [scenario.folder])
    service = add_service_path(models, library, resources=open_resources(embeddings, waits=True))[model.name]

    def answer(conversations: Sequence[tuple[TestConversation, int]], on_done: OnAnswersDone) -> list[ScenarioAnswer]:
        async def answer_all() -> list[ScenarioAnswer]:
            semaphore = asyncio.Semaphore(MAX_CONCURRENT)

            async def answer_one(test: TestConversation, seed: int) -> ScenarioAnswer:
                request = ChatRequest(test.history, {"seed": seed}, service=ServiceOptions(scenario.name))
                async with semaphore:
                    if model.store is not None:
                        create = partial(model.store.create, title=test.id, model=model.name)
                        conversation = await STORE_WRITE_EXECUTOR.run(create)
                        request = replace(request, conversation_id=conversation.id)
                    response = await service.reply(request)
                on_done(1)
                assert response.service is not None
                report = response.service
                return ScenarioAnswer(response.text, report.decision, _steps(report))

            return list(await asyncio.gather(*(answer_one(test, seed) for test, seed in conversations)))

        return asyncio.run(answer_all())

    return answer


def _steps(report: ServiceReport) -> tuple[str, ...]:
    return tuple(f"{step.step}: {step.outcome}" for step in report.decisions if step.outcome not in _IDLE_OUTCOMES)
