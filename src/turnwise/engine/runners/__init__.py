"""Model runners: one forward pass over a batch of sequences."""
