"""Masked language modelling: which tokens are masked."""

import numpy as np
import pytest
from objective_runs import mlm
from sample_items import FOUR

from turnwise.core.errors import UserError
from turnwise.data.rows import Document
from turnwise.training.objective import ExampleContext
from turnwise.training.objectives import OBJECTIVES


class TestMlm:
    def varied(self, renderer, epoch=0, **options):
        objective = OBJECTIVES.parse_plugin({"name": "mlm", **options})
        frame = ExampleContext(renderer, 128)
        (example,) = objective.examples(Document("The lamp in the kitchen is broken again. " * 8), frame)
        return example, objective.augment(example, np.random.default_rng(epoch), frame)

    def test_targets_are_the_masked_tokens_at_their_positions(self, renderer):
        original, example = self.varied(renderer)
        assert (example.targets[example.target_mask] == original.ids[example.target_mask]).all()
        assert (example.ids[~example.target_mask] == original.ids[~example.target_mask]).all()

    def test_masked_tokens_are_replaced_randomized_or_kept_in_the_documented_ratios(self, renderer):
        fates = {"mask": 0, "same": 0, "other": 0}
        for epoch in range(300):
            original, example = self.varied(renderer, epoch)
            hidden = example.target_mask
            assert hidden.sum() == round(0.15 * (~np.isin(original.ids, list(renderer.tokenizer.special_ids))).sum())
            masked = example.ids[hidden] == renderer.tokenizer.mask_token_id
            same = example.ids[hidden] == original.ids[hidden]
            fates["mask"] += masked.sum()
            fates["same"] += same.sum()
            fates["other"] += (~masked & ~same).sum()
        total = sum(fates.values())
        assert fates["mask"] / total == pytest.approx(0.8, abs=0.02)
        assert fates["same"] / total == pytest.approx(0.1, abs=0.02)

    def test_masks_differ_between_epochs_and_repeat_within_an_epoch(self, renderer):
        first, again, second = (self.varied(renderer, epoch)[1] for epoch in (1, 1, 2))
        assert (first.target_mask == again.target_mask).all()
        assert (first.target_mask != second.target_mask).any()

    def test_special_tokens_are_never_masked(self, renderer):
        objective = OBJECTIVES.parse_plugin({"name": "mlm", "mask_ratio": 0.9})
        (example,) = objective.examples(FOUR[1], ExampleContext(renderer, 128))
        varied = objective.augment(example, np.random.default_rng(0), ExampleContext(renderer, 128))
        assert not np.isin(varied.targets[varied.target_mask], list(renderer.tokenizer.special_ids)).any()

    def test_a_tokenizer_without_a_mask_token_is_rejected(self, tokenizer):
        with pytest.raises(UserError, match="mask token"):
            mlm.check(tokenizer)
