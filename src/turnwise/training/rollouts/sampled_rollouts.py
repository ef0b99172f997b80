"""The common part of all sources of sampled replies: prompts, held-out replies with their guards, batches."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from torch import Tensor

from turnwise.core.errors import InvalidParameter
from turnwise.models.decoder_model import DecoderModel
from turnwise.training.examples.batches import Batch, collate
from turnwise.training.examples.example import Example
from turnwise.training.examples.packing import pack_sequences
from turnwise.training.methods.prompt_tuning import SUPPRESS_KEY
from turnwise.training.plan import TrainingPlan
from turnwise.training.rollouts import reply_statistics
from turnwise.training.rollouts.discriminator import RepliedPrompt
from turnwise.training.rollouts.gates import check_reply
from turnwise.training.rollouts.guards import GuardLimits, Guards, ReplyFigures
from turnwise.training.rollouts.reply_sampler import MAX_SEED, ReplySampler, SampledReply
from turnwise.training.rollouts.rollout_source import RolloutSource
from turnwise.training.rollouts.shared_prompt import share_prompt
from turnwise.training.validation import StopRequested

VALIDATION_SEED = 2**20  # far from the step numbers, which seed the samples of training


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt with the human reply.

    Attributes:
        example: the training example, with the human reply as targets.
        human: prompt and human reply.
        end_id: the token that ends the human reply.
    """

    example: Example
    human: RepliedPrompt
    end_id: int


