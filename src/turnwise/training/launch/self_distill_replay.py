"""Self-distillation replay: mix the base model's own replies into the training data, against forgetting.

Fine-tuning a small model on one task degrades others, and its original training data is not available. So the base
model replies to prompts before training, and the replies are added as training data (self-synthesized rehearsal, Huang
et al. 2024; cf. learning without forgetting, Li and Hoiem 2016). Half of the replies are greedy, half are sampled at
temperature 1, which preserves its distribution. `data.replay_targets: distribution` learns the distribution at each of
their tokens (`examples/teacher_labels.py`) instead of the tokens.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice

from turnwise.core.errors import InvalidData, TemplateError, TurnwiseError
from turnwise.core.inference import GenerationRequest
from turnwise.core.inference_client import InferenceClient
from turnwise.core.messages import Conversation, Message
from turnwise.core.parameters import GenerationParams
from turnwise.data.prompts import bundled_prompts, prompt_histories
from turnwise.models.language_model import LanguageModel
from turnwise.text.rendering.renderer import Renderer
from turnwise.training.examples.example import Example
from turnwise.training.examples.recipe_sources import open_source
from turnwise.training.examples.teacher_labels import add_teacher_labels
from turnwise.training.hooks import TrainerHook
from turnwise.training.launch.base_model_loader import load_base_model
from turnwise.training.launch.reply_samples import build_engine
from turnwise.training.method import Method
from turnwise.training.model_bundle import ModelBundle
from turnwise.training.recipe import Recipe

MIN_PROMPTS, MAX_PROMPTS = 200, 4_000
TOKENS_PER_PROMPT = 60  # estimate for a prompt with its reply
MAX_REPLY_TOKENS = 300  # longer replies are dropped
MAX_NUM_SEQS = 32  # concurrent sequences


class ReplayTeacher:
    """The model before training: generates replies, and labels their tokens with its distribution.

    The base model of a run that continues the training of an adapter is the model with this adapter.
    """

    def __init__(
        self,
        recipe: Recipe,
        base: ModelBundle,
        *,
        hooks: Sequence[TrainerHook] = (),
        max_prompts: int = MAX_PROMPTS,
    ) -> None:
        """Use the base model of a recipe.

        Args:
            recipe: recipe of the run.
            base: base model, prepared by the recipe's method.
            hooks: receive the number of replies and their total.
            max_prompts: maximum number of prompts.
        """
        self._recipe, self._base, self._hooks, self._max_prompts = recipe, base, hooks, max_prompts

    @cached_property
    def _original(self) -> ModelBundle:
        is_unchanged = type(self._recipe.method).plain is Method.plain  # the method adds no modules
        original = self._base if is_unchanged else load_base_model(self._recipe, merges_adapter=True)
        original.model.module.to(next(self._base.model.module.parameters()).device)
        return original

    def dialogues(self, tokens: float) -> Iterator[Conversation]:
        """Yield dialogues that end with replies; only these are trained on.

        Args:
            tokens: replay tokens that the run needs; about as many are generated, if there are enough prompts.

        Raises:
            InvalidData: the recipe's prompts have no user turn or do not fit, or the model completes no reply.
        """
        count = int(min(self._max_prompts, max(MIN_PROMPTS, tokens / TOKENS_PER_PROMPT)))
        original = self._original
        return SelfDistillReplay(self._recipe, original.model, original.renderer, self._hooks).dialogues(count)

    def label(self, examples: Iterable[Example]) -> Iterator[Example]:
        """Yield the examples as they are trained on, with the model's distribution if the recipe asks for it."""
        model = self._original.model
        if self._recipe.data.replay_targets == "tokens" or model.kind != "decoder":
            return iter(examples)
        return add_teacher_labels(examples, model, self._original.renderer.tokenizer.pad_token_id)


@dataclass(frozen=True)
class SelfDistillReplay:
    """Generates replay dialogues.

    Attributes:
        recipe: sets the prompts, the seed and the sequence length.
        model: the model before training.
        renderer: renderer of its chat template.
        hooks: receive the number of replies and their total.
    """

    recipe: Recipe
    model: LanguageModel
    renderer: Renderer
    hooks: Sequence[TrainerHook] = ()

    def dialogues(self, count: int, prompts: Iterable[tuple[Message, ...]] | None = None) -> Iterator[Conversation]:
        """Yield prompts with the model's replies; those that do not end in time are left out.

        Args:
            count: maximum number of prompts.
            prompts: the prompts; None: those of the recipe.

        Raises:
            InvalidData: as `ReplayTeacher.dialogues`.
        """
        prompts = list(islice(filter(self._fits, self._prompts() if prompts is None else prompts), count))
        if not prompts:
            raise InvalidData("No replay prompt has a user turn that fits into 'training.max_seq_len'.")
        has_reply = False
        for prompt, text in self._replies(prompts):
            if text.strip():
                has_reply = True
                yield Conversation((*(_without_weight(message) for message in prompt), Message("assistant", text)))
        if not has_reply:
            raise InvalidData("The base model finished no replay reply within the token limit.")

    def _prompts(self) -> Iterator[tuple[Message, ...]]:
        sources, seed = self.recipe.data.replay_prompts, self.recipe.training.seed
        if not sources:
            return bundled_prompts(seed)
        items = chain.from_iterable(
            islice(open_source(source, skip_bad_rows=self.recipe.data.skip_bad_rows), source.max_items)
            for source in sources
        )
        return prompt_histories((item for item in items if isinstance(item, Conversation)), seed)

    def _fits(self, prompt: Sequence[Message]) -> bool:
        try:
            length = len(self.renderer.render(prompt, add_generation_prompt=True).ids)
        except TemplateError:  # for example a template without system messages
            return False
        return length + 1 < self.recipe.training.resolved_max_seq_len

    def _replies(self, prompts: Sequence[tuple[Message, ...]]) -> Iterator[tuple[tuple[Message, ...], str]]:
        """Yield each prompt with its reply, in order; replies that reach the token limit are dropped."""
        engine = build_engine(self.model, MAX_NUM_SEQS)
        requests = ((self._request(prompt, number), None) for number, prompt in enumerate(prompts))
        try:
            with closing(InferenceClient(engine).generate_all(requests)) as generations:
                for number, (prompt, generation) in enumerate(zip(prompts, generations, strict=True), 1):
                    for hook in self.hooks:
                        hook.on_replay(number, len(prompts))
                    if generation.finish_reason == "stop":
                        yield prompt, self.renderer.tokenizer.decode(generation.token_ids)
        except TurnwiseError as error:
            raise TurnwiseError(f"Generating replay failed: {error}") from error
        finally:
            engine.close()

    def _request(self, prompt: Sequence[Message], number: int) -> GenerationRequest:
        ids = self.renderer.render(prompt, add_generation_prompt=True).ids
        is_greedy = random.Random(f"{self.recipe.training.seed} {number}").random() < 0.5
        params = GenerationParams(temperature=0) if is_greedy else GenerationParams(temperature=1, seed=number)
        return GenerationRequest(
            prompt_ids=tuple(ids),
            params=params,
            max_tokens=min(MAX_REPLY_TOKENS, self.recipe.training.resolved_max_seq_len - len(ids)),
            stop_ids=self.renderer.tokenizer.stop_ids,
        )


def _without_weight(message: Message) -> Message:
    """Give an assistant message the weight 0, so that it is not trained on."""
    return replace(message, weight=0.0) if message.role == "assistant" else message
