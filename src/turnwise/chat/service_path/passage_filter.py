"""Leaves out of passages what is written for a model and not for readers: instructions, chat markup, placeholders.

The prompt says that passages are data, but a small model follows instructions in them nevertheless, and the check of
support accepts what a passage says. So a sentence with such an instruction is neither shown to the model nor quoted. It
is a filter by patterns: it recognises the usual wordings in English and Chinese, and no others.
"""

import re
from dataclasses import replace

from turnwise.core.retrieval import Passage

_SEPARATOR = re.compile(r"((?<=[.!?…])\s+|(?<=[。！？])|\n+)")
_RULES = r"(?:instruction|prompt|rule|polic(?:y|ie)|guideline|question|document|above|previous|system|told)"
_PATTERNS = (
    # Turns.
    r"^\s*(?:#+\s*)?(?:system|assistant|user|human|ai)\s*[:：]",
    # Placeholders of templates.
    r"\{\{|\}\}|\{%|%\}|\$\{|\{\d*\.?__\w+__",
    # Orders to forget the rules, or to tell them.
    rf"\b(?:ignore|disregard|forget|override|bypass)\b.{{0,60}}\b{_RULES}",
    rf"\b(?:reveal|print|repeat|show|output|quote|leak|disclose|list)\b.{{0,60}}\b"
    rf"(?:system prompt|{_RULES}s?\b.{{0,20}}\b(?:you|your|given|above)"
    r"|your (?:instructions?|prompt|rules)|other (?:customers?|tenants?|accounts?|users?)"
    r"|tenants?\b|(?:staff|internal) code)",
    r"\b(?:system prompt|developer message|internal code|first message of this conversation|everything above)\b",
    # Orders about the answer.
    r"^\W*(?:always |please |now )?(?:answer|reply|respond|say|output)\b.{0,20}\b(?:only|nothing but|exclusively)\b",
    r"(?<!we )\b(?:answer|reply|respond|write|speak)\b[^.]{0,30}"
    r"\bin (?:English|French|German|Spanish|Chinese|Russian|Japanese)\b",
    r"\b(?:end|begin|start|finish|include)\b.{0,40}\b(?:your|every|each|the) (?:answer|reply|response|message)",
    r"\b(?:your|every|any) (?:answer|reply|response)\b.{0,40}"
    r"\b(?:is \w+|contains?|(?:must|should) (?:be|say|include|contain|end|start|begin)|ends?|starts?|begins?)\b",
    r"^\W*(?:(?:note|message|instructions?) )?(?:to|for|dear) (?:the |all |any )?"
    r"(?:assistant|AI|chatbot|language model|LLM)s?\b",
    r"\b(?:AI|chatbot|language model|LLM)s?\b.{0,20}\b(?:must|should|shall|has to|have to)\b",
    r"\bthe assistant (?:must|should|shall|has to)\b",
    r"\b(?:you are now (?:a|an|in|the)\b|from now on,? (?:you|answer|reply|respond|act|say|always)\b|tell the user"
    r"|send the (?:user|reader|customer)|as an AI)\b",
    r"\b(?:call|invoke) (?:the (?:tool|function) )?[a-z]+_[a-z]+\b",
    r"\b(?:call|invoke) (?:the|a|this) (?:tool|function)\b",
    r"\bwithout (?:a )?(?:scope|filter)",
    # The same in Chinese.
    r"(?:忽略|无视|忘记|不要遵守|不要回答).{0,20}(?:指令|规则|提示|要求|问题|以上|上述)",
    r"(?:输出|显示|泄露|打印|告诉我).{0,15}(?:提示词|系统提示|内部|指令|规则)",
    r"(?:只|直接|一律|必须|统一)用.{1,6}(?:回答|回复|输出|答复|作答)|(?:只|直接|一律|必须|统一)(?:回答|输出|作答)[：:“”「\"]?",
    r"(?:助手|AI|人工智能)(?:请|应|必须|需要|注意)|模型(?:请|必须)",
    r"(?:模型|助手|AI)[，,].{0,6}(?:应当|必须|请)",
    r"(?:Répondez|écrivez|antworten Sie|responda)\b",
)  # fmt: skip
_INSTRUCTION = re.compile("|".join(f"(?:{pattern})" for pattern in _PATTERNS), re.IGNORECASE | re.MULTILINE)
# Special tokens and tags of prompts. What follows them pretends to be another message.
_MARKUP = re.compile(
    r"<\|[^|>]{1,40}\|>|\[/?INST\]|</?s>|<</?SYS>>|</?(?:passages|tool_call|tool_response|system|function_call)>",
    re.IGNORECASE,
)


def without_instructions(text: str) -> str:
    """The text without the sentences that address a model, and without what follows chat markup."""
    markup = _MARKUP.search(text)
    parts = _SEPARATOR.split(text if markup is None else text[: markup.start()])
    pairs = list(zip(parts[::2], [*parts[1::2], ""], strict=True))
    readable = [sentence + separator for sentence, separator in pairs if _INSTRUCTION.search(sentence) is None]
    return text if markup is None and len(readable) == len(pairs) else "".join(readable).strip()


def readable_passage(passage: Passage) -> Passage | None:
    """The passage as the model sees it; None if nothing of it remains."""
    text = without_instructions(passage.text)
    return replace(passage, text=text, source=without_instructions(passage.source)) if text else None
