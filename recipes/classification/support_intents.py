"""Prepares messages to customer service with their intents: support_intents.py DATA OUT [--leave-out INTENT ...]

DATA/bitext_customer and DATA/bitext_intents are sets of Bitext (27 intents), DATA/clinc150 has texts of no intent;
support_training_messages.csv beside this script has messages of both kinds as people write them. OUT receives

- train.jsonl: texts of Bitext, each with a variant; four fifths of the messages, each with all variants; texts of no
  intent, with the label "none";
- valid.jsonl: the other messages, for early stopping and calibration;
- test.jsonl: texts of Bitext whose wordings are not in train.jsonl, and test_VARIANT.jsonl: the same texts misspelt,
  polite, short or careless;
- out_of_scope.txt: other texts of no intent;
- left_out.txt: texts of the intents that are left out, for measuring what happens with intents that are not trained.

Everything is seeded: the same DATA gives the same files.

The sets are made from templates: "can you help me cancel order 732" and "I need assistance cancelling order 11". Texts
of an intent have the same wording if the same stems remain without numbers, rare spellings and the words around a
request; a wording is in one split only. A random split would share nearly every wording.
"""

import argparse
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from message_variants import FRAME_WORDS, VARIANTS, WORD, make_polite
from none_texts import read_none_texts, read_out_of_scope

from turnwise.core.files import atomic_write
from turnwise.data.annotations.annotated import LabeledText
from turnwise.data.annotations.source import AnnotationSource
from turnwise.data.sources import read_source

LabelledMessage = tuple[str, str]  # text and intent
Wording = frozenset[str]

HELD_OUT_SHARE = 0.15  # of the texts of an intent, for the validation split and for the test split
WRITTEN_SPLIT = 5  # one written message in five is for validation
NONE_LABEL = "none"
MIN_WORD_COUNT = 3  # a rarer word counts as a misspelling of a more frequent one that is similar
SIMILARITY = 0.75
SUFFIXES = ("ations", "ation", "ings", "ing", "ments", "ment", "ies", "es", "ed", "s", "e", "y")
MIN_STEM_LENGTH = 4


def main(options: argparse.Namespace) -> None:
    """Write the files."""
    messages = read_messages(options.data)
    left_out = [text for text, intent in messages if intent in options.leave_out]
    splits = split_by_wording([pair for pair in messages if pair[1] not in options.leave_out], options.seed)
    written, held_out = split_written([pair for pair in read_written() if pair[1] not in options.leave_out])
    none_texts = read_none_texts(options.data / "clinc150", options.none_per_intent, options.seed)
    rng = random.Random(options.seed)
    train = [
        *augment(limit_per_intent(splits["train"], options.per_intent, rng), rng),
        *augment(written, rng, num_variants=len(VARIANTS)),
        *((text, NONE_LABEL) for text in none_texts),
    ]
    rng.shuffle(train)
    write_messages(options.out / "train.jsonl", train)
    write_messages(options.out / "valid.jsonl", held_out)
    write_messages(options.out / "test.jsonl", splits["test"])
    for name in VARIANTS:
        write_messages(options.out / f"test_{name}.jsonl", vary(splits["test"], name, rng, "test"))
    write_texts(options.out / "out_of_scope.txt", read_out_of_scope(options.data / "clinc150"))
    if left_out:
        write_texts(options.out / "left_out.txt", left_out)


def read_messages(data: Path) -> list[LabelledMessage]:
    """All messages of both sets, each once; those with two intents are left out."""
    intents: dict[str, str] = {}
    ambiguous = set()
    for text, intent in [*_read_dialogues(data / "bitext_customer"), *_read_table(data / "bitext_intents")]:
        key = " ".join(text.split())
        if intents.setdefault(key, intent) != intent:
            ambiguous.add(key)
    unique: dict[str, LabelledMessage] = {}
    for text, intent in intents.items():
        if text not in ambiguous:
            unique.setdefault(text.casefold(), (text, intent))
    return list(unique.values())


def _read_dialogues(folder: Path) -> Iterable[LabelledMessage]:
    for path in sorted(folder.glob("*.jsonl.gz")):
        for conversation in read_source(path):
            yield conversation.messages[0].content, str(conversation.meta["intent"])


def _read_table(folder: Path) -> Iterable[LabelledMessage]:
    for path in sorted((folder / f"{split}.csv.gz" for split in ("train", "valid")), key=str):
        yield from _read_labelled(path)


def _read_labelled(path: Path) -> Iterable[LabelledMessage]:
    for text in AnnotationSource(path).read():
        if isinstance(text, LabeledText):
            yield text.text, text.labels[0]


def read_written() -> list[LabelledMessage]:
    """The messages that were written for training; those of no intent have the label "none"."""
    return list(_read_labelled(Path(__file__).with_name("support_training_messages.csv")))


def split_written(messages: Sequence[LabelledMessage]) -> tuple[list[LabelledMessage], list[LabelledMessage]]:
    """Training and validation messages: every fifth message of an intent is for validation."""
    counts: Counter[str] = Counter()
    train, valid = [], []
    for text, intent in messages:
        counts[intent] += 1
        (train if counts[intent] % WRITTEN_SPLIT else valid).append((text, intent))
    return train, valid


