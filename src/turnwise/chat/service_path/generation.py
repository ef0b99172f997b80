"""Step 9, the last: the model answers with the scenario's instruction and examples."""

from dataclasses import replace

from turnwise.chat.service_path.turn import ServiceAnswer, ServiceTurn, StepResult
from turnwise.core.chat_request import ToolOptions
from turnwise.core.messages import Message

NAME = "generation"


async def decide(turn: ServiceTurn) -> StepResult:
    """Generate the answer as a stream."""
    turn.state.clear_question()
    request = turn.model_request(prompt_messages(turn, turn.messages))
    if tools := turn.definition.settings.tools:
        request = replace(request, tools=ToolOptions(tools))
    return StepResult("generated", ServiceAnswer("generate", deltas=turn.model.stream(request)))


def prompt_messages(turn: ServiceTurn, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The instruction, the examples and the conversation. Instructions of the client follow that of the scenario."""
    own_instructions = [message for message in messages if message.role in ("system", "developer")]
    conversation = [message for message in messages if message.role not in ("system", "developer")]
    prompt = "\n\n".join([turn.definition.system_prompt(turn.language), *(m.content for m in own_instructions)])
    return (Message("system", prompt), *turn.definition.example_messages(turn.language), *conversation)
