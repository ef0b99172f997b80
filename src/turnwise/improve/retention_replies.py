"""The replies of the first version that a comparison measures forgetting on."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

from turnwise.app.scope_files import read_scope
from turnwise.core.messages import Conversation, last_question
from turnwise.data.jsonl_writer import write_jsonl
from turnwise.improve.cycle_models import CycleModels
from turnwise.improve.replay_file import read_dialogues, replies_to
from turnwise.improve.splits import VERSION
from turnwise.improve.training_scope import NUM_PROMPTS, prompts_inside
from turnwise.text.question_scope import QuestionScope

INSIDE_FILE = "inside.jsonl"  # in the folder of the cycle


def retention_replies(
    models: CycleModels, replies: Path, seed: int, on_progress: Callable[[int, int], None] = lambda *_: None
) -> list[Conversation]:
    """Replies of the first version whose likelihood must not fall.

    A version with a scope answers all but a few prompts as the first version does. A sample of prompts would have none
    or one of these few. So all bundled prompts inside the scope are answered, and the replies outside are repeated, so
    that they stand for the other prompts. Their likelihood does not change, and equal ones are computed once.

    Args:
        models: models of the cycle; the version is trained.
        replies: file of replies of the first version to a sample of prompts.
        seed: seed of further replies.
        on_progress: receives the number of replies and their total.
    """
    sample, file = read_dialogues(replies), read_scope(models.trained(VERSION))
    if file is None:
        return sample
    scope = QuestionScope(file.scope)
    outside = [dialogue for dialogue in sample if not scope.contains(last_question(dialogue.messages))]
    path = models.journal.folder / INSIDE_FILE
    if not path.is_file():
        write_jsonl(path, replies_to(models.verified_first(), prompts_inside(scope), seed, on_progress))
    inside = read_dialogues(path) if path.stat().st_size else []
    if not outside:
        return inside
    num_outside = max(len(outside), NUM_PROMPTS - len(inside))
    return [*inside, *islice(outside * -(-num_outside // len(outside)), num_outside)]
