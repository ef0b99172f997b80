"""A discriminator: a model with one output that is higher for replies of people than for generated ones.

It is a classifier with the single label "human". `text/tokenization/reply_tokenizer.py` says what it reads, so that
evaluation and serving (`app/discriminators.py`) compute the scores of training.

Shapes: P texts, N pairs, B rows, T tokens in a row.
"""

import copy
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from turnwise.models.classifier import Classifier, add_classifier
from turnwise.models.classifier_config import TextPooling
from turnwise.models.decoder_model import DecoderModel
from turnwise.models.discriminator_folder import DISCRIMINATOR_FOLDER, discriminator_config
from turnwise.models.encoder_model import EncoderModel
from turnwise.models.model_folders import find_model_folder
from turnwise.text.tokenization.reply_tokenizer import PROMPT_TOKENIZER, ReplyTokenizer
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.training.examples.batches import Batch, collate
from turnwise.training.examples.example import Example
from turnwise.training.examples.packing import pack_sequences
from turnwise.training.method import Method
from turnwise.training.methods.full import FullMethod
from turnwise.training.model_bundle import ModelBundle
from turnwise.training.optim.optimizers import build_optimizers

FOLDER = DISCRIMINATOR_FOLDER
MAX_TOKENS = 192  # of a text: the end of the context, and the reply
ROW_TOKENS = 1024  # tokens per row, with several texts
ROWS = 4  # rows per forward pass
MAX_GRAD_NORM = 1.0


@dataclass(frozen=True, slots=True)
class RepliedPrompt:
    """A context with a reply, as token ids of the generator and as text.

    Attributes:
        prompt_ids: the rendered prompt.
        reply_ids: the reply without the token that ends it.
        prompt: text of the prompt.
        reply: text of the reply.
    """

    prompt_ids: Sequence[int]
    reply_ids: Sequence[int]
    prompt: str
    reply: str


