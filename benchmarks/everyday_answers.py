"""Prints the answers of several models to twenty everyday questions: everyday_answers.py MODEL [MODEL ...]

The output is Markdown with a section per question (`everyday_questions.yaml`). Answers are greedy and have at most 160
tokens.
"""

import argparse
import asyncio
from pathlib import Path

import yaml

from turnwise.app.chat_services import open_chat_service
from turnwise.core.chat_request import ChatRequest
from turnwise.core.messages import Message

QUESTIONS = Path(__file__).with_suffix("").parent / "everyday_questions.yaml"
SAMPLING = {"temperature": 0, "max_tokens": 160}


def conversation(turns: list[str]) -> tuple[Message, ...]:
    """Messages in which user and assistant alternate, the user first."""
    return tuple(Message("assistant" if number % 2 else "user", turn) for number, turn in enumerate(turns))


def answers(model: str, questions: list[list[str]]) -> list[str]:
    """The answers of a model, one per question."""

    async def reply_to_all() -> list[str]:
        replies = []
        for turns in questions:
            reply = await service.reply(ChatRequest(conversation(turns), SAMPLING))
            replies.append(reply.choices[0].text)
        return replies

    with open_chat_service(model) as service:
        return asyncio.run(reply_to_all())


def main() -> None:
    """Print all answers by question."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="model folders or names")
    args = parser.parse_args()
    questions = yaml.safe_load(QUESTIONS.read_text(encoding="utf-8"))
    by_model = {model: answers(model, questions) for model in args.models}
    for number, turns in enumerate(questions):
        print(f"**{number + 1}. {' / '.join(turns)}**\n")
        for model, replies in by_model.items():
            lines = replies[number].strip().splitlines() or [""]
            print(f"- `{model}`: " + "\n  ".join(lines))
        print()


if __name__ == "__main__":
    main()
