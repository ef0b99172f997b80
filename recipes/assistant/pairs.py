"""Generates preference pairs from a model's own replies: pairs.py DATA MODEL

DATA is the folder of `prepare.py`. The model replies to the last user turn of the dialogues of DATA/train_3.jsonl,
which it has not seen. Where its reply is unlike that of the dialogue, both are written to DATA/pairs.jsonl: the
dialogue's reply is chosen, the model's own is rejected (Chen et al. 2024, self-play fine-tuning). Replies are sampled,
as the model is served, from a fixed seed.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sacrebleu.metrics.chrf import CHRF

from turnwise.app.chat_services import open_chat_service
from turnwise.app.generation_defaults import load_generation_defaults
from turnwise.core.files import atomic_write
from turnwise.core.inference import GenerationRequest
from turnwise.core.inference_client import InferenceClient
from turnwise.core.messages import Conversation, Message
from turnwise.core.parameters import GenerationParams
from turnwise.data.sources import read_source

MAX_TOKENS = 160  # of a rejected reply
MAX_PROMPT_CHARACTERS = 700
SIMILAR = 50.0  # chrF from which a reply counts as the same in other words


def dialogues(path: Path) -> Iterator[tuple[tuple[Message, ...], str]]:
    """Messages up to the last user turn, and the reply to it."""
    for item in read_source(path):
        assert isinstance(item, Conversation)
        last = max(index for index, message in enumerate(item.messages) if message.role == "assistant")
        history = item.messages[:last]
        if last and history[-1].role == "user" and sum(len(m.content) for m in history) <= MAX_PROMPT_CHARACTERS:
            yield history, item.messages[last].content


def main(data: Path, model: str) -> None:
    """Write the pairs."""
    prompts = list(dialogues(data / "train_3.jsonl"))
    rows: list[str] = []
    chrf = CHRF()
    with open_chat_service(model, max_num_seqs=32) as service:
        defaults = load_generation_defaults(Path(model))

        def request(history: tuple[Message, ...], number: int) -> GenerationRequest:
            return GenerationRequest(
                prompt_ids=tuple(service.renderer.render(history, add_generation_prompt=True).ids),
                params=GenerationParams(**defaults, seed=number),
                max_tokens=MAX_TOKENS,
                stop_ids=service.renderer.tokenizer.stop_ids,
            )

        requests = ((request(history, number), None) for number, (history, _) in enumerate(prompts))
        with closing(InferenceClient(service.engine).generate_all(requests)) as generations:
            for number, ((history, reply), generation) in enumerate(zip(prompts, generations, strict=True), 1):
                model_reply = service.renderer.tokenizer.decode(generation.token_ids).strip()
                if model_reply and chrf.sentence_score(model_reply, [reply]).score < SIMILAR:
                    prompt = [message.as_dict() for message in history]
                    row = {"prompt": prompt, "chosen": reply, "rejected": model_reply}
                    rows.append(json.dumps(row, ensure_ascii=False))
                if number % 100 == 0:
                    print(f"{number} of {len(prompts)} prompts, {len(rows)} pairs", flush=True)
    atomic_write(data / "pairs.jsonl", "".join(f"{row}\n" for row in rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
