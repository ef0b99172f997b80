"""Expands a template grammar into many different multi-turn dialogues, the same ones for the same seed.

How the dice fall: a dialogue wants one to four exchanges about equally often, each further one half as often. Its first
topic is drawn by `start * weight`; after a topic, one of its `then` follows in seven of ten cases, else any topic that
may open a dialogue or whose `needs` are met, by `weight`. Inside a topic every pair and every script of turns is
equally likely.
"""

import hashlib
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import Conversation, Message
from turnwise.data.grammar.grammar_file import DialogueGrammar, Script, Topic, load_grammar, parse_grammar
from turnwise.data.grammar.line_templates import join_spans
from turnwise.data.typing_noise import add_typing_noise

__all__ = ["DialogueGrammar", "expand", "load_grammar", "parse_grammar", "restrict_topics"]

SYSTEM_SHARE = 0.3  # a model should behave the same with and without a system prompt
THEN_SHARE = 0.7
GIVE_UP_AFTER = 2000  # dialogues in a row that were all known already: the grammar has no more to say


def expand(
    grammar: DialogueGrammar, count: int, seed: int, *, turns: tuple[int, int] = (1, 5), noise: float = 0.3
) -> Iterator[Conversation]:
    """Up to `count` dialogues, no two alike; fewer only when the grammar cannot say more.

    Args:
        grammar: what may be said, from `load_grammar`.
        count: how many dialogues; a larger count begins with the same dialogues as a smaller one.
        seed: the same seed gives the same dialogues, on every machine.
        turns: fewest and most exchanges (a user turn and its reply). The fewest is missed only where topics run out.
        noise: share of user turns written in a hurry: lower case, no final mark, a typo. Replies are always clean.

    Raises `InvalidParameter` when a number is out of its range.
    """
    fewest, most = turns
    if not 1 <= fewest <= most:
        raise InvalidParameter("turns", f"'turns' must be two numbers of at least 1, the smaller first, got {turns}.")
    if not 0 <= noise <= 1:
        raise InvalidParameter("noise", f"'noise' must be between 0 and 1, got {noise}.")
    if count < 0:
        raise InvalidParameter("count", f"'count' must be at least 0, got {count}.")
    return _distinct(_Expander(grammar, random.Random(seed), turns, noise), count)


def restrict_topics(grammar: DialogueGrammar, topics: Collection[str]) -> DialogueGrammar:
    """The same grammar, but dialogues open with these topics and go on with them."""
    chosen = {
        name: replace(
            topic, start=1.0 if name in topics and not topic.needs else 0.0, then=topic.then and tuple(topics)
        )
        for name, topic in grammar.topics.items()
    }
    return replace(grammar, topics=chosen)


def _distinct(expander: "_Expander", count: int) -> Iterator[Conversation]:
    seen: set[bytes] = set()
    misses = 0
    while len(seen) < count and misses < GIVE_UP_AFTER:
        conversation = expander.dialogue()
        said = "\x1e".join(f"{message.role}\x1f{message.content}" for message in conversation.messages)
        key = hashlib.blake2b(said.encode(), digest_size=16).digest()
        if not conversation.messages or key in seen:
            misses += 1
            continue
        misses = 0
        seen.add(key)
        yield conversation


class _Expander:
    """Draws dialogues one after the other from a single stream of random numbers."""

    def __init__(self, grammar: DialogueGrammar, rng: random.Random, turns: tuple[int, int], noise: float) -> None:
        self.grammar = grammar
        self.rng = rng
        self.noise = noise
        fewest, self.most = turns
        self.lengths = range(fewest, self.most + 1)
        self.length_weights = [0.5 ** max(0, length - 4) for length in self.lengths]
        self.topics = tuple(grammar.topics.values())
        self.any_weights = [topic.weight for topic in self.topics]
        # A topic that never opens and needs nothing, such as "yes", only makes sense after one that names it.
        self.free_weights = [topic.weight if topic.start or topic.needs else 0.0 for topic in self.topics]
        self.start_weights = [topic.start * topic.weight for topic in self.topics]
        # What of a topic still fits when there is room for so many exchanges.
        self.fitting = {
            (topic.name, room): [script for script in topic.scripts if len(script) // 2 <= room]
            for topic in grammar.topics.values()
            for room in range(1, self.most + 1)
        }

    def dialogue(self) -> Conversation:
        rng = self.rng
        values = {slot: rng.choice(options) for slot, options in self.grammar.slots.items()}
        messages: list[Message] = []
        if self.grammar.system and rng.random() < SYSTEM_SHARE:
            messages.append(Message("system", join_spans(rng.choice(self.grammar.system).render(rng, values))))
        wanted = rng.choices(self.lengths, self.length_weights)[0]
        scripts = self._scripts(wanted)
        for _, script in scripts:
            for number, ways in enumerate(script):
                pieces = rng.choice(ways).render(rng, values)
                if number % 2 == 0 and rng.random() < self.noise:
                    pieces = add_typing_noise(pieces, rng)
                messages.append(Message("assistant" if number % 2 else "user", join_spans(pieces)))
        if not scripts or not all(message.content for message in messages):
            return Conversation(())  # nothing fits, or an alternative was empty: drawn again
        return Conversation(tuple(messages), {"topic": scripts[0][0].name, "generated": True})

    def _scripts(self, wanted: int) -> list[tuple[Topic, Script]]:
        """What the dialogue goes through until it has `wanted` exchanges or nothing may follow."""
        chosen: list[tuple[Topic, Script]] = []
        exchanges = 0
        while exchanges < wanted and not (chosen and chosen[-1][0].end):
            topic = self._next_topic(chosen, self.most - exchanges, last=exchanges + 1 >= wanted)
            if topic is None:
                break
            fitting = self.fitting[topic.name, self.most - exchanges]
            if topic.repeat:
                fitting = [script for script in fitting if not any(script is used for _, used in chosen)] or fitting
            script = self.rng.choice(fitting)
            chosen.append((topic, script))
            exchanges += len(script) // 2
        return chosen

    def _next_topic(self, chosen: Sequence[tuple[Topic, Script]], room: int, *, last: bool) -> Topic | None:
        seen = {topic.name for topic, _ in chosen}

        def possible(topic: Topic) -> bool:
            return (
                (topic.repeat or topic.name not in seen)
                and topic.needs <= seen
                and topic.not_after.isdisjoint(seen)
                and bool(self.fitting[topic.name, room])
                and (last or not topic.end)
            )

        if chosen and self.rng.random() < THEN_SHARE:
            # A name that stands in `then` twice is twice as likely.
            likely = [self.grammar.topics[name] for name in chosen[-1][0].then]
            if (topic := self._draw(likely, [topic.weight for topic in likely], possible)) is not None:
                return topic
        if not chosen:
            return self._draw(self.topics, self.start_weights, possible)
        topic = self._draw(self.topics, self.free_weights, possible)
        return topic or self._draw(self.topics, self.any_weights, possible)

    def _draw(
        self, topics: Sequence[Topic], weights: Sequence[float], possible: Callable[[Topic], bool]
    ) -> Topic | None:
        """A possible topic, drawn by weight; None where there is none."""
        if sum(weights) > 0:
            for _ in range(4):  # most topics are possible: throwing again is cheaper than looking at all of them
                topic = self.rng.choices(topics, weights)[0]
                if possible(topic):
                    return topic
        left = [(topic, weight) for topic, weight in zip(topics, weights, strict=True) if weight and possible(topic)]
        return self.rng.choices([topic for topic, _ in left], [weight for _, weight in left])[0] if left else None
