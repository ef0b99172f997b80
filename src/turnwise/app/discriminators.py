"""Opens the discriminators of adversarial tuning, which score replies in serving and evaluation as in training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from turnwise.app.classifiers import open_classifier
from turnwise.app.text_classifier import TextClassifier
from turnwise.chat.stepwise_executor import StepwiseExecutor
from turnwise.core.errors import UserError
from turnwise.core.reply_scoring import ScoredReply
from turnwise.core.steps import Steps, run_steps
from turnwise.core.system_memory import check_fits
from turnwise.models.discriminator_folder import check_discriminator, find_discriminator
from turnwise.models.model_kind import full_model_folder
from turnwise.models.tensor_files import TensorFiles
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.reply_tokenizer import ReplyTokenizer
from turnwise.text.tokenization.tokenizer import Tokenizer

BYTES_PER_WEIGHT = 4
REPLIES_PER_STEP = 16  # replies that are tokenized in a step


@dataclass(frozen=True)
class Discriminator:
    """Scores replies; higher: more like a person's (implements `core.reply_scoring.ReplyScorer`).

    Attributes:
        classifier: its model.
        tokenizer: tells which tokens it reads.
    """

    classifier: TextClassifier
    tokenizer: ReplyTokenizer

    @cached_property
    def _renderer(self) -> Renderer:
        return Renderer.from_tokenizer(self.tokenizer.generator_tokenizer)

    def score(self, replies: Sequence[ScoredReply]) -> list[float]:
        """Scores in the order of `replies`. Raises as `ReplyScorer.score` does."""
        return run_steps(self._score_sequences(self._sequences(replies)))

    def _sequences(self, replies: Sequence[ScoredReply]) -> Iterator[list[int]]:
        prompts: dict[tuple[object, ...], list[int]] = {}
        for reply in replies:
            key = reply.history, reply.tools
            if key not in prompts:
                rendered = self._renderer.render(reply.history, tools=reply.tools, add_generation_prompt=True)
                prompts[key] = self.tokenizer.encode_prompt(rendered.ids)
            yield self.tokenizer.encode(prompts[key], reply.reply)

    def score_in_steps(self, prompt_ids: Sequence[int], replies: Sequence[str]) -> Steps[list[float]]:
        """Scores of replies to one prompt. A step tokenizes some of the replies or computes a batch.

        Args:
            prompt_ids: token ids of the prompt in the vocabulary of the generator.
            replies: texts of the replies.

        Raises:
            TurnwiseError: a score is not finite.
        """
        prompt = self.tokenizer.encode_prompt(prompt_ids)
        return (yield from self._score_sequences(self.tokenizer.encode(prompt, reply) for reply in replies))

    def _score_sequences(self, sequences: Iterator[list[int]]) -> Steps[list[float]]:
        encoded: list[list[int]] = []
        for sequence in sequences:
            encoded.append(sequence)
            if len(encoded) % REPLIES_PER_STEP == 0:
                yield
        logits_NL = yield from self.classifier.sequence_logits_in_steps(encoded)
        scores: list[float] = logits_NL[:, 0].tolist()
        return scores


@dataclass(frozen=True)
class DiscriminatorRanker:
    """Scores the choices of requests in a thread (implements `core.reply_scoring.ChoiceRanker`)."""

    discriminator: Discriminator
    executor: StepwiseExecutor = field(default_factory=lambda: StepwiseExecutor("discriminator"))

    async def score(self, prompt_ids: Sequence[int], replies: Sequence[str], *, tenant: str) -> list[float]:
        """Scores in the order of `replies`. Raises as `ChoiceRanker.score` does."""
        return await self.executor.run(tenant, self.discriminator.score_in_steps(prompt_ids, replies))


def open_discriminator(folder: Path, *, threads: int | None = None) -> Discriminator:
    """Open a discriminator.

    Args:
        folder: its folder.
        threads: number of threads; None is the default of the engine.

    Raises:
        UserError: the folder holds no discriminator, or a damaged one, or the memory is too small.
    """
    check_discriminator(folder)
    size = BYTES_PER_WEIGHT * TensorFiles(full_model_folder(folder)).num_elements
    check_fits(size, f"The discriminator in {folder}")
    classifier = open_classifier(str(folder), threads=threads)
    return Discriminator(classifier, ReplyTokenizer.load(folder, classifier.tokenizer, classifier.max_tokens))


def open_ranker(model: Path, tokenizer: Tokenizer, *, threads: int | None = None) -> DiscriminatorRanker:
    """Open the discriminator in a model folder to rank choices of the model.

    Args:
        model: the model folder.
        tokenizer: the tokenizer that the model is served with.
        threads: as for `open_discriminator`.

    Raises:
        UserError: the model has no discriminator, or that of a model with another vocabulary.
    """
    discriminator = open_discriminator(find_discriminator(model), threads=threads)
    if discriminator.tokenizer.generator_tokenizer.backend.get_vocab() != tokenizer.backend.get_vocab():
        raise UserError(f"The discriminator in {model} was trained with a model that has another vocabulary.")
    return DiscriminatorRanker(discriminator)
