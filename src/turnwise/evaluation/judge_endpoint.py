"""Client of the judge: a chat-completions endpoint, through the official OpenAI client."""

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from turnwise.core.errors import UserError

API_KEY_VARIABLE = "TURNWISE_JUDGE_KEY"  # its own, so that no key of another endpoint is sent to the judge
MAX_TOKENS = 512  # length limit of a judgement
TIMEOUT_SECONDS = 120.0
MAX_RETRIES = 4

AskJudge = Callable[[str], str | None]
"""Sends a prompt and returns the text of the answer; None if the endpoint rejects the prompt."""


def check_endpoint(url: str) -> None:
    """Check the judge's URL, and that the client is installed.

    Raises:
        UserError: the client is missing, the URL is not an HTTP address, or it contains credentials.
    """
    if importlib.util.find_spec("openai") is None:
        raise UserError("A judge needs the openai client: pip install 'turnwise[judge]'")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError("The judge's URL should begin with http:// or https:// and end before /chat/completions.")
    if parts.username or parts.password or parts.query:
        raise UserError(
            f"The judge's URL should contain no key, because reports show it: set {API_KEY_VARIABLE} instead."
        )


@contextmanager
def open_judge(url: str, model: str) -> Iterator[AskJudge]:
    """Open a client for the judge model at `url`; it retries failed requests.

    Raises:
        UserError: the endpoint fails after all retries.
    """
    import openai

    # The client reads these two from variables that are meant for OpenAI; the judge does not get them.
    headers: dict[str, Any] = {"OpenAI-Organization": openai.Omit(), "OpenAI-Project": openai.Omit()}

    def ask(prompt: str) -> str | None:
        try:
            completion = client.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": prompt}],
                temperature=0,
                max_tokens=MAX_TOKENS,
                extra_headers=headers,
            )
        except openai.BadRequestError:  # for example, the prompt is too long for the judge
            return None
        except openai.OpenAIError as error:
            raise UserError(f"The judge at {url} does not answer: {error}") from error
        return (completion.choices[0].message.content or "") if completion.choices else ""

    api_key = os.environ.get(API_KEY_VARIABLE) or "-"  # the client needs one, even if the endpoint does not
    with openai.OpenAI(base_url=url, api_key=api_key, timeout=TIMEOUT_SECONDS, max_retries=MAX_RETRIES) as client:
        yield ask
