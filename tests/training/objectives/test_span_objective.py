"""Span corruption: the spans, the input and the target."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from objective_runs import span
from sample_items import TEXTS

from turnwise.core.errors import UserError
from turnwise.training.objective import ExampleContext
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.objectives.span import sample_spans


class TestSpan:
    @given(st.integers(4, 400), st.floats(0.05, 0.8), st.floats(1, 8), st.integers(0, 2**31))
    @settings(max_examples=200, deadline=None)
    def test_spans_are_disjoint_and_cover_the_corruption_ratio(self, length, share, mean, seed):
        spans = sample_spans(length, share, mean, np.random.default_rng(seed))
        assert all(start < end for start, end in spans)
        assert all(first[1] < second[0] for first, second in pairwise(spans))
        assert spans[0][0] >= 0
        assert spans[-1][1] <= length
        assert sum(end - start for start, end in spans) == min(max(round(length * share), 1), length - 1)

    def test_encoder_input_and_target_together_are_the_text(self, renderer):
        frame = ExampleContext(renderer, 128, (0,))
        objective = OBJECTIVES.parse_plugin({"name": "span", "corruption_ratio": 0.3})
        sentinels = [renderer.tokenizer.token_to_id(text) for text in objective.special_tokens()[:8]]
        for item in TEXTS:
            for example in objective.examples(item, frame):
                for seed in range(5):
                    varied = objective.augment(example, np.random.default_rng(seed), frame)
                    pieces, piece = {}, None
                    for id in varied.targets.tolist():
                        if id in sentinels:
                            piece = pieces.setdefault(id, [])
                        else:
                            piece.append(id)
                    restored = [id for token in varied.encoder_ids.tolist() for id in pieces.get(token, [token])]
                    assert restored == example.ids.tolist()

    def test_a_tokenizer_without_sentinels_is_rejected(self, tokenizer):
        with pytest.raises(UserError, match="<extra_id_0>"):
            span.check(tokenizer)
