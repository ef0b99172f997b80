"""A chat-completions endpoint that somebody else may run, asked through the official client."""

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from turnwise.core.errors import UserError

KEY = "TURNWISE_JUDGE_KEY"  # of the environment: no key that was meant for another endpoint is sent there
MOST_TOKENS = 512  # of an answer
SECONDS, RETRIES = 120.0, 4

AskJudge = Callable[[str], str | None]
"""What it answers to a prompt; None where it refuses this one."""


def check_endpoint(url: str) -> None:
    """Raises `UserError` where the client is not installed, and for what is no address or should stand in no report."""
    if importlib.util.find_spec("openai") is None:
        raise UserError("A judge needs the openai client: pip install 'turnwise[judge]'")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError("A judge's address begins with http:// or https:// and ends before /chat/completions.")
    if parts.username or parts.password or parts.query:
        raise UserError(f"A judge's address holds no key, since reports show it: put the key into {KEY}.")


@contextmanager
def open_judge(url: str, model: str) -> Iterator[AskJudge]:
    """Ask an endpoint through the official client, which tries again where that may help.

    Raises:
        UserError: the endpoint fails.
    """
    import openai

    def ask(prompt: str) -> str | None:
        try:
            answer = client.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": prompt}],
                temperature=0,
                max_tokens=MOST_TOKENS,
                extra_headers=nameless,
            )
        except openai.BadRequestError:  # too long for it, say
            return None
        except openai.OpenAIError as error:
            raise UserError(f"The judge at {url} cannot be asked: {error}") from error
        return (answer.choices[0].message.content or "") if answer.choices else ""

    # The client takes these from the environment, where they are meant for its own maker.
    nameless: dict[str, Any] = {"OpenAI-Organization": openai.Omit(), "OpenAI-Project": openai.Omit()}
    with openai.OpenAI(
        base_url=url, api_key=os.environ.get(KEY) or "-", timeout=SECONDS, max_retries=RETRIES
    ) as client:  # fmt: skip
        yield ask
