"""Base class of objectives: how a dialogue or text becomes token examples, and the loss of a batch of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from turnwise.core.messages import Conversation
from turnwise.core.strict_model import StrictModel
from turnwise.data.annotations.annotated import Annotated, AnnotationKind
from turnwise.data.rows import Document
from turnwise.models.language_model import LanguageModel, ModelKind
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.training.examples.batches import Batch
from turnwise.training.examples.dialogue_windows import TruncationReport
from turnwise.training.examples.example import Example
from turnwise.training.log_probs import cross_entropy_sum
from turnwise.training.model_bundle import ModelBundle
from turnwise.training.recipe_sections import DEFAULT_LEARNING_RATE

if TYPE_CHECKING:
    from turnwise.training.plan import TrainingPlan
    from turnwise.training.rollouts.rollout_source import RolloutSource

Item = Conversation | Document | Annotated
"""What the data of a run consist of."""


@dataclass(frozen=True)
class ExampleContext:
    """What an objective needs to build examples.

    Attributes:
        renderer: renders messages with the model's tokenizer and chat template.
        length: maximum sequence length in tokens.
        decoder_start_ids: token ids that start every decoder sequence of an encoder–decoder model.
        truncation: counts what is cut off or left out.
    """

    renderer: Renderer
    length: int
    decoder_start_ids: tuple[int, ...] = ()
    truncation: TruncationReport = field(default_factory=TruncationReport, compare=False)

    def for_item(self, item: Item) -> "ExampleContext":
        """Return a context whose renderer includes the conversation's tool definitions."""
        if not isinstance(item, Conversation) or not item.tools:
            return self
        return replace(self, renderer=self.renderer.with_tools(item.tools))

    @property
    def tokenizer(self) -> Tokenizer:
        """The renderer's tokenizer."""
        return self.renderer.tokenizer


@dataclass(frozen=True)
class LossOutput:
    """The loss of a batch.

    Attributes:
        loss_sum: loss summed over the batch, a scalar with gradient.
        extra_metrics: further values to log, also summed over the batch.
    """

    loss_sum: Tensor
    extra_metrics: dict[str, float] = field(default_factory=dict)


