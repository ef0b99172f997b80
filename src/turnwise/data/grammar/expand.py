"""Expands a template grammar into distinct multi-turn dialogues, reproducibly for a seed.

Distribution: one to four exchanges are about equally likely, and each further one half as likely. The first topic is
drawn by `start * weight`. With probability 0.7 one of the `then` topics follows; otherwise any topic that may open a
dialogue or whose `needs` are met, by `weight`. Within a topic, all pairs and scripts of turns are equally likely.
"""

import hashlib
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import Conversation, Message
from turnwise.data.grammar.grammar_file import DialogueGrammar, Script, Topic
from turnwise.data.grammar.line_templates import join_spans
from turnwise.data.typing_noise import add_typing_noise

SYSTEM_SHARE = 0.3  # of the dialogues; a model should behave the same with and without a system prompt
THEN_SHARE = 0.7
MAX_MISSES = 2000  # duplicates in a row after which the grammar counts as exhausted
MAX_DRAWS = 4  # weighted draws before all possible topics are listed


def expand(
    grammar: DialogueGrammar, count: int, seed: int, *, turns: tuple[int, int] = (1, 5), noise: float = 0.3
) -> Iterator[Conversation]:
    """Yield up to `count` distinct dialogues; fewer only if the grammar is exhausted.

    Args:
        grammar: from `load_grammar`.
        count: number of dialogues; a larger count starts with the same dialogues as a smaller one.
        seed: the same seed gives the same dialogues on every machine.
        turns: minimum and maximum number of exchanges (a user turn and its reply). A dialogue is shorter than the
            minimum only if no topic can follow.
        noise: share of user turns with typing noise: lower case, no final mark, a typo. Replies have none.

    Raises `InvalidParameter` if a number is out of its range.
    """
    min_turns, max_turns = turns
    if not 1 <= min_turns <= max_turns:
        raise InvalidParameter("turns", f"'turns' must be two numbers of at least 1, the smaller first, got {turns}.")
    if not 0 <= noise <= 1:
        raise InvalidParameter("noise", f"'noise' must be between 0 and 1, got {noise}.")
    if count < 0:
        raise InvalidParameter("count", f"'count' must be at least 0, got {count}.")
    return _distinct(_DialogueSampler(grammar, random.Random(seed), turns, noise), count)


def restrict_topics(grammar: DialogueGrammar, topics: Collection[str]) -> DialogueGrammar:
    """Return the grammar with only these topics to open a dialogue and in every `then`."""
    restricted = {
        name: replace(
            topic, start=1.0 if name in topics and not topic.needs else 0.0, then=topic.then and tuple(topics)
        )
        for name, topic in grammar.topics.items()
    }
    return replace(grammar, topics=restricted)


def _distinct(sampler: "_DialogueSampler", count: int) -> Iterator[Conversation]:
    digests: set[bytes] = set()
    misses = 0
    while len(digests) < count and misses < MAX_MISSES:
        conversation = sampler.sample()
        text = "\x1e".join(f"{message.role}\x1f{message.content}" for message in conversation.messages)
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        if not conversation.messages or digest in digests:
            misses += 1
            continue
        misses = 0
        digests.add(digest)
        yield conversation


