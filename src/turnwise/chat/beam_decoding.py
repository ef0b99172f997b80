"""The tree of a beam search with the text of its tokens."""

from turnwise.core.chat_response import DecodedBeamTree
from turnwise.core.chat_service import TokenInspector
from turnwise.core.token_distributions import BeamTree


def decode_beams(tree: BeamTree, tokens: TokenInspector) -> DecodedBeamTree:
    """Decode the last token of every node."""
    return DecodedBeamTree(tree, tuple(tokens.decode_token(node.token_id, node.logprob) for node in tree.nodes))
