"""From logits to tokens: processors, constraints, warpers, log-probabilities and the draw."""