class SampledRollouts(RolloutSource):
    """Base class of the sources: samples replies with the current weights and watches held-out ones.

    Args:
        plan: the run.
        max_reply_tokens: longest reply.
        num_validation_prompts: held-out prompts whose replies are watched.
        limits: limits of the guards.
        watches_discriminator: as `Guards` takes it.

    Raises:
        InvalidParameter: there are several workers, or transformers computes the model.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        *,
        max_reply_tokens: int,
        num_validation_prompts: int,
        limits: GuardLimits,
        watches_discriminator: bool = True,
    ) -> None:
        base = plan.base
        if plan.workers.world_size > 1:
            raise InvalidParameter("objective", "Objectives that sample replies train on one worker. Remove --workers.")
        if not isinstance(base.model, DecoderModel):
            raise InvalidParameter(
                "objective", "Objectives that sample replies train models that Turnwise computes itself, not this one."
            )
        self.plan, self.model, self.tokenizer = plan, base.model, base.tokenizer
        self._max_example_tokens = plan.data.train.context.length // plan.recipe.objective.TEXTS_PER_ROW
        self.sampler = ReplySampler(
            base.model, plan.recipe.method, base.tokenizer, max_reply_tokens, self._max_example_tokens,
            suppressed=(base.generation or {}).get(SUPPRESS_KEY) or (),
        )  # fmt: skip
        self.guards = Guards(limits, watches_discriminator=watches_discriminator)
        valid = plan.data.valid
        self._valid_prompts = [
            self.prompt(valid.example(index))
            for index in islice(valid.epoch_indices(0).tolist(), num_validation_prompts)
        ]

    def step_seed(self, step: int) -> int:
        """Seed of the random numbers of a step; every seed of a run has its own."""
        return (self.plan.recipe.training.seed * 100_003 + step) % MAX_SEED

    def prompt(self, example: Example) -> Prompt:
        """Read prompt and human reply from an example that ends with the reply."""
        mask = example.target_mask
        first, last = int(mask.argmax()), len(mask) - 1 - int(mask[::-1].argmax())
        ids = example.ids.tolist()
        reply_ids, end_id = ids[first + 1 : last + 1], int(example.targets[last])
        if end_id not in self.tokenizer.stop_ids:  # the reply was cut off
            reply_ids, end_id = [*reply_ids, end_id], next(iter(sorted(self.tokenizer.stop_ids)))
        decode = self.tokenizer.decode
        human = RepliedPrompt(ids[: first + 1], reply_ids, decode(ids[: first + 1]), decode(reply_ids).strip())
        return Prompt(example, human, end_id)

    def sample(self, prompts: Sequence[Prompt], num_samples: int, seed: int) -> list[list[SampledReply]]:
        """Sample replies to prompts with the weights of the last `sampler.sync`."""
        ids = [prompt.human.prompt_ids for prompt in prompts]
        return self.sampler.sample(ids, num_samples, seed)

    def sampled_example(self, prompt: Prompt, reply: SampledReply) -> Example:
        """The prompt with a sampled reply, trained on the reply. A reply that fills the row loses its end token."""
        ids = [*prompt.human.prompt_ids, *reply.token_ids, *([prompt.end_id] if reply.is_complete else [])]
        ids = ids[: self._max_example_tokens]
        return Example.causal(ids, np.arange(len(ids)) >= len(prompt.human.prompt_ids))

    def join(self, prompt: Prompt, examples: Sequence[Example]) -> list[Example]:
        """Replies to a prompt as one example, so that the prompt is computed once. A sliding window forbids it."""
        num_prompt_tokens = len(prompt.human.prompt_ids)
        if len(examples) < 2 or num_prompt_tokens < 2 or self.model.decoder.config.windowed_layers:
            return list(examples)
        return [share_prompt(examples, num_prompt_tokens)]

    def pack(self, examples: Sequence[Example], micro_batch_size: int) -> list[Batch]:
        """Collate examples into micro-batches of rows that hold several."""
        sizes = [example.size for example in examples]
        rows = pack_sequences(sizes, max(self.plan.data.train.context.length, *sizes), seed=0)
        pad_id = self.tokenizer.pad_token_id
        return [
            collate([[examples[i] for i in row] for row in rows[start : start + micro_batch_size]], pad_id=pad_id)
            for start in range(0, len(rows), micro_batch_size)
        ]

    def validate(self, step: int, loss: float) -> Mapping[str, float]:
        """Measure replies to the held-out prompts, the same ones with the same random numbers every time."""
        if not self._valid_prompts:
            return {}
        self.sampler.sync()
        replies = [replies[0] for replies in self.sample(self._valid_prompts, 1, VALIDATION_SEED)]
        figures = self._figures(replies, loss)
        if step == 0:
            self.guards.start = figures
        elif self.stop_reason is None:
            self.stop_reason = self.guards.check(figures)
        return figures.as_metrics()

    @property
    def start_metrics(self) -> Mapping[str, float]:
        """Figures of the held-out replies before the first step."""
        return {} if self.guards.start is None else self.guards.start.as_metrics()

    def _figures(self, replies: Sequence[SampledReply], loss: float) -> ReplyFigures:
        humans = [prompt.human for prompt in self._valid_prompts]
        texts = [reply.text for reply in replies]
        gates = [
            check_reply(reply.text, human.reply, human.prompt, is_complete=reply.is_complete).is_passed
            for reply, human in zip(replies, humans, strict=True)
        ]
        return ReplyFigures(
            distinct_2=reply_statistics.distinct_2(texts),
            self_bleu=reply_statistics.self_bleu(texts),
            mean_words=reply_statistics.mean_words(texts),
            gate_pass=sum(gates) / len(gates),
            chrf=reply_statistics.chrf(texts, [human.reply for human in humans]),
            pair_accuracy=self.pair_accuracy(humans, with_replies(self._valid_prompts, replies)),
            loss=loss,
        )

    def held_out_accuracy(self) -> float | None:
        """Share of pairs of held-out prompts that the discriminator orders correctly; None without any."""
        if not self._valid_prompts:
            return None
        replies = [replies[0] for replies in self.sample(self._valid_prompts, 1, VALIDATION_SEED)]
        humans = [prompt.human for prompt in self._valid_prompts]
        return self.pair_accuracy(humans, with_replies(self._valid_prompts, replies))

    def pair_accuracy(self, human: Sequence[RepliedPrompt], generated: Sequence[RepliedPrompt]) -> float | None:  # noqa: ARG002
        """Share of held-out pairs that the discriminator orders correctly; None without one."""
        return None

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The guards; a subclass adds its models."""
        return {}, {"guards": self.guards.state(), "stop_reason": self.stop_reason}

    def load_state(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Restore what `state` returned."""
        self.guards.load_state(values["guards"])
        self.stop_reason = values["stop_reason"]

    def close(self) -> None:
        """Free the engine."""
        self.sampler.close()


def with_replies(prompts: Sequence[Prompt], replies: Sequence[SampledReply]) -> list[RepliedPrompt]:
    """Prompts with sampled replies."""
    return [
        RepliedPrompt(prompt.human.prompt_ids, reply.token_ids, prompt.human.prompt, reply.text)
        for prompt, reply in zip(prompts, replies, strict=True)
    ]


def check_stop(stop: Callable[[], bool]) -> None:
    """Raise `StopRequested` if `stop` returns True."""
    if stop():
        raise StopRequested