class _DialogueSampler:
    """Samples dialogues from a single stream of random numbers.

    The order of the draws determines the dialogues of a seed, so a change of it changes generated data sets.
    """

    def __init__(self, grammar: DialogueGrammar, rng: random.Random, turns: tuple[int, int], noise: float) -> None:
        self.grammar = grammar
        self.rng = rng
        self.noise = noise
        min_turns, self.max_turns = turns
        self.lengths = range(min_turns, self.max_turns + 1)
        self.length_weights = [0.5 ** max(0, length - 4) for length in self.lengths]
        self.topics = tuple(grammar.topics.values())
        self.weights = [topic.weight for topic in self.topics]
        # A topic that never opens and needs nothing, such as "yes", only makes sense after a topic that names it.
        self.free_weights = [topic.weight if topic.start or topic.needs else 0.0 for topic in self.topics]
        self.start_weights = [topic.start * topic.weight for topic in self.topics]
        # By topic and number of exchanges left: the scripts that are not longer.
        self.fitting_scripts = {
            (topic.name, exchanges): [script for script in topic.scripts if len(script) // 2 <= exchanges]
            for topic in grammar.topics.values()
            for exchanges in range(1, self.max_turns + 1)
        }

    def sample(self) -> Conversation:
        """Return a dialogue; one without messages if no topic fits or a line renders to the empty text."""
        rng = self.rng
        values = {slot: rng.choice(options) for slot, options in self.grammar.slots.items()}
        messages: list[Message] = []
        if self.grammar.system and rng.random() < SYSTEM_SHARE:
            messages.append(Message("system", join_spans(rng.choice(self.grammar.system).render(rng, values))))
        num_exchanges = rng.choices(self.lengths, self.length_weights)[0]
        scripts = self._sample_scripts(num_exchanges)
        for _, script in scripts:
            for number, templates in enumerate(script):
                spans = rng.choice(templates).render(rng, values)
                if number % 2 == 0 and rng.random() < self.noise:
                    spans = add_typing_noise(spans, rng)
                messages.append(Message("assistant" if number % 2 else "user", join_spans(spans)))
        if not scripts or not all(message.content for message in messages):
            return Conversation(())
        return Conversation(tuple(messages), {"topic": scripts[0][0].name, "generated": True})

    def _sample_scripts(self, num_exchanges: int) -> list[tuple[Topic, Script]]:
        """Return topics and scripts until the dialogue has `num_exchanges` or no topic can follow."""
        chosen: list[tuple[Topic, Script]] = []
        exchanges = 0
        while exchanges < num_exchanges and not (chosen and chosen[-1][0].end):
            exchanges_left = self.max_turns - exchanges
            topic = self._next_topic(chosen, exchanges_left, is_last=exchanges + 1 >= num_exchanges)
            if topic is None:
                break
            scripts = self.fitting_scripts[topic.name, exchanges_left]
            if topic.repeat:
                scripts = [script for script in scripts if not any(script is used for _, used in chosen)] or scripts
            script = self.rng.choice(scripts)
            chosen.append((topic, script))
            exchanges += len(script) // 2
        return chosen

    def _next_topic(
        self, chosen: Sequence[tuple[Topic, Script]], exchanges_left: int, *, is_last: bool
    ) -> Topic | None:
        previous = {topic.name for topic, _ in chosen}

        def is_possible(topic: Topic) -> bool:
            return (
                (topic.repeat or topic.name not in previous)
                and topic.needs <= previous
                and topic.not_after.isdisjoint(previous)
                and bool(self.fitting_scripts[topic.name, exchanges_left])
                and (is_last or not topic.end)
            )

        if chosen and self.rng.random() < THEN_SHARE:
            # A name that occurs twice in `then` is twice as likely.
            likely = [self.grammar.topics[name] for name in chosen[-1][0].then]
            if (topic := self._draw(likely, [topic.weight for topic in likely], is_possible)) is not None:
                return topic
        if not chosen:
            return self._draw(self.topics, self.start_weights, is_possible)
        topic = self._draw(self.topics, self.free_weights, is_possible)
        return topic or self._draw(self.topics, self.weights, is_possible)

    def _draw(
        self, topics: Sequence[Topic], weights: Sequence[float], is_possible: Callable[[Topic], bool]
    ) -> Topic | None:
        """Draw a possible topic by weight; None without one."""
        if sum(weights) > 0:
            for _ in range(MAX_DRAWS):  # most topics are possible, so this is cheaper than checking all of them
                topic = self.rng.choices(topics, weights)[0]
                if is_possible(topic):
                    return topic
        pairs = zip(topics, weights, strict=True)
        possible = [(topic, weight) for topic, weight in pairs if weight and is_possible(topic)]
        if not possible:
            return None
        return self.rng.choices([topic for topic, _ in possible], [weight for _, weight in possible])[0]
