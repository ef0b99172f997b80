"""In-context learning: choose an instruction and demonstrations; no weight is trained (Brown et al. 2020).

Demonstrations come from the training data. Either one set serves all dialogues, chosen by validation loss, or each
dialogue gets demonstrations by its first user turn (`text.rendering.demonstration_selection`). The result is a model
folder whose chat template contains the prompt.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import ClassVar

import torch
from pydantic import Field, field_validator, model_validator

from turnwise.core.errors import InvalidData, InvalidParameter, TemplateError
from turnwise.core.messages import Conversation, Message
from turnwise.text.chat_templates.prompt_template import prepend_prompt
from turnwise.text.rendering.demonstration_selection import DEFAULT_SELECTION, SELECTIONS
from turnwise.text.rendering.demonstrations import Demonstrations
from turnwise.text.rendering.renderer import Renderer
from turnwise.training import method
from turnwise.training.examples.dataset import Dataset
from turnwise.training.examples.shards import in_memory_shard
from turnwise.training.hooks import TrainerHook
from turnwise.training.model_bundle import ModelBundle
from turnwise.training.objective import ExampleContext, Objective
from turnwise.training.validation import evaluate_loss

RANDOM_SETS, SIMILARITY = "score", "similarity"  # values of `selection` that are no plug-ins
MAX_SCORED_DIALOGUES = 64  # validation dialogues per set of demonstrations
CONTEXT_DIVISOR = 2  # demonstrations take at most this fraction of the context: 1 / CONTEXT_DIVISOR


@dataclass(frozen=True)
class PromptScorer:
    """Scores a prompt by the objective's loss on validation dialogues."""

    objective: Objective
    dialogues: Sequence[Conversation]
    size: int
    device: torch.device

    def loss(self, base: ModelBundle) -> float:
        """Return the mean loss per unit; dialogues are truncated only to the model's context."""
        context = ExampleContext(base.renderer, base.model.context_length, base.model.decoder_start_ids)
        shard = in_memory_shard(
            example for dialogue in self.dialogues for example in self.objective.examples(dialogue, context)
        )
        # Pack rows to the longest dialogue instead of the context, which can be very long.
        context = replace(context, length=int(shard.lengths.max(initial=1)))
        dataset = Dataset([shard], self.objective, context, base.model.supports_packing, self.size)
        held_out = evaluate_loss(base.model, dataset, size=self.size, device=self.device)
        if held_out is None:
            raise InvalidData("Prompts cannot be compared: no validation dialogue has an assistant turn.")
        return held_out.loss


