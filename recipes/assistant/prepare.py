"""Generates the training files of the default model's adapter: prepare.py DATA OUT

DATA is a folder with the open sets named in README.md beside this file; OUT receives one `train_N.jsonl` per stage,
`train.jsonl` with those of all stages (for the baselines of compare.py), one `valid_*.jsonl` per domain, and
`tokenizer/`: that of the base model with the chat template of this folder. Everything is seeded: the same DATA gives
the same files.
"""

import random
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from assistant.business_dialogues import business_dialogues
from assistant.chinese_dialogues import chinese_dialogues
from assistant.instruction_dialogues import instruction_dialogues
from assistant.safety_dialogues import safety_dialogues
from box.prepare import NAMES, complete, framed, invented_names, new_to, short_support, support, with_names, write

from turnwise.core.messages import Conversation
from turnwise.data.grammar.expand import expand, restrict_topics
from turnwise.data.prompts import SAFETY_TOPICS, load_small_talk
from turnwise.data.prompts.prompt_filter import PromptFilter
from turnwise.data.sources import read_source
from turnwise.models.model_folders import find_model_folder
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer

BASE = "smollm2"
MAX_LENGTH = 512  # tokens of a dialogue


@dataclass(frozen=True, slots=True)
class Stage:
    """One pass over a mixture.

    Attributes:
        shares: share of each source in the tokens. Support replies are long: without a bound they teach the model to
            take everything as a question to a shop.
        total_tokens: tokens of all sources together.
        seed: added to the seeds of all generators.
        answer_counts: dialogues of OASST1 and of Dolly to draw from.
        safety_weights: share of each kind of safety dialogue; None uses those of `safety.yaml`.
    """

    shares: dict[str, float]
    total_tokens: int
    seed: int
    answer_counts: tuple[int, int]
    safety_weights: dict[str, int] | None = None


FEWER_REFUSALS = {
    "harmful": 14, "care": 32, "secret": 14, "shop_rule": 8, "harmless": 18, "honesty": 6, "pasted": 4, "password": 2,
    "minor": 2,
}  # fmt: skip
STAGES = (
    Stage(
        shares={
            "support": 0.23, "short support": 0.03, "business": 0.17, "instructions": 0.12, "Chinese": 0.11,
            "safety": 0.12, "small talk": 0.14, "questions": 0.03, "arithmetic": 0.03, "open talk": 0.02,
        },
        total_tokens=1_430_000,
        seed=0,
        answer_counts=(350, 450),
    ),
    # Fewer refusals of harmless requests, more short questions to a shop and more ordinary requests.
    Stage(
        shares={
            "support": 0.16, "short support": 0.06, "business": 0.18, "instructions": 0.14, "Chinese": 0.12,
            "safety": 0.11, "small talk": 0.14, "questions": 0.06, "arithmetic": 0.02, "open talk": 0.01,
        },
        total_tokens=1_200_000,
        seed=200,
        answer_counts=(700, 1_800),
        safety_weights=FEWER_REFUSALS,
    ),
    # Prompts of preference pairs (pairs.py): short dialogues.
    Stage(
        shares={
            "support": 0.08, "short support": 0.1, "business": 0.24, "instructions": 0.18, "Chinese": 0.06,
            "safety": 0.14, "small talk": 0.16, "questions": 0.04, "arithmetic": 0.0, "open talk": 0.0,
        },
        total_tokens=260_000,
        seed=300,
        answer_counts=(100, 300),
        safety_weights=FEWER_REFUSALS,
    ),
)  # fmt: skip


def math_problems(path: Path, rng: random.Random) -> list[Conversation]:
    """Arithmetic word problems with solutions in steps, in random order."""
    problems = [Conversation(item.messages, {"source": "gsm8k"}) for item in read_source(path)]
    rng.shuffle(problems)
    return problems


def without_golden_questions(conversations: Iterable[Conversation]) -> Iterator[Conversation]:
    """Drop conversations in which a user turn is a question of the golden set."""
    prompt_filter = PromptFilter()
    for conversation in conversations:
        if not any(m.role == "user" and prompt_filter.is_golden_question(m.content) for m in conversation.messages):
            yield conversation


def take_tokens(conversations: Iterable[Conversation], limit: int, renderer: Renderer) -> list[Conversation]:
    """The first conversations that together have at most `limit` tokens; longer than `MAX_LENGTH` are left out."""
    taken, num_tokens = [], 0
    for conversation in without_golden_questions(conversations):
        length = len(renderer.render(conversation.messages).ids)
        if length <= MAX_LENGTH:
            num_tokens += length
            if num_tokens > limit:
                break
            taken.append(conversation)
    return taken