def limit_per_intent(messages: Sequence[LabelledMessage], limit: int, rng: random.Random) -> list[LabelledMessage]:
    """Up to `limit` messages of every intent, in random order."""
    shuffled = rng.sample(messages, len(messages))
    counts: Counter[str] = Counter()
    limited = []
    for text, intent in shuffled:
        counts[intent] += 1
        if counts[intent] <= limit:
            limited.append((text, intent))
    return limited


def split_by_wording(messages: Sequence[LabelledMessage], seed: int) -> dict[str, list[LabelledMessage]]:
    """Training, validation and test split; texts of the same intent and wording are in the same one.

    The most frequent wording of an intent is trained. Others are held out, in random order, while they fit.
    """
    spellings = known_spellings(text for text, _ in messages)
    groups: dict[str, dict[Wording, list[str]]] = defaultdict(lambda: defaultdict(list))
    for text, intent in messages:
        groups[intent][wording(text, spellings)].append(text)
    rng = random.Random(seed)
    splits: dict[str, list[LabelledMessage]] = {"train": [], "valid": [], "test": []}
    for intent, texts_by_wording in sorted(groups.items()):
        target = HELD_OUT_SHARE * sum(map(len, texts_by_wording.values()))
        texts_of_wordings = sorted(texts_by_wording.values(), key=lambda texts: (-len(texts), texts))
        first, others = texts_of_wordings[0], texts_of_wordings[1:]
        rng.shuffle(others)
        counts = {"valid": 0, "test": 0}
        splits["train"] += [(text, intent) for text in first]
        for texts in others:
            smaller = min(counts, key=lambda name: counts[name])
            name = smaller if counts[smaller] + len(texts) <= target + 1 else "train"
            splits[name] += [(text, intent) for text in texts]
            if name != "train":
                counts[name] += len(texts)
    return splits


def known_spellings(texts: Iterable[str]) -> dict[str, str]:
    """For every word that is rare, the similar frequent word that it misspells, if there is one."""
    counts = Counter(word for text in texts for word in _words(text))
    frequent = sorted(word for word, count in counts.items() if count >= MIN_WORD_COUNT)
    rare = sorted(word for word, count in counts.items() if count < MIN_WORD_COUNT)
    corrections = {word: get_close_matches(word, frequent, 1, SIMILARITY) for word in rare}
    return {word: matches[0] for word, matches in corrections.items() if matches}


def wording(text: str, spellings: Mapping[str, str]) -> Wording:
    """The stems of a text's words without those around a request; of all words if nothing else remains."""
    words = [spellings.get(word, word) for word in _words(text)]
    return frozenset(map(stem, [word for word in words if word not in FRAME_WORDS] or words))


def stem(word: str) -> str:
    """The word without an English ending: "cancelling" and "cancelled" are "cancel"."""
    ending = next((end for end in SUFFIXES if word.endswith(end) and len(word) - len(end) >= MIN_STEM_LENGTH), "")
    shortened = word.removesuffix(ending)
    doubled = bool(ending) and len(shortened) > MIN_STEM_LENGTH and shortened[-1] == shortened[-2]
    return shortened[:-1] if doubled else shortened


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def augment(messages: Sequence[LabelledMessage], rng: random.Random, num_variants: int = 1) -> list[LabelledMessage]:
    """The messages and variants of each. Numbers are replaced: the sets have only a few of them."""
    varied = [
        (VARIANTS[kind](text, rng), intent)
        for text, intent in messages
        for kind in rng.sample(tuple(VARIANTS), num_variants)
    ]
    result = [(replace_numbers(text, rng), intent) for text, intent in [*messages, *varied]]
    rng.shuffle(result)
    return result


def replace_numbers(text: str, rng: random.Random) -> str:
    """The text with other numbers of one to twelve digits, some of them with letters, as order numbers have."""

    def replacement(_: re.Match[str]) -> str:
        digits = "".join(rng.choices("0123456789", k=rng.randint(1, 12)))
        return f"{rng.choice(('A', 'ORD-', 'X', 'SO'))}{digits}" if rng.random() < 0.2 else digits

    return re.sub(r"\d{3,}", replacement, text)


def vary(messages: Sequence[LabelledMessage], name: str, rng: random.Random, phrases: str) -> list[LabelledMessage]:
    """A variant of every message."""
    if name == "polite":
        return [(make_polite(text, rng, phrases), intent) for text, intent in messages]
    return [(VARIANTS[name](text, rng), intent) for text, intent in messages]


def write_messages(path: Path, messages: Sequence[LabelledMessage]) -> None:
    """Write messages as JSON lines."""
    rows = [json.dumps({"text": text, "label": intent}, ensure_ascii=False) for text, intent in messages]
    _write_lines(path, rows)


def write_texts(path: Path, texts: Sequence[str]) -> None:
    """Write a text per line."""
    _write_lines(path, [" ".join(text.split()) for text in texts])


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    atomic_write(path, "".join(f"{line}\n" for line in lines))
    print(f"{path}: {len(lines):,} texts")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--leave-out", nargs="+", default=(), metavar="INTENT", help="intents that are not trained")
    parser.add_argument("--per-intent", type=int, default=30, help="texts of Bitext of each intent (default: 30)")
    parser.add_argument(
        "--none-per-intent", type=int, default=10, help="texts of each intent of CLINC150, as none (default: 10)"
    )
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args())
