"""The response field `beams`: the tree of a beam search, an extension."""

from pydantic import BaseModel

from turnwise.core.chat_response import DecodedBeamTree


class BeamNodeBody(BaseModel):
    """A hypothesis by its last token; `parent` is the index of the one that it extends, absent at the start.

    `logprob` is the log-probability of the token after penalties, `score` the sum over the hypothesis, and `step` its
    number of tokens. No beam extends a hypothesis with `is_finished`.
    """

    parent: int | None = None
    id: int
    token: str
    logprob: float
    score: float
    step: int
    group: int
    is_finished: bool


class BeamsBody(BaseModel):
    """All hypotheses that the search kept, and the indexes of those that are the choices, in their order."""

    nodes: list[BeamNodeBody]
    answers: list[int]

    @classmethod
    def of(cls, beams: DecodedBeamTree | None) -> "BeamsBody | None":
        """Convert the tree of the chat service; None without one."""
        if beams is None:
            return None
        nodes = [
            BeamNodeBody(
                parent=node.parent, id=node.token_id, token=token.text, logprob=node.logprob, score=node.score,
                step=node.step, group=node.group, is_finished=node.is_finished,
            )
            for node, token in zip(beams.tree.nodes, beams.tokens, strict=True)
        ]  # fmt: skip
        return cls(nodes=nodes, answers=list(beams.tree.answers))
