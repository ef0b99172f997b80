"""Titles of conversations by the model: one short completion after the first answer, in the background."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace

from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import ChatDelta
from turnwise.core.errors import TurnwiseError, UserError
from turnwise.core.executors import STORE_READ_EXECUTOR, STORE_WRITE_EXECUTOR
from turnwise.core.messages import Message
from turnwise.server.error_responses import log_exception
from turnwise.server.middleware.concurrency_limit import ConcurrencyLimiter
from turnwise.server.request_context import RequestContext, bind_request, current_request
from turnwise.server.served_models import ServedModels

TITLE_TIMEOUT_SECONDS = 30.0
WAIT_SECONDS = 0.2  # after an answer, so that its own slot is free again
MAX_TITLE_TOKENS = 24
MAX_TITLE_CHARS, MAX_TITLE_WORDS = 60, 8
MAX_EXCHANGE_CHARS = 1000  # of each message that the model sees
_INSTRUCTION = "Write a title of two to six words for this conversation, in its language. Reply with the title only."
_QUOTES = "\"'“”‘’„«»*#_` "
_WORD = re.compile(r"\w+")
_CJK = re.compile("[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]")
_MIN_WORD_CHARS = 4  # shorter words are in most texts


@dataclass(eq=False)
class TitleWriter:
    """Replaces the first words that a conversation has as its title by a title of the model.

    Attributes:
        limiter: the title takes a slot of the server, and none of the API key; without a spare one, the first words
            stay.
        is_enabled: False: never write titles.
    """

    limiter: ConcurrencyLimiter
    is_enabled: bool = True
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    async def follow(
        self, deltas: AsyncGenerator[ChatDelta, None], models: ServedModels, model: str, request: ChatRequest
    ) -> AsyncGenerator[ChatDelta, None]:
        """Pass an answer on, and write the title when it is complete.

        Args:
            deltas: the answer.
            models: the served models.
            model: name of the model, as the request has it.
            request: the request.
        """
        texts: list[str] = []
        async with aclosing(deltas):
            async for delta in deltas:
                if delta.index == 0:
                    texts.append(delta.text)
                if delta.usage is not None:
                    self.start(models, model, request, "".join(texts))
                yield delta

    def start(self, models: ServedModels, model: str, request: ChatRequest, answer: str) -> None:
        """Write the title in a task of its own, if the answer is the first one of a conversation."""
        questions = [message.content for message in request.messages if message.role == "user"]
        is_first = len(questions) == 1 and not request.context.continue_final_message
        if not self.is_enabled or request.conversation_id is None or not is_first or not answer.strip():
            return
        task = asyncio.create_task(self._write(models, model, request.conversation_id, questions[0], answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, models: ServedModels, model: str, id: str, question: str, answer: str) -> None:
        caller = current_request()
        context = RequestContext(key=caller.key, principal=caller.principal, record_usage=caller.record_usage)
        bind_request(context)
        if caller.version is not None:
            model = caller.version.reference
        try:
            store = models.store
            stored = await STORE_READ_EXECUTOR.run(store.get, id)
            if stored.title_source != "first_words":
                return
            await asyncio.sleep(WAIT_SECONDS)
            if not self.limiter.has_spare_slot:
                return
            with context.leases:
                title = await self._generate(models, model, question, answer, context)
            if title is not None:
                await STORE_WRITE_EXECUTOR.run(store.set_generated_title, id, title)
        except (TurnwiseError, TimeoutError):
            pass  # the first words stay
        except Exception as error:
            log_exception(error)

    async def _generate(
        self, models: ServedModels, model: str, question: str, answer: str, context: RequestContext
    ) -> str | None:
        sampling = {"max_tokens": MAX_TITLE_TOKENS, "temperature": 0.0}
        messages = title_messages(question, answer)
        request = ChatRequest(messages=messages, sampling=sampling, consent="off", is_internal=True)
        service = await models.select(model, request)
        with suppress(UserError):  # a prompt of tokens is never answered by a scenario
            ids = await asyncio.to_thread(
                service.tokens.encode_messages, request.messages, True, service.context_length
            )
            request = replace(request, messages=(), prompt=tuple(ids))
        limit = context.limit = asyncio.timeout(TITLE_TIMEOUT_SECONDS)
        async with limit:
            self.limiter.acquire(limit, None)
            try:
                response = await service.reply(request)
            finally:
                self.limiter.release(limit)
        return clean_title(response.choices[0].text, question, answer)


def title_messages(question: str, answer: str) -> tuple[Message, ...]:
    """The messages that ask the model for a title."""
    exchange = f"User: {question[:MAX_EXCHANGE_CHARS]}\n\nAssistant: {answer[:MAX_EXCHANGE_CHARS]}"
    return (Message("user", f"{exchange}\n\n{_INSTRUCTION}"),)


def clean_title(text: str, question: str, answer: str) -> str | None:
    """The title in a reply of the model; None if it is not a reasonable one.

    A title is one short line that is no question, does not begin the answer again, and shares a word of some length
    with the conversation.
    """
    line = next((line for line in text.strip().splitlines() if line.strip()), "")
    line = re.sub(r"^(title|标题)\s*[:：]\s*", "", line.strip(_QUOTES), flags=re.IGNORECASE)
    title = " ".join(line.strip(_QUOTES).rstrip(".。").split()).strip(_QUOTES)
    is_short = 2 <= len(title) <= MAX_TITLE_CHARS and len(title.split()) <= MAX_TITLE_WORDS
    if not is_short or not title.isprintable() or title.endswith(("?", "？", ":", "：", ",")):
        return None
    if answer.casefold().lstrip(_QUOTES).startswith(title.casefold()):
        return None
    exchange = f"{question}\n{answer}"
    folded = exchange.casefold()
    words = [word.casefold() for word in _WORD.findall(title)]
    has_word = any(len(word) >= _MIN_WORD_CHARS and word in folded for word in words)
    has_letter = any(letter in exchange for letter in _CJK.findall(title))
    return title if has_word or has_letter else None
