"""What an objective is: how items become examples, and what a model's loss on a batch of them is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from turnwise.core.messages import Conversation
from turnwise.core.strict_model import StrictModel
from turnwise.data.sources import Document
from turnwise.models.language_model import LanguageModel, ModelKind
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.training.examples.batches import Batch, Example
from turnwise.training.examples.dialogue_windows import TruncationReport
from turnwise.training.log_probs import cross_entropy_sum


@dataclass(frozen=True)
class ExampleContext:
    """What examples are made for.

    Attributes:
        renderer: the tokenizer and its template.
        length: tokens in a row.
        start_ids: what a decoder that has an encoder begins every answer with.
        truncation: counts what does not fit.
    """

    renderer: Renderer
    length: int
    decoder_start_ids: tuple[int, ...] = ()
    truncation: TruncationReport = field(default_factory=TruncationReport, compare=False)

    def for_item(self, item: Conversation | Document) -> "ExampleContext":
        """The frame whose renderer knows the tools of this dialogue."""
        if isinstance(item, Document) or not item.tools:
            return self
        return replace(self, renderer=self.renderer.with_tools(item.tools))

    @property
    def tokenizer(self) -> Tokenizer:
        """The renderer's tokenizer."""
        return self.renderer.tokenizer


@dataclass(frozen=True)
class LossOutput:
    """A loss, summed over a batch, and further figures to watch, likewise summed."""

    summed: Tensor
    extra_metrics: dict[str, float] = field(default_factory=dict)


class Objective(StrictModel):
    """An objective; its fields are its options in a recipe.

    Losses are sums, so that a step gives the same gradient whatever the number of rows that are read at a time: what
    they are divided by (`share`) is added up over all of a step's batches.
    """

    MODEL_KINDS: ClassVar[frozenset[ModelKind]] = frozenset({"decoder"})  # the models that it trains
    EMPTY_MESSAGE: ClassVar[str] = "no text"  # what data has, that there is nothing to learn from in
    UNIT: ClassVar[str] = "token"  # what its loss is reported by
    EXTRA_METRICS: ClassVar[tuple[str, ...]] = ()  # what else it watches
    NEEDS_REFERENCE: ClassVar[bool] = False  # whether it needs to know what the model thought before it was trained

    def examples(self, item: Conversation | Document, frame: ExampleContext) -> Iterator[Example]:
        """The examples in a conversation or document, none longer than a row.

        Raises:
            InvalidData: an item of a kind that cannot be learned from.
        """
        raise NotImplementedError

    def balance_labels(self, labels: NDArray[np.float32]) -> NDArray[np.float32]:
        """The labels of a whole split, weighed against each other."""
        return labels

    def kl_example(self, example: Example, other: Example, frame: ExampleContext) -> Example | None:  # noqa: ARG002
        """What an example is compared with, made of it and another; None where it is compared with nothing."""
        return None

    def augment(self, example: Example, rng: np.random.Generator, frame: ExampleContext) -> Example:  # noqa: ARG002
        """The example as this epoch shows it."""
        return example

    def special_tokens(self) -> Sequence[str]:
        """Special tokens that a new model's tokenizer gets for it."""
        return ()

    def check(self, tokenizer: Tokenizer) -> None:
        """Raise `UserError` where the tokenizer lacks what the objective needs."""

    def batch_statistic(self, model: LanguageModel, batches: Sequence[Batch]) -> tuple[float, float]:  # noqa: ARG002
        """A sum over all of a step's batches, and a count, that the loss of each needs; no gradient flows through."""
        return 0.0, 0.0

    def reduce_statistic(self, total: float, count: float) -> float:  # noqa: ARG002
        """What `loss` gets of the sum and the count, added up over all of a step."""
        return 0.0

    def loss(self, model: LanguageModel, batch: Batch, before: float = 0.0) -> LossOutput:  # noqa: ARG002
        """The loss summed over the batch.

        Args:
            model: what is trained.
            batch: some rows.
            before: what `before_step` came to (`settled`), of the step that these rows belong to.
        """
        return LossOutput(cross_entropy_sum(model, batch))

    def share(self, batch: Batch) -> float:
        """What a step's loss is divided by: this batch's part of it."""
        return batch.counted

    def metric_denominator(self, batch: Batch) -> float:
        """What the loss that is shown and compared is divided by."""
        return batch.counted
