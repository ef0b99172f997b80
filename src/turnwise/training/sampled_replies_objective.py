"""Base classes of the objectives that train on replies which the model samples itself."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

from pydantic import Field

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation
from turnwise.data.rows import Document
from turnwise.training.examples.batches import Batch
from turnwise.training.examples.example import Example
from turnwise.training.examples.preference_pairs import completion_examples
from turnwise.training.objective import ExampleContext, Objective
from turnwise.training.rollouts.guards import GuardLimits


class SampledRepliesObjective(Objective):
    """Base class: an example is a prompt with its human reply, and guards watch sampled replies.

    Attributes:
        max_reply_tokens: longest sampled reply.
        num_validation_prompts: held-out prompts whose replies the guards watch.
        distinct_2_fall: the run ends if distinct-2 of these replies falls by more, relative to the start.
        length_drift: the run ends if their mean length changes by more, relative to the start.
        gate_pass_fall: the run ends if the share that passes the gates falls by more.
        loss_rise: the run ends if the cross-entropy of human replies rises by more, in nats per token.
    """

    EMPTY_MESSAGE: ClassVar[str] = "no conversation with an assistant turn after a user turn"
    LEARNING_RATE: ClassVar[float] = 2e-5
    PACKS_EXAMPLES: ClassVar[bool] = False
    DETECTS_LOSS_SPIKES: ClassVar[bool] = False

    max_reply_tokens: int = Field(96, ge=4)
    num_validation_prompts: int = Field(200, ge=0)
    distinct_2_fall: float = Field(0.05, gt=0)
    length_drift: float = Field(0.15, gt=0)
    gate_pass_fall: float = Field(0.05, gt=0)
    loss_rise: float = Field(0.05, gt=0)

    @property
    def guard_limits(self) -> GuardLimits:
        """Limits of the guards."""
        return GuardLimits(self.distinct_2_fall, self.length_drift, self.gate_pass_fall, self.loss_rise)

    def examples(self, item: Conversation | Document, context: ExampleContext) -> Iterator[Example]:
        """Yield an example per reply of a dialogue: its prompt and the reply."""
        if isinstance(item, Document):
            raise InvalidData("This objective needs dialogues, but this row is plain text. Use 'clm' for plain text.")
        context = context.for_item(item)
        length = context.length // self.TEXTS_PER_ROW
        for index, message in enumerate(item.messages):
            if index and message.role == "assistant" and message.weight > 0 and not message.tool_calls:
                yield from completion_examples([item.messages[: index + 1]], index, context, length) or ()

    def validation_score(self, loss: float, metrics: Mapping[str, float]) -> float:
        """Minus the sum of chrF and gate pass of the held-out replies, both from 0 to 1; the loss without any."""
        return -(metrics["chrf"] / 100 + metrics["gate_pass"]) if "chrf" in metrics else loss

    def metric_denominator(self, batch: Batch) -> float:
        """As `loss_denominator`."""
        return self.loss_denominator(batch)


class DiscriminatorObjective(SampledRepliesObjective):
    """Base class of objectives with a discriminator.

    Attributes:
        discriminator: "copy" for a copy of the model, or the folder or name of an encoder, such as minilm.
        discriminator_learning_rate: its learning rate. Default: 2e-5 for an encoder, twice the model's for a copy.
        warm_up_steps: most steps of the discriminator before the first step of the model.
        warm_up_accuracy: share of held-out pairs that ends the warm-up.
    """

    discriminator: str = "copy"
    discriminator_learning_rate: float | None = Field(None, gt=0, lt=1)
    warm_up_steps: int = Field(200, ge=0)
    warm_up_accuracy: float = Field(0.8, gt=0.5, le=1)
