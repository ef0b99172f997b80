"""What the model says in a few held-out dialogues, before and after a run: numbers alone convince nobody."""

import json
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue

from turnwise.core.files import atomic_write
from turnwise.core.messages import Conversation, Message
from turnwise.core.parameters import GenerationParams
from turnwise.core.ports import GenerationRequest, TokenEvent
from turnwise.engine.engine import Engine
from turnwise.engine.transformers_engine import create_transformers_engine
from turnwise.models.checkpoint import DecoderModel
from turnwise.models.language_model import LanguageModel
from turnwise.models.transformers_model import TransformersModel
from turnwise.text.rendering.renderer import Renderer
from turnwise.training.hooks import ReplySample

NUM_SAMPLES = 3  # dialogues
TOKENS = 60  # of an answer, at most
BEFORE = "samples_before.json"


def last_reply(dialogue: Conversation) -> tuple[tuple[Message, ...], str] | None:
    """What was said before the last reply to a user, and that reply; None where there is none."""
    messages = dialogue.messages
    for i in reversed(range(1, len(messages))):
        if messages[i].role == "assistant" and messages[i - 1].role == "user":
            return messages[:i], messages[i].full_text
    return None


def generate_replies(model: LanguageModel, renderer: Renderer, dialogues: Sequence[Conversation]) -> list[str]:
    """The model's greedy answers where the last assistant turn of each dialogue stands; none where it gives none.

    Nothing that training depends on is changed: the answers use no shared random numbers and no gradients.
    """
    if not dialogues or model.kind == "encoder":
        return []
    engine = build_engine(model, slots=len(dialogues))
    try:
        waiting = [_ask(engine, renderer, dialogue) for dialogue in dialogues]
        return [renderer.tokenizer.decode(collect_tokens(events)[0]) for events in waiting]
    finally:
        engine.close()


def build_engine(model: LanguageModel, slots: int) -> Engine:
    """An engine over the weights as they are now; whoever asks for it closes it."""
    if isinstance(model, DecoderModel):
        return Engine(model.decoder, max_num_seqs=slots)
    assert isinstance(model, TransformersModel), "these are the kinds there are"
    model.module.eval()
    return create_transformers_engine(model, max_num_seqs=slots)


def _ask(engine: Engine, renderer: Renderer, dialogue: Conversation) -> SimpleQueue[TokenEvent]:
    parts = last_reply(dialogue)
    assert parts is not None, "only dialogues with a reply are asked"
    ids = renderer.render(parts[0], add_generation_prompt=True, tools=dialogue.tools).ids
    most = min(TOKENS, engine.context_length // 2)
    request = GenerationRequest(
        prompt_ids=tuple(ids[-(engine.context_length - most) :]),
        params=GenerationParams(temperature=0),
        max_tokens=most,
        stop_ids=renderer.tokenizer.stop_ids,
    )
    events: SimpleQueue[TokenEvent] = SimpleQueue()
    engine.submit(request, events.put)
    return events


def collect_tokens(events: SimpleQueue[TokenEvent]) -> tuple[list[int], TokenEvent]:
    """All ids of an answer, and the event that ends it."""
    ids: list[int] = []
    while True:
        event = events.get()
        if event.token_id is not None:
            ids.append(event.token_id)
        if event.finish_reason is not None:
            return ids, event


def save_samples_before(work: Path, found: Sequence[str]) -> None:
    """Keep the answers of the first step for the end of the run, which may be in another process."""
    atomic_write(work / BEFORE, json.dumps(found, ensure_ascii=False) + "\n")


def pair_samples(work: Path, dialogues: Sequence[Conversation], after: Sequence[str]) -> tuple[ReplySample, ...]:
    """The kept answers beside those of now."""
    path = work / BEFORE
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    found = []
    for dialogue, old, new in zip(dialogues, before, after, strict=False):
        history, reply = last_reply(dialogue) or ((), "")
        found.append(ReplySample(history[-1].content, reply, old, new))
    return tuple(found)
