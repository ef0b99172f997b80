"""Prompting: no weight learns; the model is told what to do, or shown how others did it (Brown et al. 2020).

Zero-shot: an instruction. Few-shot: demonstrations from the training data, either one set for all, the best of several
by the loss on validation data, or for every dialogue those whose first user turn is most like its own. What comes out
is a model folder whose template says the prompt.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator

from turnwise.core.errors import InvalidData, InvalidParameter, TemplateError
from turnwise.core.messages import Conversation, Message
from turnwise.text.chat_templates.prompt_template import prepend_prompt
from turnwise.text.rendering.demonstrations import Demonstrations
from turnwise.text.rendering.renderer import Renderer
from turnwise.training import method
from turnwise.training.examples.dataset import Dataset
from turnwise.training.examples.shards import in_memory_shard
from turnwise.training.model_bundle import ModelBundle
from turnwise.training.objective import ExampleContext, Objective
from turnwise.training.validation import evaluate_loss

MOST = 64  # dialogues that a set of demonstrations is judged on
SHARE = 2  # demonstrations get at most the context divided by this


@dataclass(frozen=True)
class PromptScorer:
    """Says how well a prompt does: the objective's loss on some dialogues."""

    objective: Objective
    dialogues: Sequence[Conversation]
    size: int
    device: torch.device

    def loss(self, base: ModelBundle) -> float:
        """The loss per unit, every dialogue whole."""
        context = ExampleContext(base.renderer, base.model.context_length, base.model.decoder_start_ids)
        shard = in_memory_shard(
            example for talk in self.dialogues for example in self.objective.examples(talk, context)
        )
        # Rows as long as the longest dialogue, not as the context, which may be huge.
        context = replace(context, length=int(shard.lengths.max(initial=1)))
        dataset = Dataset([shard], self.objective, context, base.model.supports_packing, self.size)
        found = evaluate_loss(base.model, dataset, size=self.size, device=self.device)
        if found is None:
            raise InvalidData("There is nothing to judge prompts by: no validation dialogue has an assistant turn.")
        return found.loss


class Method(method.Method):
    """What is said before every dialogue.

    Attributes:
        instruction: a system message, for dialogues that bring none.
        shots: how many demonstrations.
        choose: by "score", one set for all, the best of `tries` on validation data; or by "similarity", for each
            dialogue anew.
        tries: sets of demonstrations that are tried.
    """

    SUMMARY: ClassVar[str] = "no weight learns; an instruction and demonstrations are chosen"
    TRAINS_WEIGHTS: ClassVar[bool] = False
    SAVES_WEIGHTS: ClassVar[bool] = False

    instruction: str | None = None
    shots: int = Field(4, ge=0)
    choose: Literal["score", "similarity"] = "score"
    tries: int = Field(16, ge=1)

    @model_validator(mode="after")
    def _something(self) -> "Method":
        if not self.shots and not self.instruction:
            raise ValueError("needs an 'instruction', or 'shots' of at least 1")
        return self

    def search_prompt(
        self,
        base: ModelBundle,
        train: Sequence[Conversation],
        judge: PromptScorer,
        seed: int,
        on_tried: Callable[[int, float], None] = lambda *_: None,
    ) -> ModelBundle:
        """The base with the prompt in its template.

        Args:
            base: the model.
            train: dialogues that may be shown.
            judge: what prompts are compared by.
            seed: of the sets that are tried.
            on_tried: called with a set's number and its loss.

        Raises:
            InvalidData: too few dialogues that are short enough to be shown.
            InvalidParameter: the model's template has no place for the instruction.
        """
        if spelled := [token for token in base.tokenizer.special_tokens if token in (self.instruction or "")]:
            raise InvalidParameter(
                "method.instruction",
                f"The instruction spells {spelled[0]}, which is special to this model: leave it out.",
            )
        if self.shots and self.choose == "similarity":
            return self._with(base, Demonstrations(self._candidates(base, train), self.shots))
        sets = self._sets(base, train, Random(seed)) if self.shots else [()]
        best: tuple[float, ModelBundle] | None = None
        for number, shown in enumerate(sets, 1):
            prompted = self._baked(base, shown)
            loss = judge.loss(prompted) if len(sets) > 1 else 0.0
            on_tried(number, loss)
            if best is None or loss < best[0]:
                best = loss, prompted
        assert best is not None, "there is always a set"
        return best[1]

    def _candidates(self, base: ModelBundle, train: Sequence[Conversation]) -> tuple[tuple[Message, ...], ...]:
        """Dialogues that end with the assistant, spell no special token, and of which `shots` fit."""
        tokenizer, room = base.tokenizer, base.model.context_length // SHARE // max(1, self.shots)
        found = []
        for talk in train:
            messages = tuple(message for message in talk.messages if message.role in ("user", "assistant"))
            while messages and messages[-1].role != "assistant":
                messages = messages[:-1]
            text = "\n".join(message.content for message in messages)
            if len(messages) < 2 or any(token in text for token in tokenizer.special_tokens):
                continue
            if len(base.renderer.render(messages).ids) <= room:
                found.append(messages)
        if len(found) < self.shots:
            raise InvalidData(
                f"{self.shots} demonstrations are wanted, but only {len(found)} training dialogues are short enough to "
                f"be shown ({room} tokens each). Ask for fewer 'shots'."
            )
        return tuple(found)

    def _sets(
        self, base: ModelBundle, train: Sequence[Conversation], rng: Random
    ) -> list[tuple[tuple[Message, ...], ...]]:
        candidates = self._candidates(base, train)
        return [tuple(rng.sample(candidates, self.shots)) for _ in range(self.tries)]

    def _baked(self, base: ModelBundle, shown: Sequence[Sequence[Message]]) -> ModelBundle:
        template = prepend_prompt(base.renderer.template, self.instruction, shown)
        return self._checked(replace(base, tokenizer=base.tokenizer.with_template(template)))

    def _with(self, base: ModelBundle, demonstrations: Demonstrations) -> ModelBundle:
        template = base.renderer.template
        if self.instruction is not None:
            template = prepend_prompt(template, self.instruction)
        tokenizer = base.tokenizer.with_template(template)
        tokenizer.demonstrations = demonstrations
        return self._checked(replace(base, tokenizer=tokenizer))

    def _checked(self, base: ModelBundle) -> ModelBundle:
        try:
            Renderer.from_tokenizer(base.tokenizer).render([Message("user", "?")], add_generation_prompt=True)
        except TemplateError as error:
            raise InvalidParameter(
                "method.instruction", f"The model's chat template does not take this prompt: {error}"
            ) from error
        return base
