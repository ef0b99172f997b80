"""Tokenized training examples: building, packing, batching and storing them on disk."""
