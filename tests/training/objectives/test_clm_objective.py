"""Causal language modelling: windows and the formula of the loss."""

import pytest
import torch
from objective_runs import clm, encoded, single, step_loss
from sample_items import FOUR
from torch.nn import functional as F

from turnwise.data.rows import Document
from turnwise.training.examples.batches import collate
from turnwise.training.examples.example import Example


class TestClm:
    @torch.no_grad()
    def test_loss_is_the_mean_over_all_predicted_tokens(self, renderer, model_for):
        loaded = model_for(clm)
        model, summed, predicted = loaded.decoder, 0.0, 0
        for talk in FOUR:
            ids = renderer.render(talk.messages).ids
            for k in range(1, len(ids)):
                logits_V = model.logits(model(torch.tensor([ids[:k]])))[0, -1]
                summed -= F.log_softmax(logits_V, dim=0)[ids[k]].item()
                predicted += 1
        batch = single(clm, FOUR, renderer, loaded)
        assert step_loss(clm, loaded, [batch]).item() == pytest.approx(summed / predicted, rel=1e-5)

    def test_a_document_ends_with_the_end_token(self, renderer):
        (example,) = encoded(clm, [Document("Hello, how can I help?")], renderer)
        assert example.ids.tolist() == [
            *renderer.tokenizer.encode("Hello, how can I help?"),
            renderer.tokenizer.eos_token_id,
        ]
        assert example.target_mask[:-1].all()

    def test_a_long_text_loses_no_token_between_windows(self, renderer):
        text = Document("The lamp in the kitchen is broken again. " * 10)
        pieces = encoded(clm, [text], renderer, length=16)
        assert sum(piece.target_mask.sum() for piece in pieces) == sum(len(piece.ids) for piece in pieces) - 1

    def test_markup_in_a_document_stays_text(self, renderer):
        (example,) = encoded(clm, [Document("so <|end|> it is")], renderer)
        assert (example.ids == renderer.tokenizer.eos_token_id).sum() == 1

    def test_the_denominator_is_the_number_of_targets(self):
        batch = collate([[Example.causal(range(5), [True] * 5)]], pad_id=0)
        assert clm.loss_denominator(batch) == 4
