"""Distributions of the next token after every sampling stage, and the tree of a beam search."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class DistributionQuery:
    """Which tokens of a distribution to return.

    Attributes:
        top: number of tokens that are most likely at the start or at the end of the stages.
        token_ids: further tokens to return.
    """

    top: int = 20
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SamplingStage:
    """One stage between the logits of the model and the draw.

    Attributes:
        name: name of the parameter, or of the constraint.
        value: value of the parameter; None for a constraint and for parameters with long values.
        reason: why the stage removes tokens, as a sentence; empty if it only changes probabilities.
        num_kept: number of tokens that can still be drawn after it.
    """

    name: str
    value: Any
    reason: str
    num_kept: int


@dataclass(frozen=True, slots=True)
class TokenTrace:
    """Log-probabilities of one token, in nats.

    Attributes:
        token_id: the token.
        rank: rank by the model's own probability, from 1; equally likely tokens have the same rank.
        logprob: log-probability before all stages.
        stage_logprobs: log-probability after each stage; -inf once the token is removed.
        removed_by: index of the stage that removed it; None if it can be drawn.
        ends_answer: True if the answer ends with this token.
    """

    token_id: int
    rank: int
    logprob: float
    stage_logprobs: tuple[float, ...]
    removed_by: int | None
    ends_answer: bool


@dataclass(frozen=True, slots=True)
class DistributionTrace:
    """The distribution of the next token. `tokens` are sorted by `rank`."""

    stages: tuple[SamplingStage, ...]
    tokens: tuple[TokenTrace, ...]
    vocab_size: int


@dataclass(frozen=True, slots=True)
class BeamNode:
    """A hypothesis of a beam search, by its last token.

    Attributes:
        parent: index of the node that it extends; None at the start of the answer.
        token_id: its last token.
        logprob: log-probability of that token.
        score: sum of the log-probabilities of its tokens, after penalties of groups.
        step: number of its tokens, with the token that ends it.
        group: group of beams.
        is_finished: True if the hypothesis ends here.
    """

    parent: int | None
    token_id: int
    logprob: float
    score: float
    step: int
    group: int
    is_finished: bool


@dataclass(frozen=True, slots=True)
class BeamTree:
    """All hypotheses that a beam search kept, in the order of the search.

    Attributes:
        nodes: the hypotheses.
        answers: indexes of the nodes that end the returned answers, best first.
    """

    nodes: tuple[BeamNode, ...]
    answers: tuple[int, ...]
