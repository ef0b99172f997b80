"""Drops better answers that no model should learn: empty ones, copies, loops, other scripts, prompt injections."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from turnwise.core.collected_answers import CollectedAnswer, Rating
from turnwise.data.fingerprint import normalize_text
from turnwise.improve.screening.answer_groups import last_question
from turnwise.improve.screening.screened import DropReason, FeedbackEntry, Screened, drop_entries, feedback_entries
from turnwise.text.word_tokens import count_ngrams, split_words

MAX_CHARACTERS = 8_000
MAX_REPEATED = 0.5  # share of a text's 3-grams that occur before in it
MIN_LOOP_WORDS = 12
MIN_SCRIPT_SHARE = 0.2  # of the letters, for a script to belong to a text
MIN_LETTERS = 10
MIN_COPIED = 10  # characters; a greeting may be returned

_CHARACTER_LOOP = re.compile(r"([^\s\d.\-_=*#])\1{19}")
_INJECTION = re.compile(
    r"(?:ignore|disregard|forget|override)\b.{0,40}\b(?:previous|prior|above|earlier|all|your|system)\b.{0,40}"
    r"\b(?:instructions?|prompts?|rules?|directions?)\b"
    r"|\byou are now\b.{0,60}\b(?:unrestricted|jailbroken|DAN|without (?:any )?(?:rules|limits|restrictions))\b"
    r"|\b(?:reveal|print|repeat|output)\b.{0,30}\bsystem prompt\b"
    r"|<\|[a-z_]{2,30}\|>|\[/?INST\]|<</?SYS>>|^\s*#{2,}\s*(?:system|instruction)s?\s*:?\s*$"
    r"|(?:忽略|无视|忘记).{0,12}(?:指令|指示|提示|规则)",
    re.IGNORECASE | re.MULTILINE,
)


def drop_degenerate_corrections(answers: Sequence[CollectedAnswer], max_characters: int = MAX_CHARACTERS) -> Screened:
    """Drop better answers that are empty, copies, too long, loops, in another script, or instructions to a model."""
    dropped: dict[FeedbackEntry, DropReason] = {}
    for entry in feedback_entries(answers):
        if isinstance(entry.content, Rating):
            continue
        answer, correction = answers[entry.index], entry.content.answer
        if correction.tool_calls and not correction.content.strip():
            continue  # a call of a tool needs no text
        reason = degenerate_reason(last_question(answer), answer.answer.content, correction.content, max_characters)
        if reason is not None:
            dropped[entry] = reason
    return drop_entries(answers, dropped)


def degenerate_reason(
    question: str, answer: str, correction: str, max_characters: int = MAX_CHARACTERS
) -> DropReason | None:
    """Why a correction is useless or harmful; None if it is neither.

    Args:
        question: the last user message.
        answer: the answer of the model that is corrected.
        correction: the better answer.
        max_characters: largest length of a correction.
    """
    if not correction.strip():
        return "empty"
    if len(correction) > max_characters:
        return "too_long"
    normalized = normalize_text(correction)
    if len(normalized) >= MIN_COPIED and normalized == normalize_text(question):
        return "copy_of_question"
    # A correction of punctuation or case alone is one, so this copy is exact.
    if correction.strip() == answer.strip():
        return "copy_of_answer"
    if is_repetition_loop(correction):
        return "repetition"
    if _INJECTION.search(correction):
        return "prompt_injection"
    if has_foreign_script(correction, f"{question}\n{answer}"):
        return "wrong_script"
    return None


def is_repetition_loop(text: str) -> bool:
    """Whether a character, or a sequence of words, is repeated over and over."""
    if _CHARACTER_LOOP.search(text):
        return True
    words = split_words(text)
    if len(words) < MIN_LOOP_WORDS:
        return False
    counts = count_ngrams(words, 3)
    return 1 - len(counts) / counts.total() > MAX_REPEATED


def has_foreign_script(text: str, context: str) -> bool:
    """Whether most letters of a text are of a script that its context does not have."""
    scripts, expected = _scripts(text), _scripts(context)
    if scripts.total() < MIN_LETTERS or expected.total() < MIN_LETTERS:
        return False
    main, count = scripts.most_common(1)[0]
    return count > scripts.total() / 2 and expected[main] < MIN_SCRIPT_SHARE * expected.total()


def _scripts(text: str) -> Counter[str]:
    """Letters by script, by the first word of their Unicode names. Japanese mixes three scripts, counted as CJK."""
    scripts: Counter[str] = Counter()
    for character, count in Counter(text).items():
        if character.isalpha():
            script = unicodedata.name(character, "UNKNOWN").partition(" ")[0]
            scripts["CJK" if script in ("HIRAGANA", "KATAKANA") else script] += count
    return scripts