class Objective(StrictModel):
    """Base class of objectives. The fields of a subclass are its options in a recipe.

    An objective may predict vocabulary ids (`Example.targets`), or labels of tokens or segments under names that it
    chooses (`Example.token_labels`, `Example.segment_labels`): class ids, scalars or vectors. Objectives with labels
    override `loss`, `loss_denominator` and `metric_denominator`.

    Losses are sums. The trainer divides by `loss_denominator`, summed over all batches of a step, so the gradient does
    not depend on the micro-batch size.

    Attributes:
        MODEL_KINDS: model kinds that the objective trains.
        EMPTY_MESSAGE: reason shown when no example could be built.
        UNIT: unit of the reported loss, such as "token" or "pair".
        EXTRA_METRICS: names of further values, summed over batches like the loss.
        READS_ANNOTATIONS: "labels" or "tags" if the data are texts with them (`data/annotations`); None: dialogues.
        ADDS_HEAD: True if the objective adds new weights; the model before the first step is then no result.
        METHODS: names of the methods that train what the objective adds to the model; None: all.
        LEARNING_RATE: default peak learning rate.
        NEEDS_REFERENCE: True if the loss uses log-probabilities of the model before training.
        PACKS_EXAMPLES: False if a row has to be one example, because steps are counted in examples.
        TEXTS_PER_ROW: texts of one example that share a row and its length.
        DETECTS_LOSS_SPIKES: False if the loss may grow or change its sign in a healthy run.
        ADDS_PENALTY: True if the loss adds a penalty to the cross-entropy of replies. The loss on retention data is
            then measured without it, as in SFT.
    """

    MODEL_KINDS: ClassVar[frozenset[ModelKind]] = frozenset({"decoder"})
    EMPTY_MESSAGE: ClassVar[str] = "no text"
    UNIT: ClassVar[str] = "token"
    EXTRA_METRICS: ClassVar[tuple[str, ...]] = ()
    LEARNING_RATE: ClassVar[float] = DEFAULT_LEARNING_RATE
    NEEDS_REFERENCE: ClassVar[bool] = False
    ADDS_PENALTY: ClassVar[bool] = False
    READS_ANNOTATIONS: ClassVar[AnnotationKind | None] = None
    ADDS_HEAD: ClassVar[bool] = False
    METHODS: ClassVar[tuple[str, ...] | None] = None
    PACKS_EXAMPLES: ClassVar[bool] = True
    TEXTS_PER_ROW: ClassVar[int] = 1
    DETECTS_LOSS_SPIKES: ClassVar[bool] = True

    @property
    def samples_replies(self) -> bool:
        """True if a step trains on replies that the model samples itself."""
        return type(self).open_rollouts is not Objective.open_rollouts

    @property
    def num_context_words(self) -> int:
        """Words before and after a sentence that the objective uses."""
        return 0

    @property
    def num_window_words(self) -> int:
        """Words of neighbouring sentences that the objective takes as one sentence; 0: each sentence on its own."""
        return 0

    def fit_labels(self, items: Iterable[Item]) -> "Objective":  # noqa: ARG002
        """Return the objective with what it has to know about the training data, such as the set of labels.

        Raises:
            InvalidData: the data do not suit the objective.
        """
        return self

    def add_head(self, base: ModelBundle, seed: int) -> ModelBundle:  # noqa: ARG002
        """Return the model with the new weights that the objective needs, such as a classification head."""
        return base

    def validation_metrics(self, extra_metrics: Mapping[str, float]) -> Mapping[str, float]:
        """The metrics to report of a validation, from its extra metrics per unit."""
        return extra_metrics

    def validation_score(self, loss: float, metrics: Mapping[str, float]) -> float:  # noqa: ARG002
        """What early stopping compares; lower is better. `metrics` are those of `validation_metrics`."""
        return loss

    def examples(self, item: Any, context: ExampleContext) -> Iterator[Example]:
        """Yield the examples of an item, none longer than `context.length` tokens.

        Args:
            item: a conversation or document; an annotated text if `READS_ANNOTATIONS`.
            context: what is needed to build examples.

        Raises:
            InvalidData: the objective cannot train on this kind of item.
        """
        raise NotImplementedError

    def balance_labels(self, name: str, labels: NDArray[Any]) -> NDArray[Any]:  # noqa: ARG002
        """Return the segment labels called `name` of a split, rescaled by class weights."""
        return labels

    def kl_example(
        self,
        example: Example,  # noqa: ARG002
        answer_example: Example,  # noqa: ARG002
        context: ExampleContext,  # noqa: ARG002
    ) -> Example | None:
        """Return an example for estimating the KL divergence; None if not needed.

        Args:
            example: its prompt is used.
            answer_example: its answer is used.
            context: the context that the examples were built with.
        """
        return None

    def augment(self, example: Example, rng: np.random.Generator, context: ExampleContext) -> Example:  # noqa: ARG002
        """Return the example as one epoch uses it, for example with new random masks."""
        return example

    def open_rollouts(self, plan: "TrainingPlan") -> "RolloutSource | None":  # noqa: ARG002
        """Return the source of replies that the model samples itself; None if it trains on the data alone."""
        return None

    def special_tokens(self) -> Sequence[str]:
        """Special tokens that the tokenizer of a new model needs for this objective."""
        return ()

    def check(self, tokenizer: Tokenizer) -> None:
        """Raise `UserError` if the tokenizer lacks a token that the objective needs."""

    def batch_statistic(self, model: LanguageModel, batches: Sequence[Batch]) -> tuple[float, float]:  # noqa: ARG002
        """Return (sum, count) over the batches of a step, without gradient; input of `reduce_statistic`."""
        return 0.0, 0.0

    def reduce_statistic(self, total: float, count: float) -> float:  # noqa: ARG002
        """Reduce (sum, count) of all micro-batches and workers to the value passed to `loss`."""
        return 0.0

    def loss(self, model: LanguageModel, batch: Batch, statistic: float = 0.0) -> LossOutput:  # noqa: ARG002
        """Compute the loss summed over the batch.

        Args:
            model: the model in training.
            batch: packed examples.
            statistic: result of `reduce_statistic` for the optimizer step of this batch.
        """
        return LossOutput(cross_entropy_sum(model, batch))

    def loss_denominator(self, batch: Batch) -> float:
        """This batch's part of the divisor of a step's loss."""
        return batch.target_weight

    def metric_denominator(self, batch: Batch) -> float:
        """This batch's part of the divisor of the reported loss."""
        return batch.target_weight