def write_tokenizer(folder: Path) -> None:
    """Write the base model's tokenizer with the adapter's chat template."""
    tokenizer = Tokenizer.load(find_model_folder(BASE))
    template = Path(__file__).with_name("chat_template.jinja").read_text(encoding="utf-8").rstrip("\n")
    tokenizer.with_chat_template(template).save(folder)


def training_sources(data: Path, stage: Stage, rng: random.Random) -> dict[str, Iterable[Conversation]]:
    """The dialogues of each source in random order, more than are needed."""
    num_oasst, num_dolly = stage.answer_counts
    grammar = load_small_talk()
    named = with_names(grammar, (*grammar.slots["name"] * 4, *invented_names(2_000, random.Random(11 + stage.seed))))
    one_turn = list(expand(grammar, 2_000, seed=34 + stage.seed, turns=(1, 1)))
    asked = list(support(data / "bitext_customer/train.jsonl.gz"))
    rng.shuffle(asked)
    brief = list(short_support(asked, 40, random.Random(35 + stage.seed)))
    rng.shuffle(brief)
    talk = [
        *expand(named, 2_600, seed=31 + stage.seed),
        *expand(restrict_topics(grammar, SAFETY_TOPICS), 500, seed=32 + stage.seed, turns=(1, 2)),
        *expand(restrict_topics(named, NAMES), 250, seed=33 + stage.seed, turns=(1, 4)),
    ]
    rng.shuffle(talk)
    answers = complete(data / "oasst1_en_pairs/train.jsonl.gz", turns=2, longest=700, limit=num_oasst, rng=rng)
    answers += complete(data / "dolly_nocontext/train.jsonl.gz", turns=2, longest=500, limit=num_dolly, rng=rng)
    rng.shuffle(answers)
    open_talk = complete(data / "self_dialogue/train.jsonl.gz", turns=10, longest=220, limit=400, rng=rng)
    open_talk += complete(data / "taskmaster4/train.jsonl.gz", turns=8, longest=200, limit=100, rng=rng)
    rng.shuffle(open_talk)
    return {
        "support": framed(asked, one_turn, rng),
        "short support": framed(brief, one_turn, rng),
        "business": business_dialogues(4_000, seed=41 + stage.seed),
        "instructions": instruction_dialogues(4_000, seed=42 + stage.seed),
        "Chinese": chinese_dialogues(4_000, seed=43 + stage.seed),
        "safety": safety_dialogues(4_000, seed=44 + stage.seed, weights=stage.safety_weights),
        "small talk": talk,
        "questions": answers,
        "arithmetic": math_problems(data / "gsm8k/train.jsonl.gz", rng),
        "open talk": open_talk,
    }


def main(data: Path, out: Path) -> None:
    """Write all files."""
    write_tokenizer(out / "tokenizer")
    renderer = Renderer.from_tokenizer(Tokenizer.load(out / "tokenizer"))
    train: list[Conversation] = []
    for number, stage in enumerate(STAGES, 1):
        rng = random.Random(21 + stage.seed)
        dialogues: list[Conversation] = []
        for name, conversations in training_sources(data, stage, rng).items():
            taken = take_tokens(conversations, int(stage.shares[name] * stage.total_tokens), renderer)
            print(f"stage {number}, {name}: {len(taken):,} dialogues, at most {stage.shares[name]:.1%} of the tokens")
            dialogues += taken
        rng.shuffle(dialogues)
        write(out / f"train_{number}.jsonl", dialogues)
        train += dialogues
    write(out / "train.jsonl", train)

    rng = random.Random(22)
    write(out / "valid_support.jsonl", list(support(data / "bitext_customer/valid.jsonl.gz")))
    talk = complete(data / "self_dialogue/valid.jsonl.gz", turns=14, longest=220, limit=200, rng=rng)
    write(out / "valid_open_talk.jsonl", talk)
    write(out / "valid_oasst.jsonl", list(islice(read_source(data / "oasst1_en_valid/valid.jsonl.gz"), 100)))
    held_math = [Conversation(item.messages) for item in islice(read_source(data / "gsm8k/test.jsonl.gz"), 200)]
    write(out / "valid_math.jsonl", held_math)
    unseen = new_to(list(expand(load_small_talk(), 400, seed=99)), train)
    write(out / "valid_small_talk.jsonl", unseen[:150])
    held_out = [
        *business_dialogues(40, seed=91), *instruction_dialogues(40, seed=92), *chinese_dialogues(40, seed=93),
        *safety_dialogues(40, seed=94),
    ]  # fmt: skip
    write(out / "valid_skills.jsonl", held_out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
