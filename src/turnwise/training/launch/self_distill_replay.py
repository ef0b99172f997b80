"""What a model would have said before it learns something else, to be learned beside it.

A small model that learns one thing forgets others, and nobody has the data that it was made from. But it can be asked:
it answers prompts once before it learns, and those answers are mixed in as if they were data (self-synthesised
rehearsal, Huang et al. 2024; learning without forgetting, Li and Hoiem 2016, with answers in place of scores). Half of
the answers are the likeliest ones, which keeps what it is sure of; half are drawn, which keeps how it is unsure.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from queue import SimpleQueue

from turnwise.core.errors import InvalidData, TemplateError, TurnwiseError
from turnwise.core.messages import Conversation, Message
from turnwise.core.parameters import GenerationParams
from turnwise.core.ports import GenerationRequest, TokenEvent
from turnwise.data.prompts import bundled_prompts, prompt_histories
from turnwise.models.language_model import LanguageModel
from turnwise.text.rendering.renderer import Renderer
from turnwise.training.examples.recipe_sources import open_source
from turnwise.training.launch.base_model_loader import load_base_model
from turnwise.training.launch.reply_samples import build_engine, collect_tokens
from turnwise.training.method import Method
from turnwise.training.model_bundle import ModelBundle
from turnwise.training.recipe import Recipe

LEAST, MOST = 200, 4_000  # prompts
GUESSED = 60  # tokens that a prompt and its answer take together, before any is known
ANSWER = 300  # tokens at most; what is cut off there is not learned
SLOTS = 32  # answers at a time
AHEAD = 256  # prompts that the engine has at a time

OnAnswer = Callable[[int, int], None]
"""Called with how many prompts are answered, and of how many."""


def generate_replay(
    recipe: Recipe, base: ModelBundle, tokens: float, *, most: int = MOST, on_answer: OnAnswer = lambda *_: None
) -> Iterator[Conversation]:
    """Prompts with the answers of the model that a recipe starts from, of which alone is learned.

    Args:
        recipe: of the run.
        base: prepared for it; what a method adds to the model is left away.
        tokens: that it is going to rehearse in all; about so many are answered, as far as there are prompts.
        most: prompts.
        on_answer: told how far it is.

    Raises:
        InvalidData: prompts of one's own without a question, that do not fit, or that the model ends no answer to.
    """
    plain = type(recipe.method).plain is Method.plain  # it adds nothing, so nothing has to be loaded a second time
    place = next(base.model.module.parameters()).device
    asked = base if plain else load_base_model(recipe)
    asked.model.module.to(place)
    count = int(min(most, max(LEAST, tokens / GUESSED)))
    return SelfDistillReplay(recipe, asked.model, asked.renderer, on_answer).dialogues(count)


@dataclass(frozen=True)
class SelfDistillReplay:
    """Asks a model, before it learns.

    Attributes:
        recipe: says what share of the tokens is rehearsed, and with which prompts.
        model: as it is before the first step.
        renderer: its template.
        on_answer: told how far it is.
    """

    recipe: Recipe
    model: LanguageModel
    renderer: Renderer
    on_answer: OnAnswer = lambda *_: None

    def dialogues(self, count: int) -> Iterator[Conversation]:
        """So many prompts, as far as there are, with the model's answers. Raises as `rehearse` does."""
        asked = list(islice(filter(self._fits, self._prompts()), count))
        if not asked:
            raise InvalidData(
                "There is nothing to rehearse: no prompt has a question that fits into 'training.row_length'."
            )
        found = 0
        for prompt, text in self._answered(asked):
            if text.strip():
                found += 1
                yield Conversation((*(_unlearned(message) for message in prompt), Message("assistant", text)))
        if not found:
            raise InvalidData("There is nothing to rehearse: the model ended an answer to none of the prompts.")

    def _prompts(self) -> Iterator[tuple[Message, ...]]:
        own, seed = self.recipe.data.prompts, self.recipe.training.seed
        if not own:
            return bundled_prompts(seed)
        sources = chain.from_iterable(
            islice(open_source(each, skip_bad=self.recipe.data.skip_bad), each.limit) for each in own
        )
        return prompt_histories((item for item in sources if isinstance(item, Conversation)), seed)

    def _fits(self, prompt: Sequence[Message]) -> bool:
        try:
            length = len(self.renderer.render(prompt, add_generation_prompt=True).ids)
        except TemplateError:  # no system messages, say
            return False
        return length + 1 < self.recipe.training.settled_row_length

    def _answered(self, asked: Sequence[tuple[Message, ...]]) -> Iterator[tuple[tuple[Message, ...], str]]:
        """Each prompt with its answer, in their order; those without an end are left out."""
        engine = build_engine(self.model, SLOTS)
        waiting: list[SimpleQueue[TokenEvent]] = []
        try:
            for number, prompt in enumerate(asked):
                for ahead in range(len(waiting), min(len(asked), number + AHEAD)):
                    waiting.append(SimpleQueue())
                    engine.submit(self._request(asked[ahead], ahead), waiting[ahead].put)
                ids, last = collect_tokens(waiting[number])
                if last.error is not None:
                    raise TurnwiseError(f"The model could not be asked what it is to rehearse: {last.error}")
                self.on_answer(number + 1, len(asked))
                if last.finish_reason == "stop":
                    yield prompt, self.renderer.tokenizer.decode(ids)
        finally:
            engine.close()

    def _request(self, prompt: Sequence[Message], number: int) -> GenerationRequest:
        ids = self.renderer.render(prompt, add_generation_prompt=True).ids
        likeliest = random.Random(f"{self.recipe.training.seed} {number}").random() < 0.5
        params = GenerationParams(temperature=0) if likeliest else GenerationParams(temperature=1, seed=number)
        return GenerationRequest(
            prompt_ids=tuple(ids),
            params=params,
            max_tokens=min(ANSWER, self.recipe.training.settled_row_length - len(ids)),
            stop_ids=self.renderer.tokenizer.stop_ids,
        )


def _unlearned(message: Message) -> Message:
    return replace(message, weight=0.0) if message.role == "assistant" else message
