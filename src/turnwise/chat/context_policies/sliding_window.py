"""Keeps the first and the latest tokens of the prompt, regardless of message boundaries.

Attention concentrates on the first tokens (*attention sinks*), and a model that loses them generates nonsense (Xiao et
al. 2024). The window therefore keeps at least the first `SINKS` tokens and all leading system messages. The remaining
tokens are processed again at their new positions, so no rotated keys are reused. Tokens are dropped in steps, as in
`drop_oldest`.

Pinned messages are not protected; use `drop_oldest` for that. A single long message can be cut.
"""

import math

from turnwise.chat.context_policies import ContextBudget, Truncated
from turnwise.chat.context_policies.drop_oldest import STEP
from turnwise.core.chat_response import ContextReport
from turnwise.core.messages import Message

NAME = "sliding_window"
SINKS = 4  # tokens; the paper finds no benefit of more
MIN_LATEST = 16  # minimum number of latest tokens


async def truncate(messages: tuple[Message, ...], budget: ContextBudget) -> Truncated | None:
    """The same messages, with a window that leaves out tokens in the middle."""
    prompt_tokens, step = await budget.prompt_tokens(messages), max(1, budget.context_length // STEP)
    sinks = max(SINKS, await budget.system_tokens(messages))
    dropped = math.ceil((prompt_tokens - budget.max_prompt_tokens) / step) * step
    if prompt_tokens - dropped < sinks + MIN_LATEST:  # whole steps leave too little: drop only what is necessary
        dropped = prompt_tokens - budget.max_prompt_tokens
    latest = prompt_tokens - dropped - sinks
    if dropped <= 0 or latest < MIN_LATEST:
        return None
    return Truncated(messages, ContextReport(NAME, 0, dropped_tokens=dropped), window=(sinks, latest))
