"""The sequences of a search such as beam search: one for each hypothesis."""

from turnwise.engine.kv_cache.kv_cache_manager import KVCacheManager
from turnwise.engine.sequence import SequenceGroup, TokenSequence


def fork_sequences(group: SequenceGroup, kv_cache: KVCacheManager) -> None:
    """Make one sequence per hypothesis. The first child of a sequence inherits its table, the others fork it."""
    assert group.search is not None, "the caller checks it"
    previous, prompt = group.sequences, list(group.request.prompt_ids)
    parents = {hypothesis.parent for hypothesis in group.search.hypotheses}
    for number, sequence in enumerate(previous):
        if number not in parents and sequence.table is not None:
            kv_cache.free(sequence.table)
            sequence.table = None
    group.sequences = []
    for hypothesis in group.search.hypotheses:
        table = previous[hypothesis.parent].table
        assert table is not None, "the forward pass has used the table"
        if hypothesis.parent in parents:
            parents.remove(hypothesis.parent)
        else:
            table = kv_cache.fork(table)  # None if memory is short: the sequence is then computed again
        group.sequences.append(TokenSequence([*prompt, *hypothesis.ids], hypothesis.logits_state, table))
