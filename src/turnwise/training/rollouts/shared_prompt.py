"""Several replies to a prompt in one example, so that the tokens of the prompt are computed once."""

from collections.abc import Sequence

import numpy as np

from turnwise.training.examples.example import Example


def share_prompt(examples: Sequence[Example], num_prompt_tokens: int) -> Example:
    """Join examples that begin with the same prompt and have no targets in it but its last.

    The last token of the prompt predicts the first one of every reply, so each reply has a copy of it.

    Args:
        examples: prompt and reply each, with the same labels.
        num_prompt_tokens: tokens of the prompt, at least 2.
    """
    shared = num_prompt_tokens - 1
    assert shared > 0, "there is something to share"
    assert all(np.array_equal(e.ids[:num_prompt_tokens], examples[0].ids[:num_prompt_tokens]) for e in examples)
    assert not any(e.target_mask[:shared].any() for e in examples), "a prompt is not learned"

    has_weights = any(example.weights is not None for example in examples)
    weights = [np.ones(e.size, np.float32) if e.weights is None else e.weights for e in examples]
    return Example(
        np.concatenate([examples[0].ids[:shared], *(e.ids[shared:] for e in examples)]),
        np.concatenate([examples[0].targets[:shared], *(e.targets[shared:] for e in examples)]),
        np.concatenate([weights[0][:shared], *(w[shared:] for w in weights)]) if has_weights else None,
        sum(example.units for example in examples),
        segment_lengths=(shared, *(example.size - shared for example in examples)),
        shares_first_segment=True,
        token_labels={
            name: np.concatenate([labels[:shared], *(e.token_labels[name][shared:] for e in examples)])
            for name, labels in examples[0].token_labels.items()
        },
    )
