"""How the way of asking changes what the model in the box gets right: python docs/guide/measure_prompting.py

Forty short sentences, half of them glad and half of them sad, are asked for their sentiment: with an instruction, with
four examples, and with four examples and the answer held to the two words.
"""

import asyncio

from turnwise.app.chat_services import open_chat_service
from turnwise.core.chat_request import ChatRequest, OutputOptions, ResponseFormat
from turnwise.core.chat_service import ChatService
from turnwise.core.messages import Message

GLAD = [
    "I love this song", "What a lovely day", "The food was great", "I am so happy", "We won the game",
    "My friend came to visit", "The film was wonderful", "I got the job", "The sun is shining",
    "This cake is delicious", "I feel good today", "Thank you, that was perfect", "The holiday was amazing",
    "She smiled at me", "I passed the exam", "What a nice surprise", "My dog makes me laugh", "The party was fun",
    "I like it very much", "Everything went well",
]  # fmt: skip
SAD = [
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
WORDS = ("positive", "negative")


def prompt(sentence: str, *, examples: bool) -> tuple[Message, ...]:
    """The question, with examples before it or an instruction in it."""
    if not examples:
        return (Message("user", f"Is this positive or negative? Answer with one word: {sentence}"),)
    shown = [m for said, word in EXAMPLES for m in (Message("user", f"Sentiment: {said}"), Message("assistant", word))]
    return (*shown, Message("user", f"Sentiment: {sentence}"))


async def right(service: ChatService, *, examples: bool, held: bool) -> tuple[int, int]:
    """How many answers were one of the two words, and how many the right one."""
    valid = correct = 0
    for sentence, word in [*((s, "positive") for s in GLAD), *((s, "negative") for s in SAD)]:
        format = ResponseFormat("choice", WORDS, "guided_choice") if held else None
        sampling = {"temperature": 0, "max_tokens": 20}
        turn = ChatRequest(prompt(sentence, examples=examples), sampling, output=OutputOptions(format=format))
        said = (await service.reply(turn)).text.strip().lower().rstrip(".")
        valid += said in WORDS
        correct += said == word
    return valid, correct


async def main() -> None:
    """The table."""
    ways = {
        "an instruction": (False, False),
        "four examples": (True, False),
        "four examples, held to the words": (True, True),
    }
    print("| asked with | one of the two words | right, of 40 |\n| --- | --- | --- |")
    with open_chat_service() as service:
        for name, (examples, held) in ways.items():
            valid, correct = await right(service, examples=examples, held=held)
            print(f"| {name} | {valid} | {correct} |")


if __name__ == "__main__":
    asyncio.run(main())
