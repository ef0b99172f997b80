"""Replies to a few held-out dialogues before and after a run, shown beside the numbers."""

import json
from collections.abc import Sequence
from pathlib import Path

from turnwise.core.exchanges import last_reply
from turnwise.core.files import atomic_write
from turnwise.core.inference import GenerationRequest
from turnwise.core.inference_client import InferenceClient
from turnwise.core.messages import Conversation
from turnwise.core.parameters import GenerationParams
from turnwise.engine.engine import Engine
from turnwise.engine.transformers_engine import create_transformers_engine
from turnwise.models.decoder_model import DecoderModel
from turnwise.models.language_model import LanguageModel
from turnwise.models.transformers_model import TransformersModel
from turnwise.text.rendering.renderer import Renderer
from turnwise.training.hooks import ReplySample

NUM_SAMPLES = 3  # dialogues per run
MAX_REPLY_TOKENS = 60  # per sample
BEFORE = "samples_before.json"


def generate_replies(model: LanguageModel, renderer: Renderer, dialogues: Sequence[Conversation]) -> list[str]:
    """Generate greedy replies in place of each dialogue's last reply; none for encoder-only models.

    Training is not affected: generation uses no global random state and no gradients.
    """
    if not dialogues or model.kind == "encoder":
        return []
    engine = build_engine(model, max_num_seqs=len(dialogues))
    try:
        requests = ((_build_request(engine, renderer, dialogue), None) for dialogue in dialogues)
        generations = InferenceClient(engine).generate_all(requests)
        return [renderer.tokenizer.decode(generation.token_ids) for generation in generations]
    finally:
        engine.close()


def build_engine(model: LanguageModel, max_num_seqs: int, kv_cache_memory_bytes: int | None = None) -> Engine:
    """Build an engine over the model's current weights. The caller closes it."""
    if isinstance(model, DecoderModel):
        return Engine(model.decoder, max_num_seqs=max_num_seqs, kv_cache_memory_bytes=kv_cache_memory_bytes)
    assert isinstance(model, TransformersModel), "there is no other kind of model"
    model.module.eval()
    return create_transformers_engine(model, max_num_seqs=max_num_seqs)


def _build_request(engine: Engine, renderer: Renderer, dialogue: Conversation) -> GenerationRequest:
    last = last_reply(dialogue)
    assert last is not None, "samples are dialogues with a reply"
    ids = renderer.render(last[0], add_generation_prompt=True, tools=dialogue.tools).ids
    max_tokens = min(MAX_REPLY_TOKENS, engine.context_length // 2)
    return GenerationRequest(
        prompt_ids=tuple(ids[-(engine.context_length - max_tokens) :]),
        params=GenerationParams(temperature=0),
        max_tokens=max_tokens,
        stop_ids=renderer.tokenizer.stop_ids,
    )


def save_samples_before(work: Path, replies: Sequence[str]) -> None:
    """Store the replies before training; a resumed run in another process needs them at its end."""
    atomic_write(work / BEFORE, json.dumps(replies, ensure_ascii=False) + "\n")


def pair_samples(work: Path, dialogues: Sequence[Conversation], after: Sequence[str]) -> tuple[ReplySample, ...]:
    """Combine the stored replies before training with the replies after it."""
    path = work / BEFORE
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    samples = []
    for dialogue, old, new in zip(dialogues, before, after, strict=False):
        question, reply = question_and_reply(dialogue)
        samples.append(ReplySample(question, reply, old, new))
    return tuple(samples)


def question_and_reply(dialogue: Conversation) -> tuple[str, str]:
    """The last message of the user before the last reply, and that reply."""
    history, reply = last_reply(dialogue) or ((), "")
    return next((message.content for message in reversed(history) if message.role == "user"), ""), reply
