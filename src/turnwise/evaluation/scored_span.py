"""Which tokens count where a dialogue is scored: the same ones for all that are to be compared."""

from dataclasses import dataclass

from turnwise.evaluation.samples import LoglikelihoodQuery
from turnwise.text.rendering.renderer import Renderer


@dataclass(frozen=True, slots=True)
class ScoredSpan:
    """What is to be read.

    Attributes:
        ids: of the dialogue, up to the last that counts.
        places: in `ids`, of those that count.
        bytes: of the text that they spell, UTF-8.
    """

    token_ids: tuple[int, ...]
    positions: tuple[int, ...]
    num_bytes: int


def find_scored_span(renderer: Renderer, query: LoglikelihoodQuery, max_tokens: int) -> ScoredSpan:
    """What counts in a dialogue: its last message and that it ends there.

    Of what does not fit into `limit` tokens the beginning is cut off, so that every model has to say the same replies,
    however little of what came before it can read. Of a reply that is longer than that itself the end counts.
    """
    rendered = renderer.render(query.messages, tools=query.tools)
    ids, span = rendered.ids, rendered.spans[-1]
    cut, size = max(0, len(ids) - max_tokens), len(query.messages[-1].full_text.encode())
    if span is None:
        return ScoredSpan(tuple(ids[cut:]), (), 0)
    said = [at for at in range(max(1, span[0]), len(ids)) if rendered.loss_mask[at]]
    places = tuple(at - cut for at in said if at > cut)
    return ScoredSpan(
        tuple(ids[cut : cut + places[-1] + 1] if places else ids[cut:]),
        places,
        round(size * len(places) / max(1, len(said))),
    )
