"""Decoding strategies: how a line goes on, given the logits after it. One file each."""
