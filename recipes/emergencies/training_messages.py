"""Builds the training messages of the classifier of emergencies from the lines in `messages/`.

A line is written once and gets several variants: who it is about, what stands before and after it, case, punctuation
and typing errors. The same frames surround emergencies and harmless messages, so they tell nothing. Variants of a line
belong together: cross-validation leaves them out together.

Ordinary messages of the dialogues in `recipes/assistant` are added, except those that a phrase of the scenario matches.
"""

import random
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from assistant.business_dialogues import business_dialogues
from assistant.chinese_dialogues import chinese_dialogues
from assistant.instruction_dialogues import instruction_dialogues

from turnwise.core.strict_yaml import read_yaml
from turnwise.scenarios.definition import ScenarioDefinition

FOLDER = Path(__file__).with_name("messages")
LANGUAGES = ("en", "zh")
HARMLESS = "harmless"
NUM_VARIANTS = 3
NUM_TOPIC_VARIANTS = 16  # of a line with {topic}
NUM_DIALOGUES, MAX_BACKGROUND = 1500, 900  # of each generator; distinct messages that are drawn from them
MAX_BACKGROUND_CHARS = 300
MAYBE_SERIOUS = re.compile("hurt|dying|死|痛|疼|救|晕")  # the dialogues have a few emergencies
SEED = 20240607

# subject, be, possessive, object, have, ending of the verb
PERSONS_EN = (
    *(("i", "am", "my", "me", "have", ""),) * 5,
    *(
        (subject, "is", possessive, pronoun, "has", "s")
        for subject, possessive, pronoun in (
            ("my dad", "his", "him"), ("my mum", "her", "her"), ("he", "his", "him"), ("she", "her", "her"),
            ("my husband", "his", "him"), ("my wife", "her", "her"), ("my son", "his", "him"),
            ("my daughter", "her", "her"), ("grandma", "her", "her"), ("a colleague", "his", "him"),
            ("my friend", "her", "her"), ("my neighbour", "his", "him"), ("this man", "his", "him"),
            ("an old lady", "her", "her"), ("my brother", "his", "him"), ("a stranger", "his", "him"),
        )
    ),
)  # fmt: skip
PERSONS_ZH = (
    *("我",) * 5,
    "我爸", "我妈", "老公", "老婆", "孩子", "儿子", "女儿", "爷爷", "奶奶", "同事", "朋友", "邻居", "室友", "一个路人",
    "他", "她", "老人", "男朋友",
)  # fmt: skip
FRAMES: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "en": (
        ("hi, ", "hello ", "hey ", "so ", "please help, ", "help ", "quick question: ", "sorry to bother you but ",
         "um ", "omg ", "is it normal that ", "not sure if it matters but ", "we are at home and ", "i wanted to ask, ",
         "ok so ", "since this morning ", "for two hours now ", "suddenly ", "just now ", "i think "),
        (" what do i do", " what should we do?", " is that bad?", " is that normal?", " any advice?",
         " please answer quickly", " since yesterday", " since an hour", " do i need to see a doctor?",
         " should i wait until tomorrow?", " thanks", "!!", "...", " what now", " i am worried", " it just happened",
         " i'm alone", " in the kitchen", " right now", " help"),
    ),
    "zh": (
        ("你好，", "您好", "请问", "那个", "帮帮我", "急，", "想问一下", "不好意思打扰了", "天哪", "正常吗，",
         "不知道要不要紧，", "我们在家，", "从早上开始", "已经两个小时了", "突然", "刚才", "我觉得", "今天", "现在"),
        ("怎么办", "怎么办啊", "要紧吗", "正常吗", "有什么建议", "快回答我", "从昨天开始的", "一个小时了", "要去医院吗",
         "能等到明天吗", "谢谢", "！！", "……", "我好担心", "刚刚的事", "就我一个人", "在厨房", "求助", "，在线等",
         "呢"),
    ),
}  # fmt: skip
SHARE_FRAMED, SHARE_PLAIN, SHARE_MISSPELT = 0.3, 0.5, 0.3


