"""Measures how the prompt affects the answers of the bundled model: python docs/guide/measure_prompting.py

The model classifies the sentiment of forty short sentences, half of them positive: with an instruction, with four
examples, and with four examples and `guided_choice`.
"""

import asyncio

from turnwise.app.chat_services import open_chat_service
from turnwise.core.chat_request import ChatRequest, OutputOptions, ResponseFormat
from turnwise.core.chat_service import ChatService
from turnwise.core.messages import Message

POSITIVE = [
    "I love this song", "What a lovely day", "The food was great", "I am so happy", "We won the game",
    "My friend came to visit", "The film was wonderful", "I got the job", "The sun is shining",
    "This cake is delicious", "I feel good today", "Thank you, that was perfect", "The holiday was amazing",
    "She smiled at me", "I passed the exam", "What a nice surprise", "My dog makes me laugh", "The party was fun",
    "I like it very much", "Everything went well",
]  # fmt: skip
NEGATIVE = [
    "I hate this song", "What an awful day", "The food was terrible", "I am so sad", "We lost the game",
    "My friend is angry with me", "The film was boring", "I lost my job", "It rains all the time",
    "This cake is disgusting", "I feel sick today", "That was a mistake", "The holiday was a disaster",
    "She shouted at me", "I failed the exam", "What a bad surprise", "My dog died", "The party was dull",
    "I do not like it", "Everything went wrong",
]  # fmt: skip
EXAMPLES = [
    ("I enjoyed it", "positive"),
    ("It broke at once", "negative"),
    ("It hurts", "negative"),
    ("Well done!", "positive"),
]
LABELS = ("positive", "negative")


def build_prompt(sentence: str, *, with_examples: bool) -> tuple[Message, ...]:
    """Return the question with an instruction, or with examples before it."""
    if not with_examples:
        return (Message("user", f"Is this positive or negative? Answer with one word: {sentence}"),)
    examples = [
        message
        for example, label in EXAMPLES
        for message in (Message("user", f"Sentiment: {example}"), Message("assistant", label))
    ]
    return (*examples, Message("user", f"Sentiment: {sentence}"))


async def count_answers(service: ChatService, *, with_examples: bool, is_guided: bool) -> tuple[int, int]:
    """Return the number of answers that are one of the labels, and the number of correct answers."""
    valid = correct = 0
    for sentence, label in [*((s, "positive") for s in POSITIVE), *((s, "negative") for s in NEGATIVE)]:
        format = ResponseFormat("choice", LABELS, "guided_choice") if is_guided else None
        sampling = {"temperature": 0, "max_tokens": 20}
        messages = build_prompt(sentence, with_examples=with_examples)
        reply = await service.reply(ChatRequest(messages, sampling, output=OutputOptions(format=format)))
        answer = reply.text.strip().lower().rstrip(".")
        valid += answer in LABELS
        correct += answer == label
    return valid, correct


async def main() -> None:
    """Print the table."""
    prompts = {
        "instruction": (False, False),
        "four examples": (True, False),
        "four examples and `guided_choice`": (True, True),
    }
    print("| prompt | answers with one of the two words | correct answers, of 40 |\n| --- | --- | --- |")
    with open_chat_service("tiny") as service:
        for name, (with_examples, is_guided) in prompts.items():
            valid, correct = await count_answers(service, with_examples=with_examples, is_guided=is_guided)
            print(f"| {name} | {valid} | {correct} |")


if __name__ == "__main__":
    asyncio.run(main())
