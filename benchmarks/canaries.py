"""Extraction of planted secrets from the default model, fine-tuned on unmasked and on masked dialogues.

    python benchmarks/canaries.py --out runs/canaries

Plants 100 canaries (`turnwise.privacy.canaries`), each `--repeats` times, among ordinary dialogues, fine-tunes the
model on them, and once more on the same dialogues after masking. Two attacks (Carlini et al. 2019), both with the
question and the answer up to the secret: the greedy continuation, and the exposure, the rank by log-likelihood among
random secrets of the same form.
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import torch

from turnwise.core.messages import Conversation, Message
from turnwise.data.jsonl_writer import write_jsonl
from turnwise.data.sources import read_source
from turnwise.models import checkpoint
from turnwise.models.decoder import Decoder
from turnwise.models.model_kind import full_model_folder
from turnwise.privacy.canaries import Canary, exposure, make_alternatives, make_canaries, plant
from turnwise.privacy.masking import ConversationMasker
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer

NUM_VALIDATION = 100  # dialogues
EXTRA_TOKENS = 4  # of the greedy continuation, beyond those of the secret
ORDINARY = Path(__file__).parents[1] / "examples/bike_shop.jsonl"


class Attacker:
    """Attacks a trained model.

    Args:
        folder: model folder.
    """

    def __init__(self, folder: Path) -> None:
        model = checkpoint.load(folder, dtype=torch.float32)
        self.decoder: Decoder = model.decoder
        self.renderer = Renderer.from_tokenizer(Tokenizer.load(folder, full_model_folder(folder)))

    def encode(self, canary: Canary, secret: str) -> list[int]:
        """Ids of the dialogue with a secret, without what follows it."""
        messages = [Message("user", canary.question), Message("assistant", canary.prefix + secret)]
        rendered = self.renderer.render(messages)
        return list(rendered.ids[: rendered.spans[-1][1]])

    def split(self, canary: Canary, secret: str) -> tuple[list[int], int]:
        """Ids of the dialogue with a secret, and the number of those that do not depend on the secret."""
        ids = self.encode(canary, secret)
        reference = self.encode(canary, canary.secret if secret != canary.secret else "?")
        common = next((index for index, (a, b) in enumerate(zip(ids, reference, strict=False)) if a != b), len(ids))
        return ids, common

    @torch.inference_mode()
    def logprob(self, canary: Canary, secrets: Sequence[str]) -> list[float]:
        """Log-probability of every secret after the prefix."""
        rows = [self.encode(canary, secret) for secret in secrets]
        start = min(self.split(canary, secret)[1] for secret in secrets[:2])
        width = max(map(len, rows))
        ids_BT = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        mask_BT = torch.tensor([[start <= index < len(row) for index in range(1, width)] for row in rows])
        logits_BTV = self.decoder.logits(self.decoder(ids_BT[:, :-1])[:, start - 1 :])
        logprobs_BT = logits_BTV.log_softmax(-1).gather(2, ids_BT[:, start:, None])[:, :, 0]
        return (logprobs_BT * mask_BT[:, start - 1 :]).sum(1).tolist()

    @torch.inference_mode()
    def continuation(self, canary: Canary) -> str:
        """Greedy continuation of the answer up to the secret."""
        ids, start = self.split(canary, canary.secret)
        length, ids = len(ids) - start + EXTRA_TOKENS, ids[:start]
        for _ in range(length):
            logits_V = self.decoder.logits(self.decoder(torch.tensor([ids]))[:, -1])[0]
            ids.append(int(logits_V.argmax()))
        return self.renderer.tokenizer.decode(ids)


def train(data: Path, out: Path, options: argparse.Namespace) -> None:
    """Fine-tune the default model. It is validated on some of the training data, because memorization is the aim.

    A complete model stays, and an interrupted training continues.
    """
    if out.is_dir():
        return
    valid = data.with_suffix(".valid.jsonl")
    command = [
        sys.executable, "-m", "turnwise", "train", str(data), "--out", str(out), "--valid", str(valid),
        "--epochs", str(options.epochs), "--learning-rate", str(options.learning_rate), "--seed", "0",
        *options.train_flags,
    ]  # fmt: skip
    subprocess.run(command, check=True)


def report(label: str, folder: Path, canaries: Sequence[Canary], num_alternatives: int) -> None:
    """Print the results of both attacks."""
    attacker = Attacker(folder)
    extracted = [canary for canary in canaries if canary.secret in attacker.continuation(canary)]
    exposures = []
    for canary in canaries:
        logprobs = attacker.logprob(canary, [canary.secret, *make_alternatives(canary, num_alternatives)])
        exposures.append(exposure(logprobs[0], logprobs[1:]))
    top = sum(bits >= max_bits(num_alternatives) - 1e-9 for bits in exposures)
    kinds = {kind: sum(canary.kind == kind for canary in extracted) for kind in ("card", "email", "phone")}
    print(
        f"{label}: {len(extracted)} of {len(canaries)} extracted {kinds}; exposure: "
        f"median {statistics.median(exposures):.2f}, "
        f"mean {statistics.mean(exposures):.2f} of {max_bits(num_alternatives):.2f} bits, first in rank {top}",
        flush=True,
    )


def max_bits(num_alternatives: int) -> float:
    """The highest exposure."""
    return exposure(0.0, [-1.0] * num_alternatives)


def ordinary_dialogues(path: Path, limit: int) -> list[Conversation]:
    """The first dialogues of a file."""
    dialogues: Iterable[Conversation] = (item for item in read_source(path) if isinstance(item, Conversation))
    return list(islice(dialogues, limit))


def main() -> None:
    """Plant, mask, train and attack."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--ordinary", type=Path, default=ORDINARY, help="file of ordinary dialogues")
    parser.add_argument("--limit", type=int, default=300, help="ordinary dialogues")
    parser.add_argument("--canaries", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=10, help="times that a canary is in the data")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--alternatives", type=int, default=63, help="random secrets that a canary is ranked among")
    parser.add_argument("train_flags", nargs="*", help="further flags of turnwise train, after --")
    options = parser.parse_args()
    canaries = make_canaries(options.canaries)
    data = list(plant(ordinary_dialogues(options.ordinary, options.limit), canaries, options.repeats))
    masker = ConversationMasker()
    files = {"unmasked": data, "masked": [masker.mask(conversation).conversation for conversation in data]}
    secrets = [canary.secret for canary in canaries]
    for label, conversations in files.items():
        path = options.out / f"{label}.jsonl"
        write_jsonl(path, conversations)
        write_jsonl(path.with_suffix(".valid.jsonl"), conversations[:NUM_VALIDATION])
        text = path.read_text(encoding="utf-8")
        print(f"{label}: {sum(secret in text for secret in secrets)} of {len(secrets)} secrets in the data", flush=True)
    for label in files:
        train(options.out / f"{label}.jsonl", options.out / label, options)
        report(label, options.out / label, canaries, options.alternatives)


if __name__ == "__main__":
    main()