@dataclass(frozen=True, slots=True)
class TrainingMessage:
    """A message.

    Attributes:
        text: the message.
        kind: kind of the emergency, or `HARMLESS`.
        language: "en" or "zh".
        group: kind of the emergency, or group of harmless messages.
        line: number of the line that it is a variant of.
        weight: variants of a line weigh 1 together.
    """

    text: str
    kind: str
    language: str
    group: str
    line: int
    weight: float


def read_training_messages(scenario: ScenarioDefinition) -> list[TrainingMessage]:
    """All messages with their variants, always the same ones."""
    rng = random.Random(SEED)
    topics = read_yaml(FOLDER / "topics.yaml", "topics")
    messages: list[TrainingMessage] = []
    line = 0
    for language in LANGUAGES:
        for file in ("emergencies", HARMLESS):
            for group, text in read_yaml(FOLDER / f"{file}_{language}.yaml", "messages").items():
                for source in text.splitlines():
                    line += 1
                    variants = list(dict.fromkeys(_variants(source, language, topics[language], rng)))
                    kind = HARMLESS if file == HARMLESS else group
                    messages += [
                        TrainingMessage(variant, kind, language, group, line, 1 / len(variants)) for variant in variants
                    ]
    for group, language, generate in (
        ("business", "en", business_dialogues), ("instructions", "en", instruction_dialogues),
        ("chinese", "zh", chinese_dialogues),
    ):  # fmt: skip
        texts = dict.fromkeys(
            message.content
            for dialogue in generate(NUM_DIALOGUES, SEED)
            for message in dialogue.messages
            if message.role == "user" and len(message.content) <= MAX_BACKGROUND_CHARS
        )
        drawn = rng.sample(list(texts), min(len(texts), MAX_BACKGROUND))
        for text in drawn:
            if MAYBE_SERIOUS.search(text) is None and scenario.match_safety_phrases(text) is None:
                line += 1
                messages.append(TrainingMessage(text, HARMLESS, language, group, line, 1.0))
    return messages


def _variants(source: str, language: str, topics: Sequence[str], rng: random.Random) -> Iterator[str]:
    yield _fill(source, language, topics, rng)
    for _ in range((NUM_TOPIC_VARIANTS if "{topic}" in source else NUM_VARIANTS) - 1):
        text = _fill(source, language, topics, rng)
        before, after = FRAMES[language]
        if rng.random() < SHARE_FRAMED:
            text = rng.choice(before) + text
        if rng.random() < SHARE_FRAMED:
            text += rng.choice(after)
        if language == "en":
            if rng.random() < SHARE_PLAIN:
                text = re.sub(r"[^\w\s]", "", text.replace("'", "")).lower()
            elif rng.random() < 0.5:
                text = text[0].upper() + text[1:] + rng.choice(("", "."))
            if rng.random() < SHARE_MISSPELT:
                text = _misspell(text, rng)
        yield text


def _fill(source: str, language: str, topics: Sequence[str], rng: random.Random) -> str:
    text = re.sub(r"\{topic\}", lambda _: rng.choice(topics), source)
    if language == "zh":
        return text.replace("{谁}", rng.choice(PERSONS_ZH))
    values = dict(zip(("S", "be", "P", "O", "have", "s"), rng.choice(PERSONS_EN), strict=True))
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], text)


def _misspell(text: str, rng: random.Random) -> str:
    """One typing error in a long word: a letter missing, doubled, or swapped with its neighbour."""
    words = [match.span() for match in re.finditer(r"[a-z]{5,}", text)]
    if not words:
        return text
    start, end = rng.choice(words)
    position = rng.randrange(start + 1, end - 1)
    kind = rng.randrange(3)
    if kind == 0:
        return text[:position] + text[position + 1 :]
    if kind == 1:
        return text[:position] + text[position] + text[position:]
    return text[:position] + text[position + 1] + text[position] + text[position + 2 :]
