"""Builds the engine requests of an evaluation as the chat service builds those of its clients."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from turnwise.chat.context_policies import DEFAULT_CONTEXT_POLICY
from turnwise.chat.service import EngineChatService
from turnwise.core.chat_request import ChatRequest, ToolOptions
from turnwise.core.inference import GenerationRequest
from turnwise.core.messages import Message
from turnwise.core.tools import Tool


@dataclass(frozen=True, slots=True)
class RequestMaker:
    """Builds requests with the interaction format and the context policy of a service (a `MakeRequest`)."""

    service: EngineChatService

    def __call__(
        self, history: tuple[Message, ...], sampling: dict[str, Any], tools: tuple[Tool, ...]
    ) -> GenerationRequest | str:
        """The request for a reply, or a reply that needs no model. Raises `UserError` as the service does."""
        request = ChatRequest(history, sampling=sampling, tools=ToolOptions(tools))
        if self.service.interaction_format.PREPARES:
            prepared = asyncio.run(self.service.prepare(request))
            if prepared.reply is not None:
                return prepared.reply
            request = replace(request, messages=prepared.messages)
        if self.service.context_policy == DEFAULT_CONTEXT_POLICY:
            return self.service.build_request(request)
        return asyncio.run(self.service.fit(request))