class PromptMethod(method.Method):
    """An instruction and demonstrations before every dialogue.

    Attributes:
        instruction: system message for dialogues without one.
        shots: number of demonstrations.
        selection: "score": one set for all dialogues, the best of `num_candidates` random sets by validation loss; or
            a name in `demonstration_selection`: "best_on_validation" builds one set step by step, "nearest" (also
            called "similarity") and "diverse" choose for each dialogue.
        num_candidates: number of random sets to compare; with "best_on_validation", of candidates per demonstration.
    """

    SUMMARY: ClassVar[str] = "choose an instruction and demonstrations; no weight is trained"
    TRAINS_WEIGHTS: ClassVar[bool] = False
    SAVES_WEIGHTS: ClassVar[bool] = False

    instruction: str | None = None
    shots: int = Field(4, ge=0)
    selection: str = "score"
    num_candidates: int = Field(16, ge=1)

    @field_validator("selection")
    @classmethod
    def _check_selection(cls, name: str) -> str:
        if name not in (RANDOM_SETS, SIMILARITY):
            SELECTIONS.load(name)
        return name

    @model_validator(mode="after")
    def _require_content(self) -> "PromptMethod":
        if not self.shots and not self.instruction:
            raise ValueError("needs an 'instruction', or 'shots' of at least 1")
        return self

    def search_prompt(
        self,
        base: ModelBundle,
        train: Sequence[Conversation],
        scorer: PromptScorer,
        seed: int,
        hooks: Sequence[TrainerHook] = (),
    ) -> ModelBundle:
        """Return the base model with the best prompt in its chat template.

        Args:
            base: base model.
            train: dialogues to choose demonstrations from.
            scorer: scores a prompt.
            seed: seed of the random sets.
            hooks: receive the number and the loss of every set.

        Raises:
            InvalidData: too few dialogues are short enough.
            InvalidParameter: the chat template does not accept the instruction.
        """
        if special := [token for token in base.tokenizer.special_tokens if token in (self.instruction or "")]:
            raise InvalidParameter(
                "method.instruction",
                f"The instruction contains {special[0]}, a special token of this model: leave it out.",
            )
        if self.shots and self.selection != RANDOM_SETS:
            return self._with_selection(base, self._candidates(base, train), scorer, Random(seed), hooks)
        sets = self._random_sets(base, train, Random(seed)) if self.shots else [()]
        best: tuple[float, ModelBundle] | None = None
        for number, demonstrations in enumerate(sets, 1):
            prompted = self._with_fixed_prompt(base, demonstrations)
            loss = scorer.loss(prompted) if len(sets) > 1 else 0.0
            for hook in hooks:
                hook.on_prompt_scored(number, loss)
            if best is None or loss < best[0]:
                best = loss, prompted
        assert best is not None, "there is always a set"
        return best[1]

    def _with_selection(
        self,
        base: ModelBundle,
        candidates: tuple[tuple[Message, ...], ...],
        scorer: PromptScorer,
        rng: Random,
        hooks: Sequence[TrainerHook],
    ) -> ModelBundle:
        """Return the base model with demonstrations of the plug-in `selection`."""
        name = DEFAULT_SELECTION if self.selection == SIMILARITY else self.selection
        selection = SELECTIONS.load(name)
        if not hasattr(selection, "fit"):
            return self._with_retrieval(base, Demonstrations(candidates, self.shots, name))
        numbers = itertools.count(1)

        def loss(indices: Sequence[int]) -> float:
            value = scorer.loss(self._with_fixed_prompt(base, [candidates[index] for index in indices]))
            for hook in hooks:
                hook.on_prompt_scored(next(numbers), value)
            return value

        indices = selection.fit(len(candidates), self.shots, loss, rng, self.num_candidates)
        return self._with_fixed_prompt(base, [candidates[index] for index in indices])

    def _candidates(self, base: ModelBundle, train: Sequence[Conversation]) -> tuple[tuple[Message, ...], ...]:
        """Return dialogues that end with a reply, contain no special token and are short enough for `shots`."""
        tokenizer, max_tokens = base.tokenizer, base.model.context_length // CONTEXT_DIVISOR // max(1, self.shots)
        candidates = []
        for dialogue in train:
            messages = tuple(message for message in dialogue.messages if message.role in ("user", "assistant"))
            while messages and messages[-1].role != "assistant":
                messages = messages[:-1]
            text = "\n".join(message.content for message in messages)
            if len(messages) < 2 or any(token in text for token in tokenizer.special_tokens):
                continue
            if len(base.renderer.render(messages).ids) <= max_tokens:
                candidates.append(messages)
        if len(candidates) < self.shots:
            raise InvalidData(
                f"{self.shots} demonstrations are needed, but only {len(candidates)} training dialogues have at most "
                f"{max_tokens} tokens. Reduce 'shots'."
            )
        return tuple(candidates)

    def _random_sets(
        self, base: ModelBundle, train: Sequence[Conversation], rng: Random
    ) -> list[tuple[tuple[Message, ...], ...]]:
        candidates = self._candidates(base, train)
        return [tuple(rng.sample(candidates, self.shots)) for _ in range(self.num_candidates)]

    def _with_fixed_prompt(self, base: ModelBundle, demonstrations: Sequence[Sequence[Message]]) -> ModelBundle:
        template = prepend_prompt(base.renderer.chat_template, self.instruction, demonstrations)
        return self._check_template(replace(base, tokenizer=base.tokenizer.with_chat_template(template)))

    def _with_retrieval(self, base: ModelBundle, demonstrations: Demonstrations) -> ModelBundle:
        template = base.renderer.chat_template
        if self.instruction is not None:
            template = prepend_prompt(template, self.instruction)
        tokenizer = base.tokenizer.with_chat_template(template)
        tokenizer.demonstrations = demonstrations
        return self._check_template(replace(base, tokenizer=tokenizer))

    def _check_template(self, base: ModelBundle) -> ModelBundle:
        try:
            Renderer.from_tokenizer(base.tokenizer).render([Message("user", "?")], add_generation_prompt=True)
        except TemplateError as error:
            raise InvalidParameter(
                "method.instruction", f"The model's chat template does not accept this prompt: {error}"
            ) from error
        return base
