"""Records the hypotheses that a beam search keeps, for `core.token_distributions.BeamTree`."""

from collections.abc import Sequence

from turnwise.core.token_distributions import BeamNode, BeamTree

ROOT = -1  # index of the start of the answer, which has no node


class BeamTrace:
    """The nodes of the tree so far."""

    def __init__(self) -> None:
        self._nodes: list[BeamNode] = []

    def add(
        self, parent: int, token_id: int, logprob: float, score: float, step: int, group: int, *, is_finished: bool
    ) -> int:
        """Add a hypothesis below the node `parent`, or `ROOT`. Returns the index of its node."""
        parent_index = None if parent == ROOT else parent
        self._nodes.append(BeamNode(parent_index, token_id, logprob, score, step, group, is_finished))
        return len(self._nodes) - 1

    def build(self, answers: Sequence[int]) -> BeamTree:
        """The tree, with the nodes that end the returned answers, best first."""
        return BeamTree(tuple(self._nodes), tuple(answers))
