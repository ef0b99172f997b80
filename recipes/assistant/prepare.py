"""Generates the training files of the default model's adapter: prepare.py DATA OUT

DATA is a folder with the open sets named in README.md beside this file; OUT receives `train.jsonl`, one
`valid_*.jsonl` per domain, and `tokenizer/`: that of the base model with the chat template of this folder. Everything
is seeded: the same DATA gives the same files.
"""

import random
import sys
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from box.prepare import NAMES, complete, framed, invented_names, new_to, short_support, support, with_names, write

from turnwise.core.messages import Conversation
from turnwise.data.grammar.expand import expand, restrict_topics
from turnwise.data.prompts import SAFETY_TOPICS, load_small_talk
from turnwise.data.prompts.prompt_filter import PromptFilter
from turnwise.data.sources import read_source
from turnwise.models.model_folders import find_model_folder
from turnwise.text.tokenization.tokenizer import Tokenizer

BASE = "smollm2"


def math_problems(path: Path, limit: int, rng: random.Random) -> list[Conversation]:
    """Arithmetic word problems with solutions in steps, a seeded sample."""
    problems = [Conversation(item.messages, {"source": "gsm8k"}) for item in read_source(path)]
    rng.shuffle(problems)
    return problems[:limit]


def without_golden_questions(conversations: list[Conversation]) -> list[Conversation]:
    """Drop conversations in which a user turn is a question of the golden set."""
    prompt_filter = PromptFilter()
    return [
        conversation
        for conversation in conversations
        if not any(m.role == "user" and prompt_filter.is_golden_question(m.content) for m in conversation.messages)
    ]


def write_tokenizer(folder: Path) -> None:
    """Write the base model's tokenizer with the adapter's chat template."""
    tokenizer = Tokenizer.load(find_model_folder(BASE))
    template = Path(__file__).with_name("chat_template.jinja").read_text(encoding="utf-8").rstrip("\n")
    tokenizer.with_chat_template(template).save(folder)


def main(data: Path, out: Path) -> None:
    """Write all files."""
    write_tokenizer(out / "tokenizer")
    rng = random.Random(21)
    grammar = load_small_talk()
    names = invented_names(2_000, random.Random(11))
    named = with_names(grammar, (*grammar.slots["name"] * 4, *names))
    small = list(expand(named, 1_300, seed=31))
    safety = list(expand(restrict_topics(grammar, SAFETY_TOPICS), 300, seed=32, turns=(1, 2)))
    introduced = list(expand(restrict_topics(named, NAMES), 200, seed=33, turns=(1, 4)))
    one_turn = list(expand(grammar, 2_000, seed=34, turns=(1, 1)))
    asked = list(support(data / "bitext_customer/train.jsonl.gz"))
    brief = list(short_support(asked, 15, random.Random(35)))
    coffee = complete(data / "taskmaster4/train.jsonl.gz", turns=8, longest=200, limit=120, rng=rng)
    open_chat = complete(data / "self_dialogue/train.jsonl.gz", turns=10, longest=220, limit=200, rng=rng)
    answers = complete(data / "oasst1_en_pairs/train.jsonl.gz", turns=2, longest=700, limit=350, rng=rng)
    dolly = complete(data / "dolly_nocontext/train.jsonl.gz", turns=2, longest=500, limit=450, rng=rng)
    math = math_problems(data / "gsm8k/train.jsonl.gz", 250, rng)

    train = [*framed(asked + brief, one_turn, rng), *small, *safety, *introduced, *coffee, *open_chat, *answers, *dolly]
    train = without_golden_questions(train + math)
    rng.shuffle(train)
    write(out / "train.jsonl", train)

    write(out / "valid_support.jsonl", list(support(data / "bitext_customer/valid.jsonl.gz")))
    talk = complete(data / "self_dialogue/valid.jsonl.gz", turns=14, longest=220, limit=200, rng=rng)
    write(out / "valid_open_talk.jsonl", talk)
    write(out / "valid_oasst.jsonl", list(islice(read_source(data / "oasst1_en_valid/valid.jsonl.gz"), 100)))
    held_math = [Conversation(item.messages) for item in islice(read_source(data / "gsm8k/test.jsonl.gz"), 200)]
    write(out / "valid_math.jsonl", held_math)
    unseen = new_to(list(expand(grammar, 400, seed=99)), small + safety + introduced)
    write(out / "valid_small_talk.jsonl", unseen[:150])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
