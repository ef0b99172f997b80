"""The tokens of a dialogue that are scored. They are the same for all systems that share a tokenizer and template."""

from dataclasses import dataclass

from turnwise.evaluation.samples import LoglikelihoodQuery
from turnwise.text.rendering.renderer import Renderer


@dataclass(frozen=True, slots=True)
class ScoredSpan:
    """The input of a scoring request.

    Attributes:
        token_ids: the dialogue up to the last scored token.
        positions: indices of the scored tokens in `token_ids`.
        num_bytes: size of the scored text in UTF-8.
    """

    token_ids: tuple[int, ...]
    positions: tuple[int, ...]
    num_bytes: int


def find_scored_span(renderer: Renderer, query: LoglikelihoodQuery, max_tokens: int) -> ScoredSpan:
    """Locate the last message and its end-of-turn token.

    A dialogue of more than `max_tokens` tokens is cut at its beginning, so that models with different context lengths
    score the same replies. If the reply alone is longer, only its end is scored.
    """
    rendered = renderer.render(query.messages, tools=query.tools)
    ids, span = rendered.ids, rendered.spans[-1]
    cut, size = max(0, len(ids) - max_tokens), len(query.messages[-1].full_text.encode())
    if span is None:
        return ScoredSpan(tuple(ids[cut:]), (), 0)
    start = span[0]
    # A plain-text format has a space before the reply, which is trained and may be a token of its own.
    while start and rendered.assistant_mask[start - 1] and rendered.text[slice(*rendered.offsets[start - 1])].isspace():
        start -= 1
    # The first token of a text has no prediction, so position 0 is never scored.
    reply = [index for index in range(max(1, start), len(ids)) if rendered.assistant_mask[index]]
    positions = tuple(index - cut for index in reply if index > cut)
    return ScoredSpan(
        tuple(ids[cut : cut + positions[-1] + 1] if positions else ids[cut:]),
        positions,
        round(size * len(positions) / max(1, len(reply))),
    )