class Discriminator:
    """A trainable scorer of replies.

    Args:
        bundle: classifier with one label, and its tokenizer.
        method: the method that prepared its weights, which saves them.
        prompt_tokenizer: the tokenizer of the generator; None: it is that of the bundle.
        learning_rate: learning rate of AdamW.
    """

    def __init__(
        self, bundle: ModelBundle, method: Method, *, prompt_tokenizer: Tokenizer | None, learning_rate: float
    ) -> None:
        assert isinstance(bundle.model, Classifier), "it has a head"
        self.bundle, self.model, self._method = bundle, bundle.model, method
        max_tokens = min(MAX_TOKENS, self.model.context_length)
        self._tokenizer = ReplyTokenizer(bundle.tokenizer, max_tokens, prompt_tokenizer)
        self.optimizer = build_optimizers(
            self.model.module, name="adamw", learning_rate=learning_rate, weight_decay=0.01
        )[0]

    def scores(self, texts: Sequence[RepliedPrompt]) -> Tensor:
        """Score each reply, `(P,)`; higher: more like a person's."""
        self.model.module.eval()
        with torch.no_grad():
            return self._forward(texts)

    def update(self, human: Sequence[RepliedPrompt], generated: Sequence[RepliedPrompt]) -> tuple[float, float]:
        """Make one optimizer step on pairs; return the loss and the share of pairs that were ordered correctly.

        L = −1/N Σ log σ(D(human) − D(generated)), the loss of Bradley and Terry.
        """
        self.model.module.train()
        self.optimizer.zero_grad(set_to_none=True)
        scores_P = self._forward([*human, *generated])
        margins_N = scores_P[: len(human)] - scores_P[len(human) :]
        loss = -F.logsigmoid(margins_N).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        trainable = [p for p in self.model.module.parameters() if p.requires_grad]
        torch.nn.utils.clip_grad_norm_(trainable, MAX_GRAD_NORM)
        self.optimizer.step()
        return loss.item(), share_ordered(human, generated, margins_N.detach())

    def _forward(self, texts: Sequence[RepliedPrompt]) -> Tensor:
        ids = [self._encode(text) for text in texts]
        scores: list[Tensor] = []
        order: list[int] = []
        for rows in self._rows(ids):
            order += [index for row in rows for index in row]
            batch = self._collate([[ids[index] for index in row] for row in rows])
            vectors_PC = self.model.text_vectors(batch.ids_BT, batch.segment_ids_BT, batch.positions_BT)
            scores.append(self.model.logits(vectors_PC)[:, 0].float())
        positions = torch.empty(len(order), dtype=torch.long)
        positions[torch.tensor(order)] = torch.arange(len(order))
        return torch.cat(scores)[positions.to(scores[0].device)]

    def _encode(self, text: RepliedPrompt) -> list[int]:
        return self._tokenizer.encode(self._tokenizer.encode_prompt(text.prompt_ids), text.reply)

    def _rows(self, ids: Sequence[Sequence[int]]) -> Iterator[list[list[int]]]:
        """Indices of the texts of each row of each forward pass."""
        lengths = [len(text) for text in ids]
        if self.model.supports_packing:
            rows = pack_sequences(lengths, ROW_TOKENS, seed=0)
            size = ROWS
        else:
            rows = [[index] for index in sorted(range(len(ids)), key=lambda index: lengths[index])]
            size = ROWS * ROW_TOKENS // MAX_TOKENS
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    def _collate(self, rows: Sequence[Sequence[Sequence[int]]]) -> Batch:
        examples = [[Example.labelled(ids) for ids in row] for row in rows]
        device = next(self.model.module.parameters()).device
        return collate(examples, pad_id=self.bundle.tokenizer.pad_token_id).to(device)

    def state(self) -> dict[str, Tensor]:
        """Weights and optimizer state."""
        weights = {f"weight.{name}": p.detach().cpu().contiguous() for name, p in self._trainable()}
        moments = {
            f"optimizer.{index}.{key}": value.detach().cpu()
            for index, values in self.optimizer.state_dict()["state"].items()
            for key, value in values.items()
        }
        return {**weights, **moments}

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        for name, parameter in self._trainable():
            parameter.copy_(tensors[f"weight.{name}"])
        states: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".", 2)
                states.setdefault(int(index), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": states, "param_groups": groups})

    def _trainable(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        return ((name, p) for name, p in self.model.module.named_parameters() if p.requires_grad)

    def save(self, folder: Path) -> None:
        """Write it as a classifier folder, with the tokenizer of the prompts if it is another one."""
        self.model.config = replace(self.model.config, max_tokens=self._tokenizer.max_tokens)
        with tempfile.TemporaryDirectory() as name:
            files: dict[str, str | Path] = {}
            if self._tokenizer.prompt_tokenizer is not None:
                files[PROMPT_TOKENIZER] = Path(name)
                self._tokenizer.prompt_tokenizer.save(Path(name))
            self._method.save(folder, self.bundle, files)


def copy_of_generator(base: ModelBundle, method: Method, *, learning_rate: float, seed: int) -> Discriminator:
    """A discriminator that starts as a copy of the generator. Frozen weights are shared, so LoRA copies adapters only.

    Args:
        base: the model in training, prepared by its method.
        method: this method.
        learning_rate: learning rate of the discriminator.
        seed: seed of the head.
    """
    assert isinstance(base.model, DecoderModel), "objectives with a discriminator train our decoders"
    frozen = {id(p): p for p in base.model.module.parameters() if not p.requires_grad}
    module = copy.deepcopy(base.model.decoder, memo=dict(frozen))
    model = _with_head(DecoderModel(module, base.model.hf_config), seed, pooling="last")
    bundle = replace(base, model=model)
    return Discriminator(bundle, method, prompt_tokenizer=None, learning_rate=learning_rate)


def pretrained_encoder(
    source: str, prompt_tokenizer: Tokenizer, *, learning_rate: float, seed: int, device: torch.device
) -> Discriminator:
    """A discriminator that is a pre-trained encoder, all of whose weights are trained.

    Args:
        source: model folder, or the name of a pulled model.
        prompt_tokenizer: the tokenizer of the generator.
        learning_rate: learning rate.
        seed: seed of the head.
        device: where to compute.

    Raises:
        ModelNotFound: there is no such model.
        UserError: it is no encoder.
    """
    folder = find_model_folder(source)
    model = _with_head(EncoderModel.load(folder), seed, pooling="mean")
    model.module.to(device)
    bundle = ModelBundle(model, Tokenizer.load(folder), None, folder)
    return Discriminator(bundle, FullMethod(), prompt_tokenizer=prompt_tokenizer, learning_rate=learning_rate)


def _with_head(model: DecoderModel | EncoderModel, seed: int, *, pooling: TextPooling) -> Classifier:
    classifier = add_classifier(model, discriminator_config(pooling), 0.0, seed)
    classifier.head.to(next(model.module.parameters()).device)
    return classifier


def share_ordered(human: Sequence[RepliedPrompt], generated: Sequence[RepliedPrompt], margins_N: Tensor) -> float:
    """Share of pairs with D(human) > D(generated); a pair of equal replies, which nothing can order, counts half."""
    is_equal_N = torch.tensor([h.reply == g.reply for h, g in zip(human, generated, strict=True)])
    return float(torch.where(is_equal_N, 0.5, (margins_N.cpu() > 0).float()).mean())


def shuffle_labels(
    human: Sequence[RepliedPrompt], generated: Sequence[RepliedPrompt], seed: int
) -> tuple[list[RepliedPrompt], list[RepliedPrompt]]:
    """Swap the human and the generated reply of pairs at random: nothing can be learned from them (a placebo)."""
    generator = torch.Generator().manual_seed(seed)
    is_swapped = (torch.rand(len(human), generator=generator) < 0.5).tolist()
    pairs = [(g, h) if swap else (h, g) for h, g, swap in zip(human, generated, is_swapped, strict=True)]
    return [first for first, _ in pairs], [second for _, second in pairs]
