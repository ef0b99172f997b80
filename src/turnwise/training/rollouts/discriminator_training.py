"""Trains a discriminator on pairs of human and sampled replies: before the first step, and after every step."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from turnwise.training.plan import TrainingPlan
from turnwise.training.rollouts.discriminator import (
    Discriminator,
    RepliedPrompt,
    copy_of_generator,
    pretrained_encoder,
    share_ordered,
    shuffle_labels,
)
from turnwise.training.rollouts.reply_sampler import SampledReply
from turnwise.training.rollouts.rollout_source import OnProgress
from turnwise.training.rollouts.sampled_rollouts import Prompt, SampledRollouts, check_stop, with_replies

COPY = "copy"
WARM_UP_SEED = 2**21  # number of the first warm-up step, far from those of training
CHECK_STEPS = 20  # warm-up steps between two measurements of the held-out accuracy
NUM_WARM_UP_SAMPLES = 2  # per prompt, of which the one with the length nearest to the human reply is used


def open_discriminator(plan: TrainingPlan, source: str, learning_rate: float | None) -> Discriminator:
    """A new discriminator.

    Args:
        plan: the run; its model is the generator.
        source: "copy" for a copy of the generator, or the folder or name of an encoder.
        learning_rate: None: 2e-5 for an encoder; a copy gets twice the rate of the generator.

    Raises:
        ModelNotFound: there is no such encoder.
    """
    training = plan.recipe.training
    if source == COPY:
        rate = 2 * training.learning_rate if learning_rate is None else learning_rate
        return copy_of_generator(plan.base, plan.recipe.method, learning_rate=rate, seed=training.seed)
    rate = 2e-5 if learning_rate is None else learning_rate
    return pretrained_encoder(source, plan.base.tokenizer, learning_rate=rate, seed=training.seed, device=plan.device)


def nearest_in_length(prompt: Prompt, replies: Sequence[SampledReply]) -> SampledReply:
    """The reply with the length nearest to the human one, so that length alone does not tell them apart."""
    size = len(prompt.human.reply_ids)
    return min(replies, key=lambda reply: abs(len(reply.token_ids) - size))


class DiscriminatorTraining:
    """Updates a discriminator.

    Args:
        rollouts: samples replies.
        discriminator: what is trained.
        has_shuffled_labels: draw at random which reply of a pair counts as human: a placebo.
    """

    def __init__(
        self, rollouts: SampledRollouts, discriminator: Discriminator, *, has_shuffled_labels: bool = False
    ) -> None:
        self._rollouts, self.discriminator = rollouts, discriminator
        self._has_shuffled_labels = has_shuffled_labels

    def update(
        self, prompts: Sequence[Prompt], groups: Sequence[Sequence[SampledReply]], step: int
    ) -> tuple[float, float]:
        """Make a step on one pair per prompt; return the loss and the share of pairs ordered correctly."""
        chosen = [nearest_in_length(prompt, group) for prompt, group in zip(prompts, groups, strict=True)]
        human, generated = [prompt.human for prompt in prompts], with_replies(prompts, chosen)
        if self._has_shuffled_labels:
            human, generated = shuffle_labels(human, generated, self._rollouts.step_seed(step))
        return self.discriminator.update(human, generated)

    def pair_accuracy(self, human: Sequence[RepliedPrompt], generated: Sequence[RepliedPrompt]) -> float:
        """Share of pairs that the discriminator orders correctly; half of the pairs of equal replies count."""
        scores_P = self.discriminator.scores([*human, *generated])
        return share_ordered(human, generated, scores_P[: len(human)] - scores_P[len(human) :])

    def warm_up(
        self, *, steps: int, pairs: int, accuracy: float, on_progress: OnProgress, stop: Callable[[], bool]
    ) -> None:
        """Train until the held-out accuracy is reached, at most `steps` steps of `pairs` pairs.

        Raises:
            StopRequested: `stop` returned True.
        """
        rollouts = self._rollouts
        rollouts.sampler.sync()
        prompts = self._prompts()
        for start in range(0, steps, CHECK_STEPS):
            size = min(CHECK_STEPS, steps - start)
            chunk = list(islice(prompts, size * pairs))
            groups = rollouts.sample(chunk, NUM_WARM_UP_SAMPLES, rollouts.step_seed(WARM_UP_SEED + start))
            for number in range(size):
                check_stop(stop)
                step_pairs = slice(number * pairs, (number + 1) * pairs)
                self.update(chunk[step_pairs], groups[step_pairs], WARM_UP_SEED + start + number)
                on_progress("steps of the discriminator", start + number + 1, steps)
            if (held_out := rollouts.held_out_accuracy()) is not None and held_out >= accuracy:
                return

    def _prompts(self) -> Iterator[Prompt]:
        """Prompts of the training data in the order of training."""
        train = self._rollouts.plan.data.train
        return (self._rollouts.prompt(train.example(i, row.epoch)) for row in train.stream() for i in row.examples)
